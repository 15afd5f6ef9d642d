"""What ``verify-host`` and ``flash-and-verify`` share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from edgecodec.cli.output import Streams

if TYPE_CHECKING:
    from rich.console import Console

    from edgecodec.bundle import Bundle
    from edgecodec.codec.arrays import Frames
    from edgecodec.signal.reading import Reading
    from edgecodec.verify.documents import VerificationDocument
    from edgecodec.verify.run import VerifyResult


def recorded_frames(streams: Streams, bundle: Bundle, path: Path, reading: Reading) -> Frames:
    """Frames of the recordings ``path`` for the codec of ``bundle``, and a line on what was read. Raises InputError."""
    from edgecodec.signal.frames import read_frames

    found = read_frames(path, bundle.codec.samples, bundle.rate_hz, reading)
    streams.say(f"{path}: {found.summary.describe()}")
    return found.frames


def verification_frames(
    streams: Streams, bundle: Bundle, path: Path | None, limit: int | None, reading: Reading
) -> Frames:
    """Frames of ``path``, or the bundle's own, at most ``limit``. Raises InputError when there are none."""
    from edgecodec.errors import InputError

    frames = bundle.frames() if path is None else recorded_frames(streams, bundle, path, reading)
    if frames is None:
        raise InputError(f"{bundle.path}: ships no frames to verify with", hint="pass --frames FILE")
    return frames[:limit]


def finish(streams: Streams, result: VerifyResult, indices_out: Path | None, report: Callable[[], None]) -> int:
    """Print a verification, write the indices of the executor under test (SPEC.md 4), and return the exit code.

    ``report`` writes the report. Raises InputError when something cannot be written; the verdict has been printed then.
    """
    document = result.document
    exit_code = streams.finish(document, lambda console: _show(console, document), exit_code=result.exit_code)
    if indices_out is not None:
        from edgecodec.decoding.index_file import IndexFile, save_indices

        stages = result.executor
        save_indices(indices_out, IndexFile(stages.indices, stages.offset, stages.spread, result.bundle_digest))
    report()
    return exit_code


def _show(console: Console, document: VerificationDocument) -> None:
    from edgecodec.cli.tables import facts, table

    table(
        console,
        ("a", "b", "stage", "compared", "mismatches", "in the verdict"),
        ((pair.a, pair.b, pair.stage, pair.compared, pair.mismatches, pair.exact) for pair in document.pairs),
    )
    figures = {
        "digest": document.bundle_digest,
        "board": document.board,
        "engine": document.engine,
        "frames": document.frames,
        "indices compared": document.indices_compared,
        "bits on air/frame": None if document.bits_on_air is None else document.bits_on_air.describe(),
        "instructions/frame": document.instructions_per_frame,
        "cycles/frame": document.cycles_per_frame,
        "flash bytes": document.flash_bytes,
        "RAM bytes": document.ram_bytes,
        "arena bytes": document.arena_bytes,
    }
    values = {
        label: value if isinstance(value, str) else f"{value:,.0f}"
        for label, value in figures.items()
        if value is not None
    }
    for run in document.runs[:-1]:
        sizes = {"flash": run.flash_bytes, "RAM": run.ram_bytes, "arena": run.arena_bytes}
        takes = ", ".join(f"{name} {size:,}" for name, size in sizes.items() if size is not None)
        values[f"beside, {run.engine}"] = f"{run.cost_per_frame:,.0f} a frame, {takes}"
    if document.bits_on_air is not None:
        for run in document.runs:
            if not run.encoder_bytes:
                values[f"left out, {run.engine}"] = "pushed samples: the firmware has no encoder object"
    if document.first_divergence is not None:
        first = vars(document.first_divergence)
        values["first divergence"] = ", ".join(f"{key} {value}" for key, value in first.items() if value is not None)
    for each in document.layer_divergences:
        values[f"wrong in {each.executor}"] = each.describe()
    console.print()
    facts(console, values | {"verdict": str(document.verdict)})
