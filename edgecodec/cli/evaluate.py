"""``edgecodec evaluate``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgecodec.cli.options import (
    bundle_argument,
    force_option,
    json_option,
    path,
    png_path,
    reading_options,
    report_option,
    subcommand,
)
from edgecodec.cli.output import Streams

if TYPE_CHECKING:
    from rich.console import Console

    from edgecodec.evaluation.rate_distortion import Evaluation
    from edgecodec.report.sections import Origin, Report
    from edgecodec.signal.reading import Reading


@subcommand(
    "evaluate",
    example="edgecodec evaluate bundle --frames test.npz --train-frames train.npz --plot rate.png\n"
    "edgecodec evaluate bundle --frames test.npz --train-frames train.npz --report report",
)
@bundle_argument
@click.option("--frames", type=path, required=True, metavar="FILE", help="Recordings, file or folder.")
@click.option(
    "--train-frames",
    type=path,
    metavar="FILE",
    help="Other people's recordings, for entropy models and opponents; the first half of --frames by default.",
)
@click.option(
    "--opponents",
    default="dct,dct-rdoq,klt-rdoq",
    show_default=True,
    metavar="NAMES",
    help="Classical codecs to compare with: these, dct-network or dct-network48 (minutes; TensorFlow).",
)
@click.option(
    "--plot",
    type=png_path,
    metavar="FILE",
    help="Write a picture of rate, distortion, worst and median frame here (.png).",
)
@report_option
@force_option
@reading_options
@json_option
@click.pass_obj
def command(
    streams: Streams,
    bundle: Path,
    frames: Path,
    train_frames: Path | None,
    opponents: str,
    plot: Path | None,
    report: Path | None,
    force: bool,
    reading: Reading,
) -> int:
    """Measure a bundle's quality and rate beside classical codecs.

    Encodes and decodes the frames and prints PRDN, heart-rate error and bits a frame, nominal and under static
    entropy models, beside those of a DCT with static tables, of a DCT and a KLT with contexts and rate-distortion
    optimised quantisation, and of a DCT with a causal network, at the same PRDN and at the same bits. All that is
    fitted is fitted to the training frames alone. Instructions are of a frame on Cortex-M4, estimated. Where the
    recordings say whose they are, and a .npz in an array "rhythm" which rhythm, beats are also compared by these.
    """
    from edgecodec.bundle import Bundle
    from edgecodec.cli import report as reports
    from edgecodec.evaluation.opponents import opponents_of
    from edgecodec.evaluation.plotting import need_matplotlib, plot_evaluation
    from edgecodec.evaluation.rate_distortion import evaluate
    from edgecodec.files.atomic import write_file
    from edgecodec.signal.frames import read_frames

    names = [name.strip() for name in opponents.split(",")]
    opponents_of(names)
    reports.check(report, plot, force=force)
    if plot is not None:
        need_matplotlib()
    loaded = Bundle.load(bundle)
    sets = []
    for source in filter(None, (frames, train_frames)):
        sets.append(read_frames(source, loaded.codec.samples, loaded.rate_hz, reading))
        streams.say(f"{source}: {sets[-1].summary.describe()}")
    test, train = sets[0], sets[1].frames if len(sets) > 1 else None
    with streams.progress("evaluating") as progress:
        result = evaluate(
            loaded,
            test.frames,
            train,
            people=test.people,
            rhythms=test.rhythms,
            opponents=names,
            curves=plot is not None or report is not None,
            progress=progress,
        )
    if plot is not None:
        write_file(plot, plot_evaluation(result, loaded, test.frames))
        result = replace(result, plot=plot)
    exit_code = streams.finish(result, lambda console: _show(console, result))

    def make(origin: Origin) -> Report:
        from edgecodec.report.sections import report_evaluation

        return report_evaluation(origin, loaded, test.frames, result)

    reports.write(streams, report, make, force=force)
    return exit_code


def _show(console: Console, result: Evaluation) -> None:
    from edgecodec.cli.tables import facts, table
    from edgecodec.evaluation.rate_distortion import MODELS

    raw, side = result.raw_bits_per_frame, result.side_information_bits
    rows: list[tuple[object, ...]] = [
        (f"{result.name}, {MODELS[model]}", bits, bits + side, raw / (bits + side), result.prdn.mean)
        for model, bits in result.bits_per_frame.items()
    ]
    table(console, ("codec", "bits/frame", "with side inf.", "ratio to 16-bit", "PRDN %"), rows)
    console.print()
    best = result.best_model
    rows = []
    for opponent in result.opponents:
        over = opponent.bits_over_opponent
        for point, label in ((opponent.equal_prdn, "same PRDN"), (opponent.equal_bits, "same bits")):
            if point is not None:
                at_prdn = point is opponent.equal_prdn
                rows.append(
                    (
                        f"{opponent.title}, {label}",
                        point.bits_per_frame,
                        point.bits_per_frame + side,
                        point.prdn,
                        over[best] if over and at_prdn else None,
                        opponent.bits_over_opponent_with_side_information if at_prdn else None,
                        f"{point.instructions / 1e6:.3f} M",
                        f"{point.flash_bytes / 1024:.1f} KiB",
                    )
                )
        if opponent.equal_prdn is None:
            rows.append((f"{opponent.title}, same PRDN", *["-"] * 7))
    header = ("opponent", "bits/frame", "with side inf.", "PRDN %", "codec / it", "with side", "M4, est.", "flash")
    table(console, header, rows)
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
    if result.groups:
        _show_groups(console, result)
    facts(console, _facts(result) | ({} if result.plot is None else {"plot": result.plot}))


def _show_groups(console: Console, result: Evaluation) -> None:
    from edgecodec.cli.tables import table

    worst = max((group for group in result.groups if group.by == "person"), key=lambda g: g.prdn.mean, default=None)
    rows = []
    for group in result.groups:
        beats, marked = group.beats, ", worst" if group is worst else ""
        rows.append(
            (
                f"{group.by} {group.name}{marked}",
                group.frames,
                group.prdn.median,
                group.prdn.worst,
                beats and beats.heart_rate.mean_absolute_bpm,
                beats and beats.onset_error_ms,
                beats and beats.rmssd_ms,
                beats and beats.rmssd_error_ms,
                "" if beats is None or beats.rmssd_usable is not False else "unusable",
            )
        )
    header = ("of", "frames", "PRDN %", "worst %", "HR, bpm", "onset, ms", "RMSSD, ms", "its error", "")
    table(console, header, rows)
    console.print()


def _facts(result: Evaluation) -> dict[str, object]:
    from edgecodec.evaluation.rate_distortion import MODELS

    quality = result.prdn
    left_out = f", {result.constant_frames} constant ones left out" if result.constant_frames else ""
    worst, rmssd = result.worst_frame, _rmssd(result)
    return {
        "PRDN": f"mean {quality.mean:.3f} %, median {quality.median:.3f} %, P90 {quality.p90:.3f} %, "
        f"P95 {quality.p95:.3f} %, worst {quality.worst:.3f} % (frame {worst.number})",
        "heart rate": _heart_rate(result),
        **({} if rmssd is None else {"RMSSD": rmssd}),
        "packets": _packets(result),
        "codec / opponent": f"bits of {MODELS[result.best_model]} over the opponent's at the same PRDN",
        "frames": f"{result.frames:,}{left_out}",
        "fitted to": f"{result.train_frames:,} training frames: {result.train_frames_source}",
        "side information": f"{result.side_information_bits:.1f} bits: a frame's mean and scale, the same for all",
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
    if result.beats is None:
        return "unknown; the bundle says no sampling rate of at least 8 Hz (quantize --rate-hz)"
    error = result.beats.heart_rate
    if error.mean_absolute_bpm is None:
        return f"not measured: no frame of {error.not_measured:,} shows three beats"
    return (
        f"mean absolute error {error.mean_absolute_bpm:.3f} bpm in {error.measured:,} frames, "
        f"not measured in {error.not_measured:,}"
    )


def _rmssd(result: Evaluation) -> str | None:
    """What is left of RMSSD, of all frames and of each group, of which a median over all says little."""
    beats = result.beats
    if beats is None or beats.rmssd_ms is None or beats.onset_error_ms is None:
        return None
    unusable = [f"{g.by} {g.name}" for g in result.groups if g.beats is not None and g.beats.rmssd_usable is False]
    verdict = "usable" if beats.rmssd_usable else "unusable (more than a fifth)"
    of = f", but not of {', '.join(unusable)}" if unusable and beats.rmssd_usable else ""
    return (
        f"median error {beats.rmssd_error_ms:.1f} ms of {beats.rmssd_ms:.1f} ms in {beats.rmssd_frames:,} frames: "
        f"{verdict}{of}; onsets of pulses {beats.onset_error_ms:.2f} ms off"
    )
