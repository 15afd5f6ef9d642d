"""The report of a run: one HTML page that needs nothing else, and its picture."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecodec._version import __version__
from edgecodec.compile.render import render_template
from edgecodec.files.atomic import write_file
from edgecodec.verify.documents import VerificationDocument


@dataclass(frozen=True)
class Row:
    """A line of a report's summary."""

    name: str
    """What the line is about."""
    value: str
    """What is said of it, with the unit."""


def plot_frames(
    original: npt.NDArray[Any],
    decoded: npt.NDArray[Any],
    prdn: Sequence[float],
    rate_hz: float,
    caption: str,
) -> bytes:
    """PNG of frames ``[N, T]`` (ADC counts) and what the decoder made of them, one panel a frame."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    time_s = np.arange(original.shape[1]) / rate_hz
    figure, axes = plt.subplots(len(original), 1, figsize=(9, 2.3 * len(original)), sharex=True, squeeze=False)
    for axis, before, after, value in zip(axes[:, 0], original, decoded, prdn, strict=True):
        axis.plot(time_s, before, color="#9aa5b1", linewidth=2.6, label="original")
        axis.plot(time_s, after, color="#c2410c", linewidth=1.1, label=f"decoded, PRDN {value:.1f} %")
        axis.set_ylabel("ADC counts")
        axis.margins(x=0)
        axis.spines[["top", "right"]].set_visible(False)
        # Above the panel, where it hides no beat.
        axis.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2, frameon=False, fontsize=9, borderpad=0.1)
    axes[-1, 0].set_xlabel("time in s")
    figure.suptitle(caption, fontsize=11, x=0.01, ha="left")
    figure.tight_layout()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=130, metadata={"Software": None})
    plt.close(figure)
    return buffer.getvalue()


def write_report(
    path: Path, *, title: str, document: VerificationDocument, rows: Sequence[Row], picture: bytes | None
) -> None:
    """Write ``path`` (HTML) from a verification's document, summary rows and a PNG.

    Raises InputError when it cannot be written.
    """
    divergence = document.first_divergence
    html = render_template(
        "report.html.j2",
        title=title,
        document=document,
        divergence=() if divergence is None else tuple(vars(divergence).items()),
        rows=rows,
        picture=base64.b64encode(picture).decode("ascii") if picture else None,
        version=__version__,
    )
    write_file(path, html.encode())
