"""Damaged ``.npz`` and ``.npy`` files by seed, given to every reader of such files.

``python -m tests.damaged_arrays 50000`` reads so many and says how many ended as no error should.
"""

from __future__ import annotations

import io
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from edgecodec.bundle import _load_npz
from edgecodec.decoding.index_file import load_indices
from edgecodec.entropy.packet_file import PacketConstants
from edgecodec.errors import EdgecodecError
from edgecodec.quantization.codebooks import load_codebooks
from edgecodec.signal.reader import read_counts

_EDGES = (0, 1, 0x7F, 0x80, 0xFF, ord("("), ord("'"), ord("\\"), ord("9"))


def _sound() -> list[tuple[str, bytes]]:
    """Files of every kind that is read, by suffix."""
    rng = np.random.default_rng(0)
    adc = np.cumsum(rng.integers(-9, 10, (3, 300)), axis=1).astype(np.int16)
    contents = [
        {"frames": adc, "rate_hz": np.array(64.0), "subject": np.array(["a", "b", "c"])},
        {f"level_{level}": rng.normal(size=(8, 4)).astype(np.float32) for level in range(2)},
        {
            "indices": rng.integers(0, 9, (4, 5, 2)).astype(np.uint16),
            "offset": np.arange(4, dtype=np.int32),
            "spread": np.arange(1, 5).astype(np.uint64),
            "digest": np.array("0" * 64),
        },
        {"side": np.array([64, 5, 5, 7, 9, 2, 1], np.int32)},
    ]
    files = []
    for arrays in contents:
        for save in (np.savez, np.savez_compressed):
            buffer = io.BytesIO()
            save(buffer, allow_pickle=False, **arrays)  # type: ignore[arg-type]  # one of two functions
            files.append((".npz", buffer.getvalue()))
    for array in (adc, np.asfortranarray(adc, ">i2"), rng.normal(size=(2, 8, 4))):
        buffer = io.BytesIO()
        np.save(buffer, array)
        files.append((".npy", buffer.getvalue()))
    return files


def damaged_files(seed: int, count: int) -> Iterator[tuple[str, bytes]]:
    """``count`` files, suffix and bytes: sound ones with bytes changed, cut, repeated or put in, mostly in headers."""
    rng = np.random.default_rng(seed)
    sound = _sound()
    for _ in range(count):
        suffix, whole = sound[rng.integers(len(sound))]
        data = bytearray(whole)
        # Headers of members, the list of them and its end are where parsers are.
        heads = [0, *(at for at in range(len(whole)) if whole[at : at + 2] in (b"PK", b"\x93N"))]
        for _ in range(int(rng.integers(1, 4))):
            near = (
                int(rng.choice(heads)) + int(rng.integers(130)) if rng.random() < 0.7 else int(rng.integers(len(data)))
            )
            at = min(near, len(data) - 1)
            match int(rng.integers(6)):
                case 0:
                    data[at] ^= 1 << int(rng.integers(8))
                case 1:
                    data[at] = int(rng.choice(_EDGES))
                case 2:
                    data[at : at + 4] = rng.bytes(4)
                case 3:
                    data[at:at] = data[at : at + int(rng.integers(1, 40))]
                case 4:
                    del data[at : at + int(rng.integers(1, 40))]
                case _:
                    del data[max(at, 1) :]
            if not data:
                data = bytearray(b"x")
        yield suffix, bytes(data)


def read_all(file: tuple[str, bytes], folder: Path | None = None) -> Counter[str]:
    """Give a file to every reader; count how each ended. Raises what no reader may raise."""
    suffix, data = file
    ends: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(dir=folder) as made:
        path = Path(made) / f"file{suffix}"
        path.write_bytes(data)
        readers: list[Callable[[], object]] = [
            lambda: read_counts(path, None),
            lambda: load_codebooks(path),
            lambda: load_indices(path),
            lambda: PacketConstants.from_npz(data),
            lambda: _load_npz(data, "frames.npz"),
        ]
        for read in readers:
            try:
                read()
                ends["read"] += 1
            except EdgecodecError as error:
                if "\n" in str(error):
                    raise AssertionError(f"an error of several lines: {error}") from error
                ends["refused"] += 1
    return ends


def main(count: int, seed: int = 14) -> int:
    """Read ``count`` files; print what came of it."""
    ends: Counter[str] = Counter()
    for file in damaged_files(seed, count):
        try:
            ends += read_all(file)
        except Exception as error:
            ends[f"INTERNAL {type(error).__name__}: {error}"[:120]] += 1
    for end, found in ends.most_common():
        print(f"{found:8} {end}")
    return int(any(end.startswith("INTERNAL") for end in ends))


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
