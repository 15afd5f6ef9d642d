"""What ``verify-host`` and ``flash-and-verify`` share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecodec.cli.output import Streams

if TYPE_CHECKING:
    from rich.console import Console

    from edgecodec.bundle import Bundle
    from edgecodec.codec.arrays import Frames
    from edgecodec.verify.run import VerifyResult


def verification_frames(bundle: Bundle, path: Path | None, limit: int | None) -> Frames:
    """Frames of ``path``, or the bundle's own, at most ``limit``. Raises InputError when there are none."""
    from edgecodec.errors import InputError
    from edgecodec.signal.frames import load_frames

    frames = bundle.frames() if path is None else load_frames(path, bundle.codec.samples)
    if frames is None:
        raise InputError(f"{bundle.path}: ships no frames to verify with; pass --frames FILE")
    return frames[:limit]


def write_indices(path: Path | None, result: VerifyResult) -> None:
    """Write the indices of the executor under test, as SPEC.md 4 has them."""
    if path is None:
        return
    from edgecodec.decoding.index_file import IndexFile, save_indices

    stages = result.executor
    save_indices(path, IndexFile(stages.indices, stages.sum, stages.variance, result.bundle_digest))


def finish(streams: Streams, result: VerifyResult) -> int:
    """Print a verification and return its exit code."""
    document = result.to_json()
    return streams.finish(document, lambda console: _show(console, document), exit_code=result.exit_code)


def _show(console: Console, document: dict[str, Any]) -> None:
    from edgecodec.cli.tables import facts, table
    from edgecodec.verify.attribution import LayerDivergence

    table(
        console,
        ("a", "b", "stage", "compared", "mismatches", "in the verdict"),
        ([pair[key] for key in ("a", "b", "stage", "compared", "mismatches", "exact")] for pair in document["pairs"]),
    )
    names = {
        "bundle_digest": "digest",
        "board": "board",
        "engine": "engine",
        "frames": "frames",
        "indices_compared": "indices compared",
        "instructions_per_frame": "instructions/frame",
        "cycles_per_frame": "cycles/frame",
        "flash_bytes": "flash bytes",
        "ram_bytes": "RAM bytes",
        "arena_bytes": "arena bytes",
    }
    values = {
        label: f"{document[key]:,.0f}" if isinstance(document[key], (int, float)) else document[key]
        for key, label in names.items()
        if document.get(key) is not None
    }
    for run in document["runs"][:-1]:
        cost = run["instructions_per_frame"] or run["cycles_per_frame"]
        values[f"beside, {run['engine']}"] = (
            f"{cost:,.0f} a frame, flash {run['flash_bytes']:,}, RAM {run['ram_bytes']:,}, arena {run['arena_bytes']:,}"
        )
    first = document.get("first_divergence")
    if first is not None:
        values["first divergence"] = ", ".join(f"{key} {value}" for key, value in first.items() if value is not None)
    for each in document["layer_divergences"]:
        values[f"wrong in {each['executor']}"] = LayerDivergence(**each).describe()
    console.print()
    facts(console, values | {"verdict": document["verdict"]})
