"""The cache of what can be built again: built once, whole, healed, and told when it cannot be."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from edgecodec.errors import BuildError, InputError
from edgecodec.files.atomic import replace_folder
from edgecodec.files.content_cache import cached
from edgecodec.files.temporary import temporary_folder

DIGEST = "ab" * 32
TEXT = "whole"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EDGECODEC_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def build(folder: Path) -> None:
    (folder / "thing").write_text(TEXT)


def read(folder: Path) -> Path:
    try:
        text = (folder / "thing").read_text()
    except OSError as error:
        raise BuildError(f"{folder}: {error}") from error
    if text != TEXT:
        raise BuildError(f"{folder}: damaged")
    return folder / "thing"


def never(folder: Path) -> None:
    pytest.fail("built again")


def test_built_once_and_under_its_digest(cache: Path) -> None:
    found = cached("things", DIGEST, build, read)
    assert found == cache / "things" / DIGEST / "thing"
    assert cached("things", DIGEST, never, read) == found
    assert [path.name for path in (cache / "things").iterdir()] == [DIGEST]


@pytest.mark.parametrize("damage", ["damaged", "missing", "a file in its place"])
def test_healed(cache: Path, damage: str) -> None:
    found = cached("things", DIGEST, build, read)
    if damage == "damaged":
        found.write_text("wh")
    else:
        found.unlink()
    if damage == "a file in its place":
        found.parent.rmdir()
        found.parent.write_text("no folder")
    assert cached("things", DIGEST, build, read).read_text() == TEXT
    assert [path.name for path in (cache / "things").iterdir()] == [DIGEST]


def test_a_build_that_fails_leaves_nothing(cache: Path) -> None:
    def fail(folder: Path) -> None:
        (folder / "thing").write_text("wh")
        raise InputError("no such thing")

    with pytest.raises(InputError, match="no such thing"):
        cached("things", DIGEST, fail, read)
    assert list((cache / "things").iterdir()) == []


def test_a_build_that_is_never_right_is_told(cache: Path) -> None:
    with pytest.raises(BuildError, match=f"{DIGEST}: damaged"):
        cached("things", DIGEST, lambda folder: (folder / "thing").write_text("wrong") and None, read)


def test_what_cannot_be_replaced_is_told(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cached("things", DIGEST, build, read).write_text("wh")

    def refuse(source: Path, target: Path) -> None:
        raise PermissionError

    monkeypatch.setattr("os.rename", refuse)
    with pytest.raises(BuildError, match=f"{DIGEST} is damaged and cannot be replaced; delete it"):
        cached("things", DIGEST, build, read)


def test_cache_that_cannot_be_written(cache: Path) -> None:
    cache.write_text("")
    with pytest.raises(BuildError, match=r"cache .* cannot be written .*; set EDGECODEC_CACHE to a folder"):
        cached("things", DIGEST, build, read)


@pytest.mark.parametrize("error", [OSError("the disk has gone"), OSError(5, "the disk has gone", "/name")])
def test_what_the_system_says_is_told(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: OSError
) -> None:
    """In the same words for all that is written, a system's error without a number among it."""

    def fail(*_: object) -> None:
        raise error

    said = r": cannot be written \(the disk has gone\)"
    monkeypatch.setattr("edgecodec.files.content_cache.make_locked", fail)
    with pytest.raises(BuildError, match=f"^the cache {cache}/things{said}; set EDGECODEC_CACHE to a folder$"):
        cached("things", DIGEST, build, read)
    monkeypatch.setattr("edgecodec.files.atomic.make_locked", fail)
    with pytest.raises(InputError, match=f"^{tmp_path}/out{said}$"), replace_folder(tmp_path / "out", marker="m"):
        pass
    monkeypatch.setattr("edgecodec.files.temporary.make_locked", fail)
    with pytest.raises(InputError, match=f"{said}; set TMPDIR to another folder$"), temporary_folder("test"):
        pass


def test_several_at_once_get_the_same(cache: Path) -> None:
    together = threading.Barrier(4)

    def slow(folder: Path) -> None:
        together.wait(10)
        build(folder)

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: cached("things", DIGEST, slow, read), range(4)))
    assert found == [cache / "things" / DIGEST / "thing"] * 4
    assert [path.name for path in (cache / "things").iterdir()] == [DIGEST]
