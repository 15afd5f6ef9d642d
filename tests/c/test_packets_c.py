"""The C of packets, generated and hand-written, under sanitizers and under strict warnings of every compiler."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from edgecodec.compile.render import packet_files
from edgecodec.entropy.packet import PacketFormat
from edgecodec.host.extension import STRICT_FLAGS
from edgecodec.host.packets import CLIPPED, GAP, PacketShim
from tests.packets import SIDE, frames, network, packet_format, tables
from tests.tools import lack, require

SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer", "-g", "-O1")
MAIN = Path(__file__).with_name("packet_main.c")


def formats() -> dict[str, PacketFormat]:
    sizes = (256, 60)
    return {
        "plain": packet_format(1, None, 20, sizes),
        "tables": packet_format(2, tables(3, 20, sizes), 20, sizes),
        "network": packet_format(3, network(4, sizes, 12, 8, 3), 20, sizes),
        "saturating": packet_format(4, network(5, (1, 256, 3), gain=6), 9, (1, 256, 3), None),
    }


@pytest.mark.parametrize("kind", ["plain", "tables", "network", "saturating"])
def test_clean_under_sanitizers_and_equal_to_the_reference(kind: str, tmp_path: Path) -> None:
    require("gcc")
    packets = formats()[kind]
    for name, text in packet_files(packets).items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    shutil.copy(MAIN, tmp_path)
    sources = sorted(path.name for path in tmp_path.glob("*.c"))
    command = ["gcc", *STRICT_FLAGS, *SANITIZERS, *sources, "-o", "packets"]
    built = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    if "asan" in built.stderr and built.returncode:
        lack("gcc has no AddressSanitizer library (libasan)")
    assert built.returncode == 0, built.stderr
    given = frames(5, 14, packets.positions, tuple(packets.codebook_sizes), packets.model)
    content = b"".join(
        frame.astype("<u2").tobytes() + np.array([offset, 0], "<i4").tobytes() + np.array([spread], "<u8").tobytes()
        for frame, offset, spread in zip(given.indices, given.offsets, given.spreads, strict=True)
    )
    (tmp_path / "frames.raw").write_bytes(content)
    done = subprocess.run(
        ["./packets", "frames.raw", "packets.raw"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    written, at = (tmp_path / "packets.raw").read_bytes(), 0
    for number, frame in enumerate(given.indices):
        size = int.from_bytes(written[at : at + 4], "little")
        expected = packets.encode(frame, given.offsets[number], given.spreads[number], number)
        assert written[at + 4 : at + 4 + size] == expected
        at += 4 + size
    assert at == len(written)


@pytest.mark.parametrize("compiler", ["gcc", "clang", "arm-none-eabi-gcc"])
@pytest.mark.parametrize("kind", ["plain", "tables", "network"])
def test_no_warnings(kind: str, compiler: str, tmp_path: Path) -> None:
    require(compiler)
    for name, text in packet_files(formats()[kind]).items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    cores = ["cortex-m0", "cortex-m4", "cortex-m55"] if compiler.startswith("arm") else [None]
    for core in cores:
        target = ["-ffreestanding"] if core is None else [f"-mcpu={core}", "-mthumb", "-ffreestanding"]
        for level in ("-O0", "-Os", "-O3"):
            sources = sorted(path.name for path in tmp_path.glob("*.c"))
            command = [compiler, *STRICT_FLAGS, *target, level, "-c", *sources]
            done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
            assert (done.returncode, done.stderr) == (0, ""), command


@pytest.mark.parametrize("kind", ["plain", "tables", "network"])
def test_shim_equals_the_reference(kind: str) -> None:
    require("cc", "Python.h")
    packets = formats()[kind]
    given = frames(6, 10, packets.positions, tuple(packets.codebook_sizes), packets.model)
    written = PacketShim(packets).encode(given.indices, given.offsets, given.spreads, 250, CLIPPED | GAP)
    assert written == [
        packets.encode(frame, offset, spread, 250 + number, clipped=True, gap=True)
        for number, (frame, offset, spread) in enumerate(zip(given.indices, given.offsets, given.spreads, strict=True))
    ]
    assert packets.side is SIDE
