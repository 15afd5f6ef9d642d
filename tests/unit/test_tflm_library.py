"""Static libraries byte by byte, and which core runs whose code."""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path

import pytest

from edgecodec.engines.tflm.archive import ArmAttributes, arm_attributes, read_archive, undefined_symbols
from edgecodec.engines.tflm.library import runs_on
from edgecodec.errors import InputError


def member(name: bytes, data: bytes) -> bytes:
    """As ``ar`` writes it: name 16, date 12, owner 6, group 6, mode 8, size 10, two bytes of end; even."""
    header = name.ljust(16) + b"0".ljust(12) + b"0".ljust(6) + b"0".ljust(6) + b"644".ljust(8)
    return header + str(len(data)).encode().ljust(10) + b"`\n" + data + b"\n" * (len(data) % 2)


def archive(symbols: dict[bytes, int], *members: tuple[bytes, bytes], names: bytes = b"") -> bytes:
    """An archive whose symbol table says that the n-th member defines a name."""
    long_names = member(b"//", names) if names else b""
    table_bytes = 4 + 4 * len(symbols) + sum(len(name) + 1 for name in symbols)
    at = 8 + 60 + table_bytes + table_bytes % 2 + len(long_names)
    offsets, body = [], b""
    for name, data in members:
        offsets.append(at + len(body))
        body += member(name, data)
    table = struct.pack(f">I{len(symbols)}I", len(symbols), *(offsets[index] for index in symbols.values()))
    table += b"".join(name + b"\0" for name in symbols)
    return b"!<arch>\n" + member(b"/", table) + long_names + body


@pytest.fixture
def library(tmp_path: Path) -> Path:
    path = tmp_path / "lib.a"
    path.write_bytes(
        archive(
            {b"first": 0, b"second": 1, b"also_first": 0},
            (b"one.o/", b"odd"),
            (b"/6", b"even"),
            names=b"two.o\nlong_name_of_an_object.o/\n",
        )
    )
    return path


def test_members_and_symbols(library: Path) -> None:
    found = read_archive(library)
    assert [(each.name, each.data) for each in found.members.values()] == [
        ("one.o", b"odd"),
        ("long_name_of_an_object.o", b"even"),
    ]
    names = {symbol: each.name for symbol in found.symbols if (each := found.member_of(symbol)) is not None}
    assert names == {"first": "one.o", "second": "long_name_of_an_object.o", "also_first": "one.o"}
    assert found.member_of("third") is None


def test_cut_anywhere_is_damaged(library: Path) -> None:
    whole = library.read_bytes()
    for end in range(9, len(whole)):
        library.write_bytes(whole[:end])
        with pytest.raises(InputError, match=r"damaged archive|has no symbol table"):
            read_archive(library)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not a static library"),
        (b"\x7fELF", "not a static library"),
        (b"!<thin>\n", "a thin archive, which holds no code; make a whole one with `ar rcs`"),
        (b"!<arch>\n", "has no symbol table; make one with `arm-none-eabi-ranlib`"),
        (b"!<arch>\n" + member(b"/", b"\0\0\1\0"), "its symbol table is cut short"),
        (b"!<arch>\n" + member(b"/", b"\0"), "its symbol table is cut short"),
        (b"!<arch>\n" + b"x" * 60, "damaged archive (at byte 8 of 68)"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "lib.a"
    path.write_bytes(data)
    with pytest.raises(InputError) as caught:
        read_archive(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)


def test_what_is_no_object_has_no_attributes(library: Path) -> None:
    for each in read_archive(library).members.values():
        assert arm_attributes(each.data) is None
        assert undefined_symbols(each) == frozenset()
    assert arm_attributes(b"\x7fELF\1\1\1" + b"\0" * 100) is None


# Tag_CPU_arch: 12 Armv6S-M, 10 Armv7-M, 13 Armv7E-M, 16 and 17 Armv8-M, 21 Armv8.1-M (Arm IHI 0045).
M0 = ArmAttributes(12, 0, 0, False, 0, 1, False)
M3 = ArmAttributes(10, 0, 0, False, 0, 1, False)
M4 = ArmAttributes(13, 0, 0, False, 0, 1, False)
M4F = ArmAttributes(13, 6, 1, True, 0, 1, False)
M7D = ArmAttributes(13, 8, 0, True, 0, 1, False)
M23 = ArmAttributes(16, 0, 0, False, 0, 1, False)
M33 = ArmAttributes(17, 0, 0, False, 0, 1, False)
M33F = ArmAttributes(17, 8, 1, True, 0, 1, True)
M55 = ArmAttributes(21, 8, 0, True, 2, 1, True)
M55_WITHOUT_VECTORS = replace(M55, vectors=0)


@pytest.mark.parametrize("core", [M0, M3, M4, M4F, M7D, M23, M33, M33F, M55])
def test_a_core_runs_its_own_code(core: ArmAttributes) -> None:
    assert runs_on(core, core) is None
    assert runs_on(replace(core, enums=0), core) is None


@pytest.mark.parametrize(
    ("code", "core"),
    [(M0, M3), (M0, M4), (M0, M23), (M3, M4), (M3, M33), (M4F, M7D), (M4F, M33F), (M4F, M55), (M33F, M55)],
)
def test_a_core_runs_a_smaller_ones_code(code: ArmAttributes, core: ArmAttributes) -> None:
    assert runs_on(code, core) is None
    assert runs_on(core, code) is not None


@pytest.mark.parametrize(
    ("code", "core", "reason"),
    [
        (M4, M3, "Armv7E-M, which the core does not run"),
        (M4, M33, "Armv7E-M, which the core does not run"),  # without the DSP extension
        (M3, M23, "Armv7-M, which the core does not run"),
        (replace(M0, architecture=99), M4, "Arm architecture 99, which"),
        (M4F, M4, "passes floats in FPU registers (hard), the board's firmware in core registers (soft)"),
        (M4, M4F, "passes floats in core registers (soft), the board's firmware in FPU registers (hard)"),
        (replace(M4F, fp=8), M4F, "floating-point instructions that the core lacks"),
        (replace(M4F, fp_use=0), M4F, "double-precision instructions"),
        (replace(M4, enums=2), M4, "enumerations take four bytes, the firmware's as few bytes as they need"),
        (M55, M55_WITHOUT_VECTORS, "M-profile Vector Extension (MVE), which the core lacks"),
    ],
)
def test_why_a_core_does_not_run_code(code: ArmAttributes, core: ArmAttributes, reason: str) -> None:
    found = runs_on(code, core)
    assert found is not None
    assert reason in found
