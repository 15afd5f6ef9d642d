"""Train, quantise and measure presets with several seeds, and write the results and the tables of docs/presets.md.

    python -m tools.presets DATA OUT [NAME ...] [--seeds 1,2,3] [--activations 16] [--opponents NAMES] [--write]

NAME is a preset, or one with settings of its ``model`` section, to see what another codec at its rate would give:
``08x_light:embedding_dim=16,rate_bias=[1e-3,1e-4]``. DATA is a .npz of recordings with ``adc``, ``subject`` and,
where it is known, ``rhythm``. The last eight people are tested on, the three before them choose weights and roundings,
and nobody is on two sides. All is done by commands of ``edgecodec``, which the results hold. OUT/NAME/seedN keeps run,
bundle, evaluation and what a frame takes of two emulated boards; what is there is not made again, so a run that was
killed goes on. OUT/presets.json has the results of all that is in OUT; with ``--write`` they take their place in
docs/presets.json, beside those of other bundles, and the tables and the picture of docs/presets.md are made from it.
"""

from __future__ import annotations

import argparse
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from edgecodec.codec.numerics import NUMERICS
from edgecodec.evaluation.opponents import OPPONENTS
from edgecodec.training.config import load_config, preset_path

PRESETS = (
    *("08x_light", "16x_light", "32x_light", "04x_light"),
    *("08x_ds8_l2", "16x_ds16_l2", "32x_ds16_l1", "04x_ds4_l2"),
)
"""Recommended first; a night that ends early has measured those."""
TEST_PEOPLE, VALIDATION_PEOPLE = 8, 3
RATE_HZ = 64.0
"""Of the recordings."""
NETWORK_BUDGET = {"flash_bytes": 27000, "instructions": 600000}
"""Of the packets' model: networks up to 26 KiB."""
OPPONENT_NAMES = "dct,dct-rdoq,klt-rdoq,dct-network"
BOARDS = {"M4": "mps2-an386", "M0": "microbit"}
"""Emulated boards that count instructions, by their core's short name."""
DOCS = Path(__file__).resolve().parent.parent / "docs"
_BEGIN, _END = "<!-- measured -->\n", "<!-- end of measured -->\n"

Result = dict[str, Any]
"""A bundle's figures: ``preset`` (NAME), ``seed``, ``commands``, ``float_prdn``, ``quantization``, ``evaluation`` and
``boards``."""


def split_name(name: str) -> tuple[str, list[str]]:
    """A preset, and the settings behind it."""
    preset, _, settings = name.partition(":")
    return preset, re.split(r",(?![^\[]*\])", settings) if settings else []


def train_command(name: str, seed: int, data: Path, folder: Path) -> list[str]:
    """Arguments of ``edgecodec`` for ``folder/run``."""
    split = [f"data.split.test=last {TEST_PEOPLE}", f"data.split.validation=last {VALIDATION_PEOPLE}", f"seed={seed}"]
    settings = [part for setting in split for part in ("--set", setting)]
    given = ["--data", str(data), "--rate", f"{RATE_HZ:g}"]
    preset, model = split_name(name)
    settings += [part for setting in model for part in ("--set", f"model.{setting}")]
    return ["train", "--preset", preset, *given, *settings, "-o", str(folder / "run")]


def quantize_command(folder: Path, steps: int | None, activations: str, budget: dict[str, int] | None) -> list[str]:
    """Arguments of ``edgecodec`` for ``folder/bundle``; None leaves fine-tuning or the packets' model out."""
    run = folder / "run"
    arguments = ["quantize", str(run), "--activations", activations]
    if steps is not None:
        arguments += ["--fine-tune", str(run / "train.npz"), "--fine-tune-steps", str(steps)]
    if budget is not None:
        sizes = ("--index-flash", str(budget["flash_bytes"]), "--index-instructions", str(budget["instructions"]))
        arguments += ["--index-model", *sizes]
    return [*arguments, "-o", str(folder / "bundle")]


def evaluate_command(folder: Path, test: Path, opponents: str) -> list[str]:
    """Arguments of ``edgecodec`` for ``folder/evaluation.json``."""
    train = str(folder / "run" / "train.npz")
    frames = ["--frames", str(test), "--train-frames", train]
    return ["evaluate", str(folder / "bundle"), *frames, "--opponents", opponents, "--json"]


def profile_command(folder: Path, board: str) -> list[str]:
    """Arguments of ``edgecodec`` for what a frame takes on ``board``."""
    return ["profile", str(folder / "bundle"), "--board", board, "--json"]


def measure(name: str, seed: int, options: argparse.Namespace) -> None:
    """Make what is missing of a preset and a seed."""
    folder = options.out / name / f"seed{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    made_by = {
        "run": train_command(name, seed, options.data, folder),
        "bundle": quantize_command(folder, options.fine_tune_steps, options.activations, NETWORK_BUDGET),
        "evaluation.json": evaluate_command(folder, options.out / "test.npz", options.opponents),
        **{f"{board}.json": profile_command(folder, board) for board in BOARDS.values()},
    }
    for made, arguments in made_by.items():
        if (folder / made).exists():
            continue
        extra = ["--resume"] if made == "run" else []
        print(shlex.join(["edgecodec", *arguments]), file=sys.stderr, flush=True)
        command = [sys.executable, "-m", "edgecodec", *arguments, *extra]
        done = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True)
        if done.returncode:
            sys.exit(f"{folder / made}: edgecodec ended with exit code {done.returncode}")
        if made.endswith(".json"):
            (folder / made).write_text(done.stdout, encoding="utf-8")


def write_test_people(data: Path, path: Path) -> None:
    """The recordings of the people who are tested on, with their names and rhythms."""
    with np.load(data, allow_pickle=False) as archive:
        held = dict(archive)
    subjects = held["subject"]
    chosen = np.isin(subjects, np.unique(subjects)[-TEST_PEOPLE:])
    rows = {name: held[name][chosen] for name in ("adc", "subject", "rhythm") if name in held}
    np.savez(path, allow_pickle=False, **rows, rate_hz=RATE_HZ)


def results(out: Path) -> list[Result]:
    """What is in OUT, by preset and seed, with the commands that made it as runs and bundles record them."""
    found = []
    for path in sorted(out.glob("*/seed*/evaluation.json")):
        folder, name, seed = path.parent, path.parts[-3], int(path.parts[-2].removeprefix("seed"))
        if not all((folder / f"{board}.json").exists() for board in BOARDS.values()):
            continue  # killed before
        run = json.loads((folder / "run" / "run.json").read_text(encoding="utf-8"))
        manifest = json.loads((folder / "bundle" / "manifest.json").read_text(encoding="utf-8"))
        quantization = manifest["provenance"]["quantization"]
        tuned, fitted = quantization["fine_tuning"], quantization["index_model"]
        activations = str(8 * NUMERICS[manifest["numerics"]].activation.itemsize)
        evaluation = json.loads(path.read_text(encoding="utf-8"))
        # Curves are for plots of one bundle.
        for opponent in evaluation["opponents"]:
            del opponent["curve"]
        train = train_command(name, seed, Path("ppg.npz"), Path())
        epochs = run["config"]["data"]["epochs"]
        if epochs != load_config(preset_path(split_name(name)[0]), data=Path("ppg.npz")).data.epochs:
            train[-2:-2] = ["--set", f"data.epochs={epochs}"]
        made_by = [
            train,
            quantize_command(Path(), tuned and tuned["steps"], activations, fitted and fitted["budget"]),
            evaluate_command(Path(), Path("test.npz"), ",".join(o["name"] for o in evaluation["opponents"])),
            *(profile_command(Path(), board) for board in BOARDS.values()),
        ]
        found.append(
            {
                "preset": name,
                "seed": seed,
                "commands": [shlex.join(["edgecodec", *arguments]) for arguments in made_by],
                "float_prdn": run["metrics"]["test_prdn_mean"],
                "quantization": manifest["provenance"]["figures"],
                "evaluation": evaluation,
                "boards": {core: _board_costs(folder / f"{board}.json") for core, board in BOARDS.items()},
            }
        )
    return found


def merged(held: list[Result], found: list[Result]) -> list[Result]:
    """``found`` beside what is ``held`` of other presets and seeds, by preset and seed."""
    return sorted(({_key(row): row for row in held} | {_key(row): row for row in found}).values(), key=_key)


def _key(row: Result) -> tuple[str, int]:
    return row["preset"], row["seed"]


def _json(rows: list[Result]) -> str:
    """A bundle a line, so that a difference shows whose figures changed."""
    return "[\n" + ",\n".join(map(json.dumps, rows)) + "\n]\n"


def _board_costs(path: Path) -> dict[str, int]:
    """Instructions a frame and bytes, of what ``profile`` wrote."""
    profile = json.loads(path.read_text(encoding="utf-8"))
    kinds = {"normaliser": "normaliser", "encoder": "layer", "search": "rvq", "packet": "packet"}
    layers = profile["layers"]
    costs = {name: round(sum(row["cost"] for row in layers if row["kind"] == kind)) for name, kind in kinds.items()}
    codec = [part for part in profile["memory"]["parts"] if part["part"] in ("codec", "weights", "codebooks")]
    costs["flash_bytes"] = sum(part["text"] + part["rodata"] for part in codec)
    costs["state_bytes"] = profile["memory"]["codec_state_bytes"]
    return costs


def tables(rows: list[Result]) -> str:
    """The tables of docs/presets.md, a row a preset, mean and spread of its seeds.

    A preset with settings of its own is in that of costs alone.
    """
    every = {row["preset"]: [other for other in rows if other["preset"] == row["preset"]] for row in rows}
    presets = {name: found for name, found in every.items() if not split_name(name)[1]}
    made = (_rate_table(presets), _opponent_table(presets), _cost_table(every), _beat_table(presets))
    return "\n".join(line for table in made for line in (*table, ""))


def _rate_table(presets: dict[str, list[Result]]) -> list[str]:
    head = ("seeds", "PRDN float", "integer", "integer / float", "indices as float's", "P95", "worst")
    lines = _head("preset", (*head, "tables, ideal", "packets' model", "packets, all included"))
    for name, rows in presets.items():
        prdn = [row["evaluation"]["prdn"] for row in rows]
        bits = [row["evaluation"]["bits_per_frame"] for row in rows]
        packets = [row["evaluation"]["packets"]["mean_bits"] for row in rows if row["evaluation"]["packets"]]
        lines.append(
            _row(
                f"`{name}`",
                ", ".join(str(row["seed"]) for row in rows),
                _spread([row["float_prdn"] for row in rows], "%.3f %%"),
                _spread([found["mean"] for found in prdn], "%.3f %%"),
                _spread([p["mean"] / row["float_prdn"] for p, row in zip(prdn, rows, strict=True)], "%.3f"),
                _agreement([row["quantization"] for row in rows]),
                _spread([found["p95"] for found in prdn], "%.2f %%"),
                _spread([found["worst"] for found in prdn], "%.2f %%"),
                _spread([found["conditional"] for found in bits], "%.1f"),
                _spread([found["coded"] for found in bits if "coded" in found], "%.1f"),
                _spread(packets, "%.1f"),
            )
        )
    return lines


def _agreement(figures: list[Result]) -> str:
    """Least of the seeds, by level."""
    levels = sorted(key for key in figures[0] if re.fullmatch(r"agreement_l\d+", key))
    return ", ".join(f"{100 * min(each[level] for each in figures):.1f} %" for level in levels)


def _opponent_table(presets: dict[str, list[Result]]) -> list[str]:
    head = ("bits at its PRDN", "codec / it", "with side information", "instructions, M4, estimated", "flash")
    lines = _head("preset", ("opponent", *head))
    for name, rows in presets.items():
        for opponent in OPPONENTS:
            every = [(row["evaluation"], found) for row in rows for found in row["evaluation"]["opponents"]]
            found = [(e, o) for e, o in every if o["name"] == opponent and o["equal_prdn"]]
            if not found:
                continue
            points = [o["equal_prdn"] for _, o in found]
            lines.append(
                _row(
                    f"`{name}`",
                    OPPONENTS[opponent].title,
                    _spread([point["bits_per_frame"] for point in points], "%.1f"),
                    _spread([o["bits_over_opponent"][e["best_model"]] for e, o in found], "%.3f"),
                    _spread([o["bits_over_opponent_with_side_information"] for _, o in found], "%.3f"),
                    f"{np.mean([point['instructions'] for point in points]) / 1e6:.3f} M",
                    f"{np.mean([point['flash_bytes'] for point in points]) / 1024:.1f} KiB",
                )
            )
    return lines


def _cost_table(presets: dict[str, list[Result]]) -> list[str]:
    """What a board pays for what it saves."""
    against = f"codec / {OPPONENTS['dct-rdoq'].title}"
    columns = ("seeds", "PRDN integer", "packets' model", against)
    kinds = [f"{kind}, {core}" for core in BOARDS for kind in ("encoder", "search", "whole frame without packets")]
    lines = _head("codec", (*columns, *kinds, "flash", "state"))
    for name, rows in presets.items():
        preset, settings = split_name(name)
        found = [o for row in rows for o in row["evaluation"]["opponents"] if o["name"] == "dct-rdoq"]
        cells = []
        for core in BOARDS:
            costs = [row["boards"][core] for row in rows]
            for parts in (("encoder",), ("search",), ("normaliser", "encoder", "search")):
                mean = np.mean([sum(cost[part] for part in parts) for cost in costs])
                cells.append(f"{mean / 1e6:.3f} M")
        lines.append(
            _row(
                ", ".join((f"`{preset}`", *(f"`{setting}`" for setting in settings))),
                ", ".join(str(row["seed"]) for row in rows),
                _spread([row["evaluation"]["prdn"]["mean"] for row in rows], "%.3f %%"),
                _spread([row["evaluation"]["bits_per_frame"]["coded"] for row in rows], "%.1f"),
                _spread([o["bits_over_opponent"]["coded"] for o in found], "%.3f"),
                *cells,
                f"{np.mean([row['boards']['M4']['flash_bytes'] for row in rows]) / 1024:.1f} KiB",
                f"{np.mean([row['boards']['M4']['state_bytes'] for row in rows]):.0f} bytes",
            )
        )
    return lines


def _beat_table(presets: dict[str, list[Result]]) -> list[str]:
    """Beats of all frames, of each rhythm and of the person with the worst PRDN, of the first seed."""
    head = ("frames", "PRDN, median", "heart rate, bpm", "onset, ms", "RMSSD, ms", "its error, ms", "RMSSD usable")
    lines = _head("preset", ("of", *head))
    for name, rows in presets.items():
        evaluation = rows[0]["evaluation"]
        people = [group for group in evaluation["groups"] if group["by"] == "person"]
        worst = max(people, key=lambda group: group["prdn"]["mean"], default=None)
        everybody = {"by": "all", "name": "", "frames": evaluation["frames"], "prdn": evaluation["prdn"]}
        shown = [everybody | {"beats": evaluation["beats"]}, *([] if worst is None else [worst])]
        shown += [group for group in evaluation["groups"] if group["by"] == "rhythm"]
        for group in shown:
            beats = group["beats"]
            label = "worst person" if group is worst else f"{group['by']} {group['name']}".strip()
            lines.append(
                _row(
                    f"`{name}`",
                    label,
                    str(group["frames"]),
                    f"{group['prdn']['median']:.2f} %",
                    _figure(beats["heart_rate"]["mean_absolute_bpm"], "%.2f"),
                    _figure(beats["onset_error_ms"], "%.2f"),
                    _figure(beats["rmssd_ms"], "%.1f"),
                    _figure(beats["rmssd_error_ms"], "%.1f"),
                    {True: "yes", False: "no", None: "-"}[beats["rmssd_usable"]],
                )
            )
    return lines


def _head(first: str, others: tuple[str, ...]) -> list[str]:
    return [_row(first, *others), "| --- |" + " ---: |" * len(others)]


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _figure(value: float | None, form: str) -> str:
    return "-" if value is None else form % value


def _spread(values: list[float], form: str) -> str:
    """Mean, and least to most of several."""
    if not values:
        return "-"
    mean = form % float(np.mean(values))
    return mean if len(values) == 1 else f"{mean} ({form % min(values)} to {form % max(values)})"


def plot(rows: list[Result], path: Path) -> None:
    """PRDN over bits: presets and opponents at the presets' PRDN."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axis = figure.add_subplot()
    colors = ("#94a3b8", "#0369a1", "#15803d", "#7e22ce", "#111827")
    for (opponent, kind), color in zip(OPPONENTS.items(), colors, strict=True):
        points = sorted(
            (found["equal_prdn"]["bits_per_frame"], found["equal_prdn"]["prdn"])
            for row in rows
            for found in row["evaluation"]["opponents"]
            if found["name"] == opponent and found["equal_prdn"]
        )
        if points:
            axis.plot(*zip(*points, strict=True), "D", color=color, markersize=4, label=kind.title)
    # A preset's seeds lie side by side, and its name above them.
    highest = {row["preset"]: row for row in sorted(rows, key=lambda row: row["evaluation"]["prdn"]["mean"])}
    for row in rows:
        if split_name(row["preset"])[1]:
            continue
        bits, prdn = row["evaluation"]["bits_per_frame"], row["evaluation"]["prdn"]["mean"]
        first = row is rows[0]
        axis.plot(
            [bits["conditional"]], [prdn], "o", color="#ea8a5b", label="presets, tables, ideal" if first else None
        )
        if "coded" in bits:
            axis.plot([bits["coded"]], [prdn], "*", color="#7c2d12", label="presets, packets' model" if first else None)
        if row is highest[row["preset"]]:
            at = (bits["conditional"], prdn)
            axis.annotate(row["preset"], at, (0, 8), textcoords="offset points", ha="center", fontsize=8)
    axis.set_xlabel("bits per frame, side information not counted")
    axis.set_ylabel("PRDN in %, mean over frames")
    axis.set_ylim(0, 1.15 * max(row["evaluation"]["prdn"]["mean"] for row in rows))
    axis.margins(x=0.1)
    axis.grid(alpha=0.3)
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False, fontsize=9)
    figure.savefig(path, dpi=130, metadata={"Software": None})


def write_page(rows: list[Result], page: Path) -> None:
    """Put the tables in their place in ``page``."""
    head, begin, rest = page.read_text(encoding="utf-8").partition(_BEGIN)
    _, end, tail = rest.partition(_END)
    if not begin or not end:
        raise ValueError(f"{page}: expected {_BEGIN.strip()} and {_END.strip()}")
    page.write_text(f"{head}{begin}\n{tables(rows)}\n{end}{tail}", encoding="utf-8")


def main(arguments: list[str]) -> None:
    """Measure what is asked for, and write the results."""
    parser = argparse.ArgumentParser(prog="python -m tools.presets")
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("names", nargs="*", default=[])
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument("--activations", default="16")
    parser.add_argument("--fine-tune-steps", type=int, help="none by default: at 16 bits there is nothing to gain")
    parser.add_argument("--opponents", default=OPPONENT_NAMES)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    if not (options.out / "test.npz").exists():
        write_test_people(options.data, options.out / "test.npz")
    for name in options.names or PRESETS:
        for seed in map(int, options.seeds.split(",")):
            measure(name, seed, options)
    found = results(options.out)
    (options.out / "presets.json").write_text(_json(found), encoding="utf-8")
    if options.write:
        kept = DOCS / "presets.json"
        found = merged(json.loads(kept.read_text(encoding="utf-8")), found)
        kept.write_text(_json(found), encoding="utf-8")
        write_page(found, DOCS / "presets.md")
        plot(found, DOCS / "presets.png")
    print(tables(found))


if __name__ == "__main__":
    main(sys.argv[1:])
