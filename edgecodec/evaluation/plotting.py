"""The rate-distortion plot of an evaluation."""

from __future__ import annotations

import io

from edgecodec.evaluation.packages import need_package
from edgecodec.evaluation.rate_distortion import MODELS, Evaluation

_OPPONENT_COLORS = ("#94a3b8", "#0369a1", "#15803d", "#7e22ce", "#111827")


def need_matplotlib() -> None:
    """Raise InputError unless plots can be drawn, which is better known before an evaluation than after."""
    need_package("matplotlib")


def plot_rate_distortion(evaluation: Evaluation) -> bytes:
    """PNG of PRDN over bits a frame: the classical codecs' curves and points, and the bundle at its rates.

    Raises InputError when matplotlib is not installed.
    """
    need_matplotlib()
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axis = figure.add_subplot()
    for opponent, color in zip(evaluation.opponents, _OPPONENT_COLORS, strict=False):
        points = opponent.curve or tuple(point for point in (opponent.equal_prdn,) if point is not None)
        axis.plot(
            [point.bits_per_frame for point in points],
            [point.prdn for point in points],
            color=color,
            marker="." if opponent.curve else "x",
            linestyle="-" if opponent.curve else "none",
            label=opponent.title,
        )
    marks = {
        "nominal": ("D", "#f4c4a8"),
        "order_0": ("s", "#ea8a5b"),
        "conditional": ("o", "#c2410c"),
        "coded": ("*", "#7c2d12"),
    }
    for model, (marker, color) in marks.items():
        if model not in evaluation.bits_per_frame:
            continue
        bits, label = evaluation.bits_per_frame[model], f"this codec, {MODELS[model]}"
        axis.plot([bits], [evaluation.prdn.mean], marker=marker, color=color, linestyle="none", label=label)
    axis.set_xlabel("bits per frame, side information not counted")
    axis.set_ylabel("PRDN in %, mean over frames")
    axis.set_ylim(bottom=0)
    axis.grid(alpha=0.3)
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False, fontsize=9)
    axis.set_title(
        f"{evaluation.frames} frames of {evaluation.samples} samples, {evaluation.raw_bits_per_frame} bits raw",
        fontsize=10,
        loc="left",
    )
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=130, metadata={"Software": None})
    return buffer.getvalue()
