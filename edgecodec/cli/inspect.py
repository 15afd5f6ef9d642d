"""``edgecodec inspect``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgecodec.cli.options import bundle_argument, core_option, json_option, optimize_option, subcommand
from edgecodec.cli.output import Streams

if TYPE_CHECKING:
    from rich.console import Console

    from edgecodec.compile.inspect import InspectDocument, InspectedTensor


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

    inspection = summarize(Bundle.load(bundle), Target.of_core(core, optimize))
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
            "input": _quantization(inspection.input),
            "latent": _quantization(inspection.latent),
            "RVQ": f"codes {list(rvq.codebook_sizes)} of {rvq.dimension}, {rvq.fraction_bits} fraction bits",
            "rate": f"{inspection.rate.nominal_bits_per_frame} bits a frame, "
            f"{inspection.rate.compression_ratio:.1f}x below 16-bit",
            "work": f"{inspection.macs:,} MAC encoder, {rvq.macs:,} MAC codebook search",
            "RAM": f"{plan.state_bytes:,} bytes of state ({plan.arena_bytes:,} arena, {plan.scratch_bytes:,} scratch)",
            "tables": f"{inspection.flash.encoder_bytes:,} bytes encoder, "
            f"{inspection.flash.codebook_bytes:,} bytes codebooks",
        },
    )
    figures = inspection.provenance.get("figures")
    if isinstance(figures, dict) and figures:
        facts(console, figures)
    console.print()
    table(
        console,
        ("layer", "op", "input", "output", "kernel", "stride", "padding", "activation", "MAC", "parameters"),
        (
            (
                layer.name,
                layer.op,
                "x".join(map(str, layer.input)),
                "x".join(map(str, layer.output)),
                layer.kernel,
                layer.stride,
                layer.padding,
                layer.activation,
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


def _quantization(tensor: InspectedTensor) -> str:
    shape = "x".join(map(str, tensor.shape))
    return f"int8 {shape}, scale {tensor.scale:.6g}, zero point {tensor.zero_point}"
