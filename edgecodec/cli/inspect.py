"""``edgecodec inspect``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgecodec.cli.options import bundle_argument, core_option, json_option, optimize_option, subcommand
from edgecodec.cli.output import Streams

if TYPE_CHECKING:
    from rich.console import Console


@subcommand("inspect", example="edgecodec inspect bundle --core cortex-m55\nedgecodec inspect bundle --json")
@bundle_argument
@core_option
@optimize_option
@json_option
@click.pass_obj
def command(streams: Streams, bundle: Path, core: str | None, optimize: str) -> int:
    """Show layers, sizes, rates and memory of a bundle.

    Below the layers stand their kernels on that core, under that wish, and why.
    """
    from edgecodec.bundle import Bundle
    from edgecodec.compile.inspect import summarize
    from edgecodec.compile.target import Target

    document = summarize(Bundle.load(bundle), Target.of_core(core, optimize))
    return streams.finish(document, lambda console: show_summary(console, document))


def show_summary(console: Console, document: dict[str, Any]) -> None:
    """Print what :func:`edgecodec.compile.inspect.summarize` returns."""
    from edgecodec.cli.tables import facts, table

    frame, latent, rvq, rate, plan = (document[key] for key in ("frame", "latent", "rvq", "rate", "plan"))
    facts(
        console,
        {
            "bundle": f"{document['name']} ({document['path']})",
            "digest": document["bundle_digest"],
            "frame": f"{frame['samples']} samples" + (f" at {frame['rate_hz']:g} Hz" if frame["rate_hz"] else ""),
            "input": _quantization(document["input"]),
            "latent": _quantization(latent),
            "RVQ": f"codes {rvq['codebook_sizes']} of {rvq['dimension']}, {rvq['fraction_bits']} fraction bits",
            "rate": f"{rate['nominal_bits_per_frame']} bits a frame, {rate['compression_ratio']:.1f}x below 16-bit",
            "work": f"{document['macs']:,} MAC encoder, {rvq['macs']:,} MAC codebook search",
            "RAM": f"{plan['state_bytes']:,} bytes of state "
            f"({plan['arena_bytes']:,} arena, {plan['scratch_bytes']:,} scratch)",
            "tables": f"{document['flash']['encoder_bytes']:,} bytes encoder, "
            f"{document['flash']['codebook_bytes']:,} bytes codebooks",
        },
    )
    figures = document["provenance"].get("figures")
    if isinstance(figures, dict) and figures:
        facts(console, figures)
    console.print()
    table(
        console,
        ("layer", "op", "input", "output", "kernel", "stride", "padding", "activation", "MAC", "parameters"),
        (
            (
                layer["name"],
                layer["op"],
                "x".join(map(str, layer["input"])),
                "x".join(map(str, layer["output"])),
                layer["kernel"],
                layer["stride"],
                layer["padding"],
                layer["activation"],
                layer["macs"],
                layer["parameters"],
            )
            for layer in document["layers"]
        ),
    )
    console.print()
    table(
        console,
        ("layer", "runs", "positions at a time", "because"),
        (
            (layer["name"], layer["c_kernel"], layer["chunk"] or "all", layer["c_kernel_reason"])
            for layer in document["layers"]
        ),
    )
    console.print()
    table(
        console,
        ("buffer", "offset", "bytes", "rows", "alive"),
        (
            (
                buffer["tensor"],
                buffer["offset_bytes"],
                buffer["size_bytes"],
                buffer["rows"],
                f"{buffer['first_step']}..{buffer['last_step']}",
            )
            for buffer in plan["buffers"]
        ),
    )


def _quantization(tensor: dict[str, Any]) -> str:
    shape = "x".join(map(str, tensor["shape"]))
    return f"int8 {shape}, scale {tensor['scale']:.6g}, zero point {tensor['zero_point']}"
