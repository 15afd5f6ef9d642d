"""What is no file of codebooks ends in an InputError or QuantizationError that names it, whatever it is."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgecodec.errors import InputError, QuantizationError
from edgecodec.quantization.codebooks import check_codebooks, open_codebooks

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")
"""The message comes alone: numpy must not warn beside it."""
GOOD = np.random.default_rng(0).normal(0, 1, (6, 4))
HUGE = GOOD.copy()
HUGE[3, 2] = -1e300


def _npz(**arrays: Any) -> bytes:
    made = io.BytesIO()
    np.savez(made, **arrays)
    return made.getvalue()


def _npy(array: Any) -> bytes:
    made = io.BytesIO()
    np.save(made, array)
    return made.getvalue()


def _zip(**members: bytes) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return made.getvalue()


ARRAYS: dict[str, Any] = {
    "text": np.array([["a", "b"]]),
    "bytes": np.array([[b"a", b"b"]]),
    "objects": np.array([[1, None]], object),
    "dates": np.zeros((2, 4), "datetime64[s]"),
    "durations": np.zeros((2, 4), "timedelta64[s]"),
    "records": np.zeros((2, 4), [("x", "f4")]),
    "booleans": GOOD > 0,
    "complex": GOOD.astype(complex),
    "scalar": np.array(1.0),
    "vector": GOOD[0],
    "four axes": GOOD[None, None],
    "no rows": GOOD[:0],
    "no columns": GOOD[:, :0],
    "no levels": np.zeros((0, 6, 4)),
    "too many codes": np.zeros((65537, 4)),
    "another length": GOOD[:, :3],
    "NaN": np.where(np.eye(6, 4) > 0, np.nan, GOOD),
    "infinity": np.where(np.eye(6, 4) > 0, -np.inf, GOOD),
    "1e300": HUGE,
    "float32 at its end": np.full((6, 4), np.finfo(np.float32).max) * np.eye(6, 4, dtype=np.float32),
    "all equal": np.ones((6, 4)),
    "zeros": np.zeros((6, 4)),
    "integer zeros": np.zeros((6, 4), np.int8),
}
KEYS: dict[str, dict[str, Any]] = {
    "nothing": {},
    "a gap": {"level_0": GOOD, "level_2": GOOD[::-1]},
    "from 2": {"level_2": GOOD, "level_3": GOOD[::-1]},
    "level_1 alone": {"level_1": GOOD},
    "two names": {"one": GOOD, "two": GOOD[::-1]},
    "two kinds": {"codebook_0": GOOD, "embedding_0": GOOD[::-1]},
    "two numberings": {"a0": GOOD, "b0": GOOD[::-1]},
    "other D": {"level_0": GOOD, "level_1": GOOD[:, :3]},
    "a vector between": {"level_0": GOOD, "level_1": GOOD[0], "level_2": GOOD[::-1]},
    "counts that fit nothing": {
        "level_0": GOOD,
        "level_1": np.arange(1.0, 7.0),
        "level_2": np.random.default_rng(1).normal(0, 1, (6, 4)),
    },
    "1e300 in the second level": {"level_0": GOOD, "level_1": HUGE},
    "1e300 beside counts": {"level_0": GOOD, "level_1": np.full(6, 1e300), "level_2": HUGE},
    "NaN in both": {"level_0": GOOD * np.nan, "level_1": GOOD * np.nan},
    "infinity in both": {"level_0": GOOD * np.inf, "level_1": GOOD * np.inf},
    "averages of one level alone": {"level_0": GOOD, "level_1": GOOD * 2, "level_2": GOOD[::-1] + 1},
}
BYTES: dict[str, bytes] = {
    "empty.npz": b"",
    "empty.npy": b"",
    "text.npz": b"level_0: 1 2 3\n",
    "zip.npz": _zip(),
    "zip_of_text.npz": _zip(**{"level_0.npy": b"hello"}),
    "zip_of_json.npz": _zip(**{"level_0.json": b"{}"}),
    "cut.npz": _npz(level_0=GOOD)[:-40],
    "cut_early.npz": _npz(level_0=GOOD)[:100],
    "cut.npy": _npy(GOOD)[:-8],
    "header.npy": _npy(GOOD)[:20],
    "magic.npy": b"\x93NUMPY\x09\x00" + bytes(200),
    "pickle.npz": _npz(level_0=np.array([None, {}], object)),
    "json.npz": b'{"level_0": [[1, 2]]}',
    "text.keras": b"hello",
    "text.h5": b"hello",
    "zip.keras": _zip(),
    "no_weights.keras": _zip(**{"config.json": b"{}"}),
    "no_config.keras": _zip(**{"model.weights.h5": b""}),
    "bad_config.keras": _zip(**{"config.json": b"{", "model.weights.h5": b""}),
    "bad_weights.keras": _zip(**{"config.json": b"{}", "model.weights.h5": b"hello"}),
    "torch.pt": _zip(**{"archive/data.pkl": b"\x80\x02}q\x00."}),
    "model.onnx": b"\x08\x07\x12\x07pytorch",
}


def _refused(path: Any) -> str:
    with pytest.raises((InputError, QuantizationError)) as caught:
        check_codebooks(open_codebooks(path).levels, 4)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("name", ARRAYS)
@pytest.mark.parametrize("suffix", ["npz", "npy", "memory"])
def test_arrays(tmp_path: Path, name: str, suffix: str) -> None:
    given: Any = [ARRAYS[name]]
    if suffix != "memory":
        given = tmp_path / f"cb.{suffix}"
        given.write_bytes(_npy(ARRAYS[name]) if suffix == "npy" else _npz(level_0=ARRAYS[name]))
    message = _refused(given)
    assert any(word in message for word in ("codebook", "level_", "level", "cb."))


@pytest.mark.parametrize("name", KEYS)
def test_names(tmp_path: Path, name: str) -> None:
    (tmp_path / "cb.npz").write_bytes(_npz(**KEYS[name]))
    _refused(tmp_path / "cb.npz")


@pytest.mark.parametrize("name", BYTES)
def test_files(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(BYTES[name])
    assert name in _refused(tmp_path / name)


@pytest.mark.parametrize("names", [(), ("a.npy",), ("a_0.npy", "a_2.npy"), ("a_0.npy", "b_0.npy"), ("0.npz",)])
def test_folders(tmp_path: Path, names: tuple[str, ...]) -> None:
    for name in names:
        (tmp_path / name).write_bytes(_npy(GOOD))
    assert str(tmp_path) in _refused(tmp_path)
    assert str(tmp_path) in _refused(tmp_path / "*_[xyz].npy")


@pytest.mark.parametrize("given", [[], [[]], [GOOD, None], [[[1.0, 2.0], [3.0]]], [{}], ["a"]])
def test_objects(given: Any) -> None:
    _refused(given)


@pytest.mark.parametrize("dtype", ["<f2", "<f4", ">f4", ">f8", "longdouble", "<i2", ">i4", "u1"])
def test_numbers_of_every_size_are_taken(tmp_path: Path, dtype: str) -> None:
    given = np.asfortranarray(np.rint(10 * np.abs(GOOD))).astype(dtype)
    (tmp_path / "cb.npz").write_bytes(_npz(level_0=given))
    (found,) = open_codebooks(tmp_path / "cb.npz").levels
    assert np.array_equal(found, given)
    check_codebooks([found], 4)
