"""The one reader of ``.npz`` and ``.npy``: damaged and hostile files end in one InputError, within bounded memory."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import textwrap
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgecodec.errors import InputError
from edgecodec.files import limits
from edgecodec.files.npz import budget_bytes, read_npy, read_npz
from tests.damaged_arrays import damaged_files, read_all

FEW = 400


def member(header: str, data: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
    text = header.encode("latin1")
    return b"\x93NUMPY" + version + struct.pack("<H" if version[0] == 1 else "<I", len(text)) + text + data


def described(shape: str, descr: str = "'<f4'", data: bytes = b"") -> bytes:
    return member(f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n", data)


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def encrypted() -> bytes:
    data = bytearray(zipped({"a.npy": described("(1,)", data=bytes(4))}))
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    return bytes(data)


HOSTILE: dict[str, Callable[[], bytes]] = {
    "array as large as memory": lambda: zipped({"a.npy": described("(1099511627776,)", data=bytes(64))}),
    "product that wraps 64 bits": lambda: zipped({"a.npy": described(f"({1 << 33}, {1 << 33})")}),
    "texts of a gigabyte": lambda: zipped({"a.npy": described("(1,)", "'<U268435456'")}),
    "texts of nothing": lambda: zipped({"a.npy": described("(1099511627776,)", "'<U0'")}),
    "no bytes of many": lambda: zipped({"a.npy": described("(0, 99999999999999999999999)")}),
    "objects": lambda: zipped({"a.npy": described("(1,)", "'|O'", b"\x80\x04N.")}),
    "records": lambda: zipped({"a.npy": described("(1,)", "[('a', '<f4')]", bytes(4))}),
    "arrays of arrays": lambda: zipped({"a.npy": described("(1,)", "'(1000,1000)<f4'", bytes(4))}),
    "truth for a size": lambda: zipped({"a.npy": described("(True,)", data=bytes(4))}),
    "less than none": lambda: zipped({"a.npy": described("(-1, -1)", data=bytes(4))}),
    "brackets": lambda: zipped({"a.npy": member("(" * 900)}),
    "signs": lambda: zipped({"a.npy": member("-" * 1000 + "1")}),
    "a header that does not end": lambda: zipped({"a.npy": member("{'descr': '''")}),
    "a header of gigabytes": lambda: zipped(
        {"a.npy": b"\x93NUMPY\x02\x00" + struct.pack("<I", 0xFFFFFFFF) + bytes(99)}
    ),
    "version 3": lambda: zipped({"a.npy": member("{}", version=b"\x03\x00")}),
    "seventy axes": lambda: zipped({"a.npy": described(f"({'1, ' * 70})", data=bytes(4))}),
    "more behind it": lambda: zipped({"a.npy": described("(1,)", data=bytes(5))}),
    "bzip2": lambda: zipped({"a.npy": described("(1,)", data=bytes(4))}, zipfile.ZIP_BZIP2),
    "LZMA": lambda: zipped({"a.npy": described("(1,)", data=bytes(4))}, zipfile.ZIP_LZMA),
    "a password": encrypted,
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_archive_is_one_error(kind: str) -> None:
    with pytest.raises(InputError, match=r"^it: not a readable \.npz of things \(") as caught:
        read_npz(HOSTILE[kind](), "it", "things", limits.CODEBOOKS)
    assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_name_twice() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for value in range(2):
            archive.writestr("a.npy", described("(1,)", data=bytes([value] * 4)))
    with pytest.raises(InputError, match="a is in it twice"):
        read_npz(buffer.getvalue(), "it", "things", limits.CODEBOOKS)


def test_long_list_of_members_is_not_read() -> None:
    data = zipped({f"{number:0200}": b"" for number in range(5000)})
    with pytest.raises(InputError, match="list of members is too long"):
        read_npz(data, "it", "things", limits.CODEBOOKS)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["<i2", ">i2", "<f4", "|u1", "|b1", "<c8", "<U3", "|S2"])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_reads_what_numpy_writes(save: Callable[..., None], dtype: str, order: str, tmp_path: Path) -> None:
    array = np.array(np.arange(24).reshape(2, 3, 4).astype(dtype), order="F" if order == "F" else "C")
    save(tmp_path / "a.npz", one=array, two=np.array(7), three=np.empty((0, 4)))
    found = read_npz(tmp_path / "a.npz", "it", "things", limits.CODEBOOKS)
    assert list(found) == ["one", "two", "three"]
    assert found["one"].dtype == array.dtype
    np.testing.assert_array_equal(found["one"], array)
    assert found["two"] == 7
    assert found["three"].shape == (0, 4)
    np.save(tmp_path / "a.npy", array)
    np.testing.assert_array_equal(read_npy(tmp_path / "a.npy", "it", "things", limits.CODEBOOKS), array)


def test_damaged_files_are_errors_of_one_line() -> None:
    for data in damaged_files(seed=1, count=FEW):
        read_all(data)


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in KiB on Linux alone")
def test_bomb_takes_bounded_memory(tmp_path: Path) -> None:
    """A file of a megabyte that unpacks to 250: no reader takes it, nor that much memory to say so."""
    path = tmp_path / "bomb.npz"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("frames.npy", "w", force_zip64=True) as entry,
    ):
        entry.write(described("(250000, 500)", "'<i2'"))
        for _ in range(25):
            entry.write(bytes(10_000_000))
    size = path.stat().st_size
    assert size < 2 << 20
    script = textwrap.dedent(f"""
        import resource, sys
        from pathlib import Path
        from edgecodec.bundle import _load_npz
        from edgecodec.decoding.index_file import load_indices
        from edgecodec.errors import BundleError, InputError
        from edgecodec.quantization.codebooks import load_codebooks
        from edgecodec.signal.reader import read_counts
        path = Path({str(path)!r})
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for read in (lambda: read_counts(path, None), lambda: load_codebooks(path), lambda: load_indices(path),
                     lambda: _load_npz(path.read_bytes(), "frames.npz")):
            try:
                read()
            except (InputError, BundleError) as error:
                print(error, file=sys.stderr)
        print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10)
    """)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr.count("takes 1,000,000,000 bytes of memory") == 4, done.stderr
    assert int(done.stdout) < budget_bytes(size) >> 20
