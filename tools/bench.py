"""``make bench``: what a frame costs, side by side on every emulated core, and on this machine.

Ours at each ``--optimize``, our portable C, and CMSIS-NN v4.0.0 (the C sources inside the installed package
``bakenn``, none of which are kept here) on the same layers, all timed by the same firmware timer over the same
protocol, and every latent compared with the numpy reference. Writes ``docs/bench.md`` and ``docs/bench.png``.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgecodec.boards.load import load_board
from edgecodec.boards.schema import Board
from edgecodec.bundle import Bundle
from edgecodec.codec.reference import ReferenceExecutor, normalize, quantize_latent
from edgecodec.codec.stages import Stages
from edgecodec.device.emulator import Emulator
from edgecodec.engines.cmsis_nn.engine import CmsisNnEngine
from edgecodec.firmware.build import build_firmware
from edgecodec.firmware.project import FirmwareProject, make_project, plan_for
from edgecodec.firmware.report import Firmware
from edgecodec.link.client import BoardExecutor
from edgecodec.link.costs import LayerCosts

ROOT = Path(__file__).resolve().parent.parent
BOARDS = ("microbit", "mps2-an385", "mps2-an386", "mps2-an500", "mps2-an505", "mps3-an547")
OURS = ("speed", "balanced", "flash")
PORTABLE, CMSIS = "portable", "CMSIS-NN"
VARIANTS = (*OURS, PORTABLE, CMSIS)
RECORDED = {
    # Whole Invoke of TensorFlow Lite Micro, release build: reference kernels, CMSIS-NN.
    "cortex-m0": (14.38, None),
    "cortex-m3": (None, 3.139),
    "cortex-m4": (8.995, 2.204),
    "cortex-m7": (9.046, 2.201),
    "cortex-m33": (None, 2.203),
    "cortex-m55": (8.336, 0.390),
}
"""Millions of instructions, measured once on random weights of the shape of the preset 08x; not run here."""
PORTABLE_CORE = "cortex-m0"
"""The least of cores: its plan runs on all of them."""


@dataclass(frozen=True)
class Run:
    """One firmware on one board."""

    board: Board
    variant: str
    firmware: Firmware
    costs: LayerCosts
    wrong: int
    """Latents that differ from the reference's."""

    @property
    def encoder(self) -> float:
        return sum(self.costs.layers)


def variant_project(bundle: Bundle, board: Board, variant: str) -> FirmwareProject:
    """The project of a variant. The compiler's flags stay those of the board, whatever the kernels are for."""
    if variant in OURS:
        return make_project(bundle, board, optimize=variant)
    if variant == CMSIS:
        return make_project(bundle, board, engine=CmsisNnEngine(vectors=board.core == "cortex-m55"))
    return make_project(bundle, board, plan=plan_for(bundle, board.model_copy(update={"core": PORTABLE_CORE})))


def run(bundle: Bundle, board: Board, variant: str, frames: np.ndarray, expected: Stages) -> Run:
    with tempfile.TemporaryDirectory() as name:
        firmware = build_firmware(variant_project(bundle, board, variant), Path(name) / "firmware")
        with Emulator(board, firmware.elf) as emulator, BoardExecutor(bundle, emulator.url) as device:
            found = device.stages(frames, want=("latent", "layers"))
            costs = device.layer_costs
    assert costs is not None
    assert found.latent is not None
    assert expected.latent is not None
    return Run(board, variant, firmware, costs, int((found.latent != expected.latent).sum()))


def best_seconds(call: Callable[[], object], repeats: int = 7) -> float:
    def seconds() -> float:
        start = time.perf_counter()
        call()
        return time.perf_counter() - start

    return min(seconds() for _ in range(repeats))


def host_rows(bundle: Bundle, frames: np.ndarray) -> list[tuple[str, float]]:
    """Microseconds a frame on one thread of this machine: the best of several runs, each over all frames."""
    from ai_edge_litert.interpreter import Interpreter

    from edgecodec.host.batch import BatchEncoder
    from edgecodec.host.shim import HostShim

    batch, shim = BatchEncoder(bundle.codec), HostShim(bundle)
    stages = shim.stages(frames)
    inputs, latents = stages.input, stages.latent
    assert inputs is not None
    assert latents is not None
    interpreter = Interpreter(model_content=(bundle.path / "encoder.tflite").read_bytes(), num_threads=1)
    interpreter.allocate_tensors()
    source, target = interpreter.get_input_details()[0], interpreter.get_output_details()[0]["index"]
    shaped = inputs.reshape(len(inputs), *source["shape"])

    def frame_by_frame() -> None:
        for row in shaped:
            interpreter.set_tensor(source["index"], row)
            interpreter.invoke()
            interpreter.get_tensor(target)

    def with_numpy() -> None:
        normalize(bundle.codec.normalizer, frames)
        frame_by_frame()
        quantize_latent(bundle.codec.rvq, latents)

    calls: dict[str, Callable[[], object]] = {
        "TFLite's default interpreter (XNNPACK), frame by frame: encoder alone": frame_by_frame,
        "the same, with normaliser and codebook search of the batch in numpy": with_numpy,
        f"ours, a batch on {batch.lanes} lanes: normaliser, encoder, codebook search": lambda: batch.encode(frames),
        "ours, the firmware's C: normaliser, encoder, codebook search": lambda: shim.stages(frames),
    }
    return [(name, best_seconds(call) / len(frames) * 1e6) for name, call in calls.items()]


def millions(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def core_name(core: str) -> str:
    return core.replace("cortex-m", "Cortex-M")


def encoder_table(runs: list[Run], boards: list[Board]) -> str:
    by = {(each.board.name, each.variant): each for each in runs}
    rows = []
    for board in boards:
        reference, cmsis = (None if value is None else value for value in RECORDED[board.core])
        cells = [f"{by[board.name, variant].encoder / 1e6:.3f}" for variant in VARIANTS]
        faster = by[board.name, CMSIS].encoder / by[board.name, "speed"].encoder
        rows.append([core_name(board.core), *cells, f"{faster:.2f}", millions(cmsis), millions(reference)])
    header = ["core", *VARIANTS, "CMSIS-NN / speed", "*TFLM, CMSIS-NN*", "*TFLM, reference*"]
    return table(header, rows)


def whole_table(runs: list[Run]) -> str:
    rows = [
        [
            core_name(each.board.core),
            each.variant,
            millions(each.costs.normalize / 1e6),
            millions(each.encoder / 1e6),
            millions(each.costs.rvq / 1e6),
            f"{each.firmware.report.flash_bytes:,}",
            f"{each.firmware.report.ram_bytes:,}",
            f"{each.wrong:,}",
        ]
        for each in runs
    ]
    header = ["core", "encoder's kernels", "normaliser", "encoder", "search", "flash", "RAM", "wrong latents"]
    return table(header, rows)


def layer_table(runs: list[Run], bundle: Bundle, board: Board) -> str:
    by = {each.variant: each for each in runs if each.board.name == board.name}
    rows = [
        [
            layer.name,
            f"{layer.macs:,}",
            *(f"{by[variant].costs.layers[index] / layer.macs:.2f}" for variant in VARIANTS),
        ]
        for index, layer in enumerate(bundle.codec.graph.layers)
    ]
    return f"### {core_name(board.core)}\n\n" + table(["layer", "MAC", *VARIANTS], rows)


def write_chart(runs: list[Run], boards: list[Board], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(9, 4))
    width = 0.8 / len(VARIANTS)
    for index, variant in enumerate(VARIANTS):
        costs = [
            each.encoder / 1e6 for board in boards for each in runs if (each.board, each.variant) == (board, variant)
        ]
        axes.bar(np.arange(len(boards)) + (index - (len(VARIANTS) - 1) / 2) * width, costs, width, label=variant)
    axes.set_xticks(range(len(boards)), [core_name(board.core) for board in boards])
    axes.set_yscale("log")
    axes.set_ylim(0.1, 20)
    axes.set_yticks([0.1, 0.3, 1, 3, 10], ["0.1", "0.3", "1", "3", "10"])
    axes.set_yticks([], minor=True)
    axes.set_ylabel("million instructions a frame")
    axes.set_title("Encoder, QEMU's count")
    axes.legend(ncols=len(VARIANTS), fontsize="small")
    axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(path, dpi=110, metadata={"Software": None})


def document(bundle: Bundle, runs: list[Run], boards: list[Board], frames: int, host: list[tuple[str, float]]) -> str:
    graph, sizes = bundle.codec.graph, bundle.codec.rvq.codebook_sizes
    shape = (
        f"T {bundle.codec.samples}, P {bundle.codec.positions}, D {bundle.codec.rvq.dimension}, codebooks {list(sizes)}"
    )
    layers = "\n".join(layer_table(runs, bundle, board) for board in boards)
    times = table(
        ["", "microseconds a frame", "against the first", "against the second"],
        [[name, f"{value:.2f}", f"{host[0][1] / value:.2f}", f"{host[1][1] / value:.2f}"] for name, value in host],
    )
    return f"""# What a frame costs

Written by `make bench`. Codec: {shape},
{graph.macs:,} MAC in the encoder; means of {frames} frames. Instructions as QEMU counts them: it knows no wait
states, caches or dual issue.

`speed`, `balanced` and `flash` are ours by `--optimize`; `portable` is what we generate for a core
with neither a 64-bit multiplication nor vectors; `CMSIS-NN` is v4.0.0 (C sources of the package `bakenn`, `-O3`)
called layer by layer in the same firmware by `arm_convolve_wrapper_s8` and `arm_depthwise_conv_wrapper_s8`, with our
normaliser and codebook search around it.
All are timed by the firmware's own timer, and their latents are compared with the reference's.

## Encoder, million instructions a frame

![Encoder](bench.png)

{encoder_table(runs, boards)}
*TFLM*: recorded, not run here: a release build's whole Invoke on random weights of the shape of the preset 08x.

## Everything

{whole_table(runs)}
*Wrong latents*: of {frames * bundle.codec.graph.latent.size_bytes:,}, how many differ from the reference's.

## Layers, instructions a MAC

{layers}
## This machine

One thread, the best of several runs; the last two columns say how many times as fast, on whatever CPU it was.

{times}"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path, help="a bundle with frames, as `make demo` makes")
    parser.add_argument("--host", action="store_true", help="only measure this machine, and print")
    parser.add_argument("--frames", type=int, default=4, help="how many a board runs")
    parser.add_argument("--output", type=Path, default=ROOT / "docs", help="folder for bench.md and bench.png")
    options = parser.parse_args()
    bundle = Bundle.load(options.bundle)
    frames = bundle.frames()
    if frames is None:
        parser.error(f"{options.bundle} ships no frames")
    if options.host:
        for name, value in host_rows(bundle, np.resize(frames, (512, bundle.codec.samples))):
            print(f"{value:10.2f} us  {name}")
        return
    expected = ReferenceExecutor(bundle.codec).stages(frames[: options.frames])
    boards = [load_board(name) for name in BOARDS]
    runs = []
    for board in boards:
        for variant in VARIANTS:
            runs.append(run(bundle, board, variant, frames[: options.frames], expected))
            each = runs[-1]
            print(f"{board.name:12} {variant:9} {each.encoder:14,.0f} {each.wrong:6,} wrong", file=sys.stderr)
    host = host_rows(bundle, np.resize(frames, (512, bundle.codec.samples)))
    for name, value in host:
        print(f"{value:10.2f} us  {name}", file=sys.stderr)
    write_chart(runs, boards, options.output / "bench.png")
    text = document(bundle, runs, boards, options.frames, host)
    (options.output / "bench.md").write_text(text, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
