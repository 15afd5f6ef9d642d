"""``edgecodec evaluate``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgecodec.cli.options import bundle_argument, json_option, path, png_path, reading_options, subcommand
from edgecodec.cli.output import Streams

if TYPE_CHECKING:
    from rich.console import Console

    from edgecodec.evaluation.rate_distortion import Evaluation
    from edgecodec.signal.reading import Reading


@subcommand("evaluate", example="edgecodec evaluate bundle --frames test.npz --train-frames train.npz --plot rate.png")
@bundle_argument
@click.option("--frames", type=path, required=True, metavar="FILE", help="Recordings, file or folder.")
@click.option(
    "--train-frames",
    type=path,
    metavar="FILE",
    help="Other people's recordings, for the entropy models; the first half of --frames by default.",
)
@click.option("--plot", type=png_path, metavar="FILE", help="Write a rate-distortion plot here (.png).")
@reading_options
@json_option
@click.pass_obj
def command(
    streams: Streams, bundle: Path, frames: Path, train_frames: Path | None, plot: Path | None, reading: Reading
) -> int:
    """Measure a bundle's quality and rate beside a DCT's.

    Encodes and decodes the frames and prints PRDN, heart-rate error and bits a frame, nominal and under static
    entropy models, beside a per-frame DCT with one uniform step and a static entropy model, at the same PRDN
    and at the same bits. Both codecs' entropy models come from the training frames alone.
    """
    from edgecodec.bundle import Bundle
    from edgecodec.cli.verify import recorded_frames
    from edgecodec.evaluation.plotting import need_matplotlib, plot_rate_distortion
    from edgecodec.evaluation.rate_distortion import evaluate
    from edgecodec.files.atomic import write_file

    if plot is not None:
        need_matplotlib()
    loaded = Bundle.load(bundle)
    test = recorded_frames(streams, loaded, frames, reading)
    train = None if train_frames is None else recorded_frames(streams, loaded, train_frames, reading)
    with streams.progress("evaluating") as progress:
        result = evaluate(loaded, test, train, progress=progress)
    if plot is not None:
        write_file(plot, plot_rate_distortion(result))
        result = replace(result, plot=plot)
    return streams.finish(result, lambda console: _show(console, result))


def _show(console: Console, result: Evaluation) -> None:
    from edgecodec.cli.tables import facts, table
    from edgecodec.evaluation.rate_distortion import MODELS

    raw = result.raw_bits_per_frame
    rows = [
        (f"{result.name}, {MODELS[model]}", bits, raw / max(bits, 1e-9), result.prdn.mean)
        for model, bits in result.bits_per_frame.items()
    ]
    for point, label in ((result.dct.equal_prdn, "same PRDN"), (result.dct.equal_bits, "same bits")):
        if point is not None:
            rows.append((f"DCT, {label}", point.bits_per_frame, raw / max(point.bits_per_frame, 1e-9), point.prdn))
    table(console, ("codec", "bits/frame", "ratio to 16-bit", "PRDN %"), rows)
    console.print()
    table(
        console,
        ("level", "codes", "nominal", "order-0", "order-1", "conditional", "coded", "perplexity", "used %"),
        (
            (
                number,
                level.codes,
                level.nominal_bits,
                level.order_0_bits,
                level.order_1_bits,
                level.conditional_bits,
                level.coded_bits,
                level.perplexity,
                100.0 * level.usage,
            )
            for number, level in enumerate(result.levels, start=1)
        ),
    )
    console.print()
    facts(console, _facts(result) | ({} if result.plot is None else {"plot": result.plot}))


def _facts(result: Evaluation) -> dict[str, object]:
    quality = result.prdn
    left_out = f", {result.constant_frames} constant ones left out" if result.constant_frames else ""
    return {
        "PRDN": f"mean {quality.mean:.3f} %, median {quality.median:.3f} %, P90 {quality.p90:.3f} %",
        "heart rate": _heart_rate(result),
        "packets": _packets(result),
        "bits over DCT": _ratios(result),
        "frames": f"{result.frames:,}{left_out}",
        "entropy models": f"from {result.train_frames:,} training frames: {result.train_frames_source}",
        "not counted": "offset and spread of a frame, the same for both codecs; packets hold them",
        "indices by": result.executor,
        "digest": result.bundle_digest,
    }


def _packets(result: Evaluation) -> str:
    found = result.packets
    if found is None:
        return "none in the bundle; refit fits them"
    return (
        f"{found.mean_bits:.1f} bits mean, {found.most_bits:,} at most, {found.overhead_bits:.1f} of them around the "
        f"payload; {found.plain_share:.3f} of plain ones; PRDN of what they decode to {found.prdn.mean:.3f} %"
    )


def _heart_rate(result: Evaluation) -> str:
    error = result.heart_rate
    if error is None:
        return "unknown; the bundle says no sampling rate of at least 8 Hz (quantize --rate-hz)"
    if error.mean_absolute_bpm is None:
        return f"not measured: no frame of {error.not_measured:,} shows three beats"
    return (
        f"mean absolute error {error.mean_absolute_bpm:.3f} bpm in {error.measured:,} frames, "
        f"not measured in {error.not_measured:,}"
    )


def _ratios(result: Evaluation) -> str:
    ratios = result.bits_over_dct_at_equal_prdn
    if ratios is None:
        return "no step of the DCT gives this PRDN"
    coded = f"{ratios['coded']:.3f} as coded, " if "coded" in ratios else ""
    return f"{coded}{ratios['conditional']:.3f} conditional, {ratios['order_1']:.3f} order-1, at the same PRDN"
