"""A stand-in for the TensorFlow Lite Micro that a user brings, with the generated C behind its names."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from edgecodec.boards.schema import Board
from edgecodec.bundle import Bundle
from edgecodec.codec.graph import Op
from edgecodec.compile.library import OPTIMIZE_FLAGS, codec_files
from edgecodec.compile.plan import make_plan
from edgecodec.engines.tflm.library import TflmLibrary, TflmSource
from edgecodec.files.resources import firmware_dir
from edgecodec.firmware.project import plan_for

TREE = Path(__file__).resolve().parent
LIBRARY = "libtensorflow-microlite.a"
_CXX_FLAGS = ("-std=c++17", "-fno-exceptions", "-fno-rtti", "-fno-threadsafe-statics")


def build(
    bundle: Bundle, board: Board, folder: Path, *defines: str, start_bytes: int = 0, cpu: tuple[str, ...] = ()
) -> TflmSource:
    """Compile the stand-in for ``board`` into ``folder``, with macros of ``stand_in.cc`` and other ``cpu`` flags."""
    flags = [
        *(cpu or board.cpu.flags),
        OPTIMIZE_FLAGS["speed"],
        "-ffunction-sections",
        "-fdata-sections",
        f"-I{folder}",
        f"-I{TREE}",
    ]
    folder.mkdir(parents=True, exist_ok=True)
    files = codec_files(bundle, make_plan(bundle.codec, plan_for(bundle, board).target, []))
    for name, text in files.items():
        (folder / name).write_text(text)
    layers = ", ".join(
        f"{{{int(layer.op is Op.DEPTHWISE)}, {layer.output.width}, {layer.output.channels}}}"
        for layer in bundle.codec.graph.layers
    )
    _gcc(folder, *flags, f"-DSTAND_IN_LAYERS={layers}", "-c", TREE / "codec.c", "-o", "glue.o")
    sources = sorted(name for name in files if name.endswith(".c"))
    for name in sources:
        _gcc(folder, *flags, "-std=c11", "-c", name, "-o", f"{name}.o")
    # The firmware has functions of the same names.
    _run(folder, "arm-none-eabi-ld", "-r", "glue.o", *(f"{name}.o" for name in sources), "-o", "codec.o")
    _run(folder, "arm-none-eabi-objcopy", "--wildcard", "--keep-global-symbol=stand_in_*", "codec.o")
    sizes = {"START": start_bytes, "ACTIVATION": bundle.codec.numerics.activation.itemsize}
    macros = [f"-D{each}" for each in (*defines, *(f"STAND_IN_{name}_BYTES={size}" for name, size in sizes.items()))]
    _gcc(folder, *flags, *_CXX_FLAGS, *macros, "-c", TREE / "stand_in.cc", "-o", "interpreter.o")
    memory = firmware_dir() / "port" / "cortex_m" / "memory.c"
    _gcc(folder, *flags, "-ffreestanding", "-fno-tree-loop-distribute-patterns", "-c", memory, "-o", "memory.o")
    (folder / LIBRARY).unlink(missing_ok=True)
    _run(folder, "arm-none-eabi-ar", "rcs", LIBRARY, "interpreter.o", "codec.o", "memory.o")
    return TflmSource(TREE, folder / LIBRARY)


def without_c_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """Link firmware without newlib, which the stand-in does not need and a machine may lack."""
    arguments = TflmLibrary.cmake_arguments.fget
    assert arguments is not None
    monkeypatch.setattr(
        TflmLibrary, "cmake_arguments", property(lambda self: (*arguments(self), "-DEDC_C_LIBRARY=-nostdlib"))
    )


def _gcc(folder: Path, *arguments: str | Path) -> None:
    _run(folder, "arm-none-eabi-gcc", *arguments)


def _run(folder: Path, *command: str | Path) -> None:
    subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
