"""Train, quantise and measure the presets, and write the table and the plot of docs/presets.md.

    python -m tools.presets DATA OUT [NAME ...]

DATA holds recordings with a person each (``adc`` and ``subject`` of a .npz); the last eight people are tested on,
the three before them choose weights and roundings, and nobody is on two sides. OUT keeps a run and a bundle a
preset; what is there already is not made again. A preset takes about twenty minutes on one core.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgecodec.bundle import Bundle
from edgecodec.evaluation.baselines import DctBaseline
from edgecodec.evaluation.rate_distortion import Evaluation, evaluate
from edgecodec.quantization import FineTuning, Tuning, quantize_run
from edgecodec.training.config import load_config, preset_path
from edgecodec.training.run import TrainingRun, train

PRESETS = ("04x_ds4_l2", "08x_ds8_l2", "16x_ds16_l2", "32x_ds16_l1")
SPLIT = ("data.split.test=last 8", "data.split.validation=last 3")
FINE_TUNE_STEPS = 4000
DOCS = Path(__file__).resolve().parent.parent / "docs"
_DCT_BITS = (700, 500, 400, 350, 300, 250, 200, 175, 150, 125, 100)


@dataclass(frozen=True)
class Measured:
    """One preset's figures, percent and bits a frame."""

    name: str
    """Name of the preset."""
    float_prdn: float
    """PRDN of the float codec, mean over all test frames, in percent."""
    figures: dict[str, float]
    """Figures of quantising, as the bundle's manifest keeps them."""
    evaluation: Evaluation
    """Figures of the integer codec and the DCT on all test frames."""

    @property
    def prdn(self) -> float:
        """PRDN of the integer codec, mean over all test frames, in percent."""
        return self.evaluation.prdn.mean

    def bits(self, model: str) -> float:
        """Bits a frame under an entropy model."""
        return self.evaluation.bits_per_frame[model]

    def over_dct(self, model: str) -> float:
        """Bits over the DCT's at the same PRDN, which the DCT reaches for every preset."""
        ratios = self.evaluation.bits_over_dct_at_equal_prdn
        assert ratios is not None
        return ratios[model]


def measure(name: str, data: Path, out: Path) -> Measured:
    """Make what is missing of a preset and measure its bundle."""
    folder, bundle = out / name / "run", out / name / "bundle"
    if not folder.exists():
        config = load_config(preset_path(name), data=data, settings=SPLIT)
        train(config, folder, progress=_Lines(f"{name}: train"), resume=True)
    run = TrainingRun.load(folder)
    if not bundle.exists():
        tuning = Tuning(train=run.train(), settings=FineTuning(steps=FINE_TUNE_STEPS), index_frames=True)
        quantize_run(run, tuning=tuning, progress=_Stages(name)).write(bundle)
    loaded = Bundle.load(bundle)
    result = evaluate(loaded, run.test(), run.train())
    return Measured(name, run.metrics["test_prdn_mean"], loaded.manifest.provenance["figures"], result)


def dct_rows(out: Path, name: str) -> list[tuple[float, float]]:
    """Bits and PRDN of the DCT on the same frames."""
    run = TrainingRun.load(out / name / "run")
    train_frames = run.train()
    assert train_frames is not None
    train_moving, test_moving = (part[np.any(part != part[:, :1], axis=1)] for part in (train_frames, run.test()))
    baseline = DctBaseline(train_moving, test_moving)
    points = [baseline.at_bits(bits) for bits in _DCT_BITS]
    return [(point.bits_per_frame, point.prdn) for point in points if point is not None]


def table(rows: list[Measured], dct: list[tuple[float, float]]) -> str:
    """The tables of docs/presets.md."""
    lines = [
        "| preset | PRDN float | PRDN integer | integer / float | nominal bits | conditional | coded "
        "| DCT at this PRDN | conditional / DCT | coded / DCT | heart rate error, bpm |",
        "| --- |" + " ---: |" * 10,
    ]
    for row in rows:
        point, beats = row.evaluation.dct.equal_prdn, row.evaluation.heart_rate
        assert point is not None
        assert beats is not None
        lines.append(
            f"| `{row.name}` | {row.float_prdn:.2f} % | {row.prdn:.2f} % | {row.prdn / row.float_prdn:.3f} "
            f"| {row.bits('nominal'):.0f} | {row.bits('conditional'):.0f} | {row.bits('coded'):.0f} "
            f"| {point.bits_per_frame:.0f} | {row.over_dct('conditional'):.3f} | {row.over_dct('coded'):.3f} "
            f"| {beats.mean_absolute_bpm:.2f} |"
        )
    lines += ["", "| DCT: bits | PRDN |", "| ---: | ---: |"]
    lines += [f"| {bits:.0f} | {prdn:.2f} % |" for bits, prdn in dct]
    lines += [
        "",
        "| preset | agreement, level 1 | level 2 | input alone rounded: level 1 | level 2 | PRDN, its float codec "
        "| input alone rounded | integer |",
        "| --- |" + " ---: |" * 7,
    ]
    for row in rows:
        figures = row.figures
        agreement = [
            f"{100 * figures[key]:.1f} %" if key in figures else "-"
            for key in ("agreement_l1", "agreement_l2", "agreement_rounded_input_l1", "agreement_rounded_input_l2")
        ]
        prdns = [f"{figures[key]:.3f} %" for key in ("prdn_float", "prdn_rounded_input", "prdn_integer")]
        lines.append("| " + " | ".join([f"`{row.name}`", *agreement, *prdns]) + " |")
    return "\n".join(lines) + "\n"


def plot(rows: list[Measured], dct: list[tuple[float, float]], path: Path) -> None:
    """PRDN over bits, the presets at two rates and the DCT."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axis = figure.add_subplot()
    axis.plot(*zip(*dct, strict=True), color="#64748b", marker=".", label="DCT, uniform step, static entropy code")
    for model, color, label in (("conditional", "#ea8a5b", "tables"), ("coded", "#7c2d12", "coded")):
        points = [(row.bits(model), row.prdn) for row in rows]
        axis.plot(*zip(*points, strict=True), color=color, marker="o", label=f"presets, integer codec, {label}")
    for row in rows:
        offset = {"textcoords": "offset points", "xytext": (0, -15), "fontsize": 8, "ha": "center"}
        axis.annotate(row.name, (row.bits("coded"), row.prdn), **offset)
    axis.set_xscale("log")
    axis.set_xlim(80, 1000)
    axis.set_xticks([100, 150, 200, 300, 400, 600], labels=["100", "150", "200", "300", "400", "600"])
    axis.minorticks_off()
    axis.set_xlabel("bits per frame of 5 s (mean and variance not counted)")
    axis.set_ylabel("PRDN in %, mean over frames of people not trained on")
    axis.set_ylim(bottom=0)
    axis.grid(alpha=0.3)
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False, fontsize=9)
    figure.savefig(path, dpi=130, metadata={"Software": None})


class _Lines:
    """A line of progress now and then."""

    def __init__(self, what: str) -> None:
        self._what = what

    def __call__(self, done: int, total: int, figures: dict[str, float]) -> None:
        if done % 1000 == 0 or done == total:
            shown = " ".join(f"{name} {value:.4g}" for name, value in figures.items())
            _say(f"{self._what}: {done:,} of {total:,} {shown}")


class _Stages:
    """A line as each stage of quantising starts."""

    def __init__(self, what: str) -> None:
        self._what, self._stage = what, ""

    def __call__(self, done: int, total: int, stage: str) -> None:
        if stage != self._stage:
            self._stage = stage
            _say(f"{self._what}: {stage}")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main(arguments: list[str]) -> None:
    """Measure the presets named, or all, and write the documents' tables when all are there."""
    data, out, *names = arguments
    rows = [measure(name, Path(data), Path(out)) for name in names or PRESETS]
    dct = dct_rows(Path(out), rows[-1].name)
    print(table(rows, dct))
    if not names:
        page = DOCS / "presets.md"
        head, marker, _ = page.read_text(encoding="utf-8").partition("<!-- measured -->\n")
        page.write_text(head + marker + "\n" + table(rows, dct), encoding="utf-8")
        plot(rows, dct, DOCS / "presets.png")


if __name__ == "__main__":
    main(sys.argv[1:])
