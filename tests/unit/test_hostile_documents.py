"""JSON, YAML and files of Keras from outside: nothing nested, large or elsewhere leads further than to one line."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgecodec.boards.load import load_board
from edgecodec.bundle import MANIFEST, Bundle, manifest_digest
from edgecodec.errors import BundleError, InputError
from edgecodec.files.limits import BUNDLE_PART, DOCUMENT
from edgecodec.files.regular import open_regular, read_regular
from edgecodec.files.strict_json import parse_json
from edgecodec.files.strict_yaml import parse_yaml
from edgecodec.quantization.keras_codebooks import read_keras_codebooks
from edgecodec.training.config import load_config
from tests.tflite_builder import CONV, LayerSpec, build_encoder, bundle_of

JSON = {
    "nested": ("[" * 500 + "]" * 500, "nested too deeply"),
    "nested beyond the stack": ("[" * 100_000, "nested too deeply"),
    "an integer": ("1" * 5000, "an integer of 5000 digits"),
    "an integer of 65 bits": (str(1 << 64), "an integer of more than 64 bits"),
    "NaN": ('{"a": NaN}', "NaN is no JSON"),
    "infinity": ("[-Infinity]", "-Infinity is no JSON"),
    "half a pair": (r'{"a": ["\ud800"]}', "not Unicode"),
    "half a pair for a key": (r'{"\udfff": 1}', "not Unicode"),
    "a key twice": ('{"a": 1, "b": [{"c": 1, "a": 2, "c": 1}]}', "the key 'c' is there twice"),
    "a key twice, once escaped": (r'{"a": 1, "\u0061": 1}', "the key 'a' is there twice"),
    "a long key twice": ('{"%s": 1, "%s": 1}' % (2 * ("a" * 10_000,)), r"^the key 'a+\.\.\.a+' is there twice$"),
    "half a pair in UTF-8": (b'"\xed\xa0\x80"', "not Unicode"),
}


@pytest.mark.parametrize("kind", JSON)
def test_json(kind: str) -> None:
    text, message = JSON[kind]
    with pytest.raises(ValueError, match=message) as caught:
        parse_json(text)
    assert "\n" not in str(caught.value)


def test_json_that_is_taken() -> None:
    value: Any = {"a": [1, -(1 << 63), (1 << 64) - 1, 1.5e300, None, True, "παλμός 🫀"]}
    assert parse_json(json.dumps(value)) == value
    assert parse_json('{"loss": Infinity}', finite=False)["loss"] == float("inf")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seed: 0x" + "f" * 5000, "a number of 5002 characters"),
        ("seed: 0b" + "1" * 90, "an integer of more than 64 bits"),
        ("seed: " + "1:" * 5000 + "1", "a number of 10001 characters"),
        ("seed: " + "9" * 5000, "a number of 5000 characters"),
        ("a: " + "[" * 150 + "]" * 150, "nested too deeply"),
        (r'a: "\ud800"', "not Unicode"),
        ("a: 1\nb: 2\na: 1", "the key 'a' is there twice"),
        ("a: {b: [{c: 1, 'c': 2}]}", "the key 'c' is there twice"),
        ("16: 1\n0x10: 2", "the key 16 is there twice"),
    ],
)
def test_yaml(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        parse_yaml(text)
    path = tmp_path / "file.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match="not valid YAML"):
        load_config(path)
    with pytest.raises(InputError, match="not valid YAML"):
        load_board(path)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    encoder = build_encoder([LayerSpec(CONV, 4, 3, 2, "SAME")], 16, seed=0)
    return bundle_of(tmp_path_factory.mktemp("good") / "bundle", encoder, sizes=(4,)).path


def copied(bundle: Path, folder: Path, **changes: Any) -> Path:
    """The bundle with another manifest, whose digest is right where NaN does not keep it from having one."""
    made = folder / "bundle"
    made.mkdir()
    for path in bundle.iterdir():
        (made / path.name).write_bytes(path.read_bytes())
    manifest = json.loads((made / MANIFEST).read_text()) | changes
    with suppress(ValueError):
        manifest["digest"] = manifest_digest(manifest)
    (made / MANIFEST).write_text(json.dumps(manifest))
    return made


def deep(levels: int) -> Any:
    made: Any = {}
    for _ in range(levels):
        made = {"a": made}
    return made


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "\ud800"}, "not Unicode"),
        ({"provenance": deep(300)}, "nested too deeply"),
        ({"provenance": {"seed": 1 << 4000}}, "an integer of"),
        ({"provenance": {"loss": float("nan")}}, "NaN is no JSON"),
    ],
)
def test_manifest(bundle: Path, tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(BundleError, match=message):
        Bundle.load(copied(bundle, tmp_path, **change))


@pytest.mark.parametrize("number", range(3))
def test_manifest_with_a_key_twice(bundle: Path, tmp_path: Path, number: int) -> None:
    """Whichever is taken, another reader may take the other."""
    folder = copied(bundle, tmp_path)
    key, place = [("name", "{"), ("samples", '"frame": {'), ("encoder.tflite", '"files": {')][number]
    text = (folder / MANIFEST).read_text()
    assert text.count(place) > 0
    (folder / MANIFEST).write_text(text.replace(place, f'{place}"{key}": 1, ', 1))
    with pytest.raises(BundleError, match=f"the key '{key}' is there twice"):
        Bundle.load(folder)


def test_yaml_keys_that_yield_to_others() -> None:
    assert parse_yaml("a: {<<: {b: 1, c: 1}, b: 2}") == {"a": {"b": 2, "c": 1}}


def soon(read: Callable[[], object]) -> list[Exception]:
    """What ``read`` raises, within five seconds."""
    raised: list[Exception] = []

    def run() -> None:
        try:
            read()
        except Exception as error:
            raised.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(5)
    assert not thread.is_alive(), "still reading"
    return raised


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names on this system")
@pytest.mark.parametrize("name", [MANIFEST, "encoder.tflite", "codebooks.npz"])
@pytest.mark.parametrize("place", ["pipe", "link to a pipe", "/dev/zero"])
def test_part_that_does_not_end(bundle: Path, tmp_path: Path, name: str, place: str) -> None:
    folder = copied(bundle, tmp_path)
    (folder / name).unlink()
    if place == "pipe":
        os.mkfifo(folder / name)
    elif place == "/dev/zero":
        (folder / name).symlink_to("/dev/zero")
    else:
        os.mkfifo(tmp_path / "pipe")
        (folder / name).symlink_to(tmp_path / "pipe")
    [error] = soon(lambda: Bundle.load(folder))
    assert isinstance(error, BundleError)
    assert "is no regular file" in str(error)


def test_part_as_large_as_its_manifest_likes(bundle: Path, tmp_path: Path) -> None:
    """A file with a hole takes no room on disk."""
    files = json.loads((bundle / MANIFEST).read_text())["files"]
    files["encoder.tflite"]["bytes"] = BUNDLE_PART + 1
    folder = copied(bundle, tmp_path, files=files)
    os.truncate(folder / "encoder.tflite", BUNDLE_PART + 1)
    with pytest.raises(BundleError, match="at most 536,870,912 are read"):
        Bundle.load(folder)


def test_manifest_too_large(bundle: Path, tmp_path: Path) -> None:
    folder = copied(bundle, tmp_path)
    os.truncate(folder / MANIFEST, DOCUMENT + 1)
    with pytest.raises(BundleError, match="at most 16,777,216 are read"):
        Bundle.load(folder)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names on this system")
def test_pipe_put_in_a_files_place_keeps_nobody_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "file")
    monkeypatch.setattr("edgecodec.files.regular.check_regular", lambda *_: None)
    [error] = soon(lambda: open_regular(tmp_path / "file", "something"))
    assert isinstance(error, InputError)


@pytest.mark.skipif(not Path("/proc/self/pagemap").exists(), reason="Linux's /proc has it")
def test_regular_file_of_no_size_that_goes_on() -> None:
    """Files of the kernel are regular, of 0 bytes, and some hold terabytes."""
    with pytest.raises(InputError, match=r"more than 65,536 bytes|cannot be read"):
        read_regular(Path("/proc/self/pagemap"), "something", 1 << 16)


def keras_codes(path: Path, book: Any) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = "{}"
        group = file.create_group("rvq")
        for level in range(2):
            group[f"codebook_{level}"] = book


def test_weights_in_another_file(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    book = np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32)
    keras_codes(tmp_path / "good.h5", book)
    assert len(read_keras_codebooks(tmp_path / "good.h5")) == 2
    (tmp_path / "secret").write_bytes(book.tobytes())
    with h5py.File(tmp_path / "external.h5", "w") as file:
        for level in range(2):
            place = [(str(tmp_path / "secret"), 0, h5py.h5f.UNLIMITED)]
            file.create_dataset(f"rvq/codebook_{level}", (8, 4), "f4", external=place)
    with pytest.raises(InputError, match="lies in another file"):
        read_keras_codebooks(tmp_path / "external.h5")
    with h5py.File(tmp_path / "linked.h5", "w") as file:
        file["rvq"] = h5py.ExternalLink(str(tmp_path / "good.h5"), "rvq")
    with pytest.raises(InputError, match="is a link"):
        read_keras_codebooks(tmp_path / "linked.h5")


def test_weights_that_take_memory_and_no_room(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "bomb.h5", "w") as file:
        file.create_dataset("rvq/codebook_0", (1 << 20, 1 << 10), "f4", chunks=(1 << 10, 1 << 10))
    assert (tmp_path / "bomb.h5").stat().st_size < 10_000
    started = time.process_time()
    with pytest.raises(InputError, match="take more than 536,870,912 bytes"):
        read_keras_codebooks(tmp_path / "bomb.h5")
    assert time.process_time() - started < 5
