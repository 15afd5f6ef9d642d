"""The picture of an evaluation: rate and distortion, the worst frame and one of the median."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from edgecodec.bundle import Bundle
from edgecodec.codec.arrays import as_frames
from edgecodec.evaluation.packages import need_package
from edgecodec.evaluation.rate_distortion import MODELS, Evaluation, FrameFigure
from edgecodec.host.decode import fastest_decoder
from edgecodec.host.encoders import fastest_encoder

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_OPPONENT_COLORS = ("#94a3b8", "#0369a1", "#15803d", "#7e22ce", "#111827")


def need_matplotlib() -> None:
    """Raise InputError unless plots can be drawn, which is better known before an evaluation than after."""
    need_package("matplotlib")


def plot_evaluation(evaluation: Evaluation, bundle: Bundle, frames: npt.ArrayLike) -> bytes:
    """PNG: PRDN over bits a frame of bundle and opponents, above the worst frame and one of the median.

    ``bundle`` and ``frames`` ``[N, T]`` are those that were evaluated. Raises InputError when matplotlib is not
    installed.
    """
    need_matplotlib()
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 7.5), layout="constrained")
    axes = figure.subplots(3, 1, height_ratios=(3, 1, 1))
    _plot_rate(axes[0], evaluation)
    _plot_frame(axes[1], "worst frame", evaluation.worst_frame, bundle, frames)
    _plot_frame(axes[2], "frame of the median", evaluation.median_frame, bundle, frames)
    axes[2].set_xlabel("samples" if bundle.rate_hz is None else "seconds")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=130, metadata={"Software": None})
    return buffer.getvalue()


def _plot_frame(axis: Axes, what: str, figure: FrameFigure, bundle: Bundle, frames: npt.ArrayLike) -> None:
    """A frame, normalised, and what it is decoded to."""
    frame = as_frames(frames, bundle.codec.samples)[figure.number][None]
    decoded = fastest_decoder(bundle).decode(fastest_encoder(bundle).encode(frame))[0]
    time = np.arange(bundle.codec.samples) / (bundle.rate_hz or 1.0)
    axis.plot(time, bundle.codec.normalizer.normalization.normalize(frame)[0], color="#64748b", label="original")
    axis.plot(time, decoded, color="#c2410c", linewidth=1, label="decoded")
    labels = [f"person {figure.person}" if figure.person else "", f"rhythm {figure.rhythm}" if figure.rhythm else ""]
    named = ", ".join([what, *filter(None, labels)])
    axis.set_title(f"{named}: PRDN {figure.prdn:.2f} %", fontsize=10, loc="left")
    axis.set_yticks([])
    axis.margins(x=0)
    axis.spines[["top", "right", "left"]].set_visible(False)
    axis.legend(frameon=False, fontsize=8, loc="upper right", bbox_to_anchor=(1, 1.25), ncols=2)


def _plot_rate(axis: Axes, evaluation: Evaluation) -> None:
    """PRDN over bits a frame: the classical codecs' curves and points, and the bundle at its rates."""
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
