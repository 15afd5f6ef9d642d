"""``edgecodec inspect``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgecodec.cli.options import bundle_argument, core_option, json_option, optimize_option, subcommand
from edgecodec.cli.output import Streams

if TYPE_CHECKING:
    from rich.console import Console

    from edgecodec.compile.inspect import InspectDocument, InspectedTensor
    from edgecodec.compile.plan import LongestCall
    from edgecodec.compile.search_bound import SearchBound


@subcommand("inspect", example="edgecodec inspect bundle --core cortex-m55\nedgecodec inspect bundle --json")
@bundle_argument
@core_option
@optimize_option
@json_option
@click.pass_obj
def command(streams: Streams, bundle: Path, core: str | None, optimize: str) -> int:
    """Show layers, sizes, rates and memory of a bundle.

    Below the layers stand their kernels on that core, for that goal, and why.
    """
    from edgecodec.bundle import Bundle
    from edgecodec.compile.inspect import summarize
    from edgecodec.compile.target import Target

    inspection = summarize(Bundle.load(bundle), Target.of_core(core, optimize), is_for_core=core is not None)
    return streams.finish(inspection, lambda console: show_summary(console, inspection))


def show_summary(console: Console, inspection: InspectDocument) -> None:
    """Print what :func:`edgecodec.compile.inspect.summarize` returns."""
    from edgecodec.cli.tables import facts, table

    frame, rvq, plan = inspection.frame, inspection.rvq, inspection.plan
    facts(
        console,
        {
            "bundle": f"{inspection.name} ({inspection.path})",
            "digest": inspection.bundle_digest,
            "frame": f"{frame.samples} samples" + (f" at {frame.rate_hz:g} Hz" if frame.rate_hz else ""),
            "normalised": inspection.normalizer.formula,
            "input": _quantization(inspection.input, inspection.numerics),
            "latent": _quantization(inspection.latent, inspection.numerics),
            "RVQ": f"codes {list(rvq.codebook_sizes)} of {rvq.dimension}, {rvq.fraction_bits} fraction bits",
            "rate": f"{inspection.rate.nominal_bits_per_frame} bits a frame, "
            f"{inspection.rate.compression_ratio:.1f}x below 16-bit",
            "work": f"{inspection.macs:,} MAC encoder, {rvq.macs:,} MAC codebook search",
            "search": search_bound_text(rvq.bound),
            "longest call": longest_call_text(plan.longest_call),
            "RAM": f"{plan.state_bytes:,} bytes of state ({plan.arena_bytes:,} arena, {plan.scratch_bytes:,} scratch)",
            "tables": f"{inspection.flash.encoder_bytes:,} bytes encoder, "
            f"{inspection.flash.codebook_bytes:,} bytes codebooks",
        },
    )
    figures = inspection.provenance.get("figures")
    if isinstance(figures, dict) and figures:
        facts(console, figure_facts(figures))
    console.print()
    table(
        console,
        ("layer", "op", "output", "taps, stride, padding", "activation", "MAC", "parameters"),
        (
            (
                layer.name,
                layer.op.lower().replace("_", " ").removesuffix(" 2d"),
                "x".join(map(str, layer.output)),
                f"{layer.kernel}, {layer.stride}, {layer.padding.lower()}",
                layer.activation.lower(),
                layer.macs,
                layer.parameters,
            )
            for layer in inspection.layers
        ),
    )
    console.print()
    table(
        console,
        ("layer", "runs", "positions at a time", "because"),
        ((layer.name, layer.c_kernel, layer.stripe or "all", layer.c_kernel_reason) for layer in inspection.layers),
    )
    console.print()
    table(
        console,
        ("buffer", "offset", "bytes", "rows", "alive"),
        (
            (
                buffer.tensor,
                buffer.offset_bytes,
                buffer.size_bytes,
                buffer.rows,
                f"{buffer.first_step}..{buffer.last_step}",
            )
            for buffer in plan.buffers
        ),
    )


def search_bound_text(bound: SearchBound) -> str:
    """What a frame's codebook search takes at most."""
    looks = f"{bound.looks:,} distances of the pruned search and " if bound.looks else ""
    most = "" if bound.instructions is None else f", {bound.instructions:,} instructions"
    return f"at most {looks}{bound.codes:,} codes compared{most}"


def longest_call_text(call: LongestCall | None) -> str:
    """What the longest call of a kernel takes."""
    if call is None:
        return "not known"
    return f"some {call.instructions:,} instructions, {call.positions:,} positions of {call.layer}"


def figure_facts(figures: Mapping[str, Any]) -> dict[str, str]:
    """Lines about the quality of a quantised codec beside the float one's, with units."""
    prdn = {
        "float": figures.get("prdn_float"),
        "integer encoder": figures.get("prdn_int8"),
        "integer": figures.get("prdn_integer"),
    }
    lines = {
        "PRDN": ", ".join(f"{value:.2f} % {name}" for name, value in prdn.items() if value is not None),
        "indices kept": _shares(figures, "agreement_l", "level "),
        "latent error": f"{figures['latent_error']:.2f} %" if "latent_error" in figures else "",
        "saturated": _shares(figures, "saturation_", ""),
    }
    measured = f" (on {figures['frames']:,} frames)" if "frames" in figures else ""
    first = next((name for name, line in lines.items() if line), None)
    return {name: line + (measured if name == first else "") for name, line in lines.items() if line}


def _shares(figures: Mapping[str, Any], prefix: str, label: str) -> str:
    """Figures from 0 to 1 whose names start with ``prefix``, in percent."""
    found = {key.removeprefix(prefix): value for key, value in figures.items() if key.startswith(prefix)}
    return ", ".join(f"{label}{name} {100 * value:.2f} %" for name, value in found.items())


def _quantization(tensor: InspectedTensor, numerics: str) -> str:
    from edgecodec.codec.numerics import NUMERICS

    shape = "x".join(map(str, tensor.shape))
    return f"{NUMERICS[numerics].activation} {shape}, scale {tensor.scale:.6g}, zero point {tensor.zero_point}"
