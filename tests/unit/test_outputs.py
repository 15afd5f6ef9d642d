"""Output folders and files appear whole or not at all."""

from __future__ import annotations

import errno
import io
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgecodec.errors import InputError
from edgecodec.files.atomic import check_folder, check_output, npz_bytes, replace_files, replace_folder, write_file

ROOT = Path(__file__).resolve().parents[2]


def test_folder_appears_only_on_success(tmp_path: Path) -> None:
    target = tmp_path / "out"
    with replace_folder(target, marker="m") as folder:
        (folder / "m").write_text("1")
        assert not target.exists()
    assert (target / "m").read_text() == "1"
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_failure_leaves_the_old_folder_and_no_trace(tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.mkdir()
    (target / "m").write_text("old")

    def fail() -> None:
        with replace_folder(target, marker="m") as folder:
            (folder / "m").write_text("new")
            raise RuntimeError("compiler died")

    with pytest.raises(RuntimeError):
        fail()
    assert (target / "m").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_what_a_killed_process_left_is_removed_the_next_time(tmp_path: Path) -> None:
    target = tmp_path / "out"
    program = (
        "import os, signal, sys\n"
        "from edgecodec.files.atomic import replace_folder\n"
        "with replace_folder(sys.argv[1], marker='m') as folder:\n"
        "    (folder / 'm').write_text('half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run([sys.executable, "-c", program, target], check=False, timeout=60, cwd=ROOT)
    assert killed.returncode == -signal.SIGKILL
    assert len(list(tmp_path.iterdir())) == 1
    mine = tmp_path / ".out.settings"
    mine.mkdir()
    with replace_folder(target, marker="m") as folder:
        (folder / "m").write_text("whole")
        # Another process on the same output leaves alone what is being written.
        with replace_folder(target, marker="m") as other:
            (other / "m").write_text("other")
        assert folder.is_dir()
    assert {path.name for path in tmp_path.iterdir()} == {"out", ".out.settings"}
    assert (target / "m").read_text() == "whole"


def test_an_earlier_run_is_replaced_whole(tmp_path: Path) -> None:
    target = tmp_path / "out"
    for name in ("first", "second"):
        with replace_folder(target, marker="m") as folder:
            (folder / "m").touch()
            (folder / name).touch()
    assert sorted(p.name for p in target.iterdir()) == ["m", "second"]


def test_foreign_folder_is_kept_unless_forced(tmp_path: Path) -> None:
    target = tmp_path / "home"
    target.mkdir()
    (target / "thesis.tex").write_text("years")

    def write(force: bool) -> None:
        with replace_folder(target, marker="m", force=force) as folder:
            (folder / "m").touch()

    with pytest.raises(InputError, match="holds other files"):
        write(force=False)
    assert (target / "thesis.tex").exists()
    write(force=True)
    assert [p.name for p in target.iterdir()] == ["m"]


def test_target_that_is_a_file_or_below_one(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("x")
    for target in (file, file / "below"):
        with pytest.raises(InputError, match=r"no folder|cannot be written"), replace_folder(target, marker="m"):
            pass
    with pytest.raises(InputError, match="cannot be written"):
        write_file(file / "below", b"")


def test_file_is_replaced_and_nothing_left_beside(tmp_path: Path) -> None:
    target = tmp_path / "sub" / "a.npz"
    write_file(target, b"1")
    write_file(target, b"2")
    assert target.read_bytes() == b"2"
    assert [p.name for p in target.parent.iterdir()] == ["a.npz"]


def test_what_a_killed_process_left_of_a_file_is_removed_the_next_time(tmp_path: Path) -> None:
    target = tmp_path / "a.npz"
    for name in (".a.npz.edgecodec-x1.npz", ".a.npz.edgecodec-x3.part", ".a.npz.mine", ".b.npz.edgecodec-x2.npz"):
        (tmp_path / name).touch()
    with replace_files(target) as (beside,):
        write_file(target, b"of another process")
        assert beside.exists()
        beside.write_bytes(b"1")
    assert target.read_bytes() == b"1"
    others = [".a.npz.edgecodec-x3.part", ".a.npz.mine", ".b.npz.edgecodec-x2.npz"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [*others, "a.npz"]


def test_folder_is_checked_without_making_anything(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes").touch()
    before = sorted(tmp_path.rglob("*"))
    for name in ("new", "deep/er/new"):
        check_folder(tmp_path / name, marker="m")
    check_folder(tmp_path / "mine", marker="notes")
    check_folder(tmp_path / "mine", marker="m", force=True)
    for name, message in (
        ("file", "is no folder; choose another output"),
        ("mine", r"holds other files \(no m\)"),
        ("file/new", "cannot be written"),
    ):
        with pytest.raises(InputError, match=message):
            check_folder(tmp_path / name, marker="m")
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("path", ["missing/..", "a/missing/../..", "link/missing/../../..", "missing/../other"])
def test_folder_behind_a_missing_one_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, force: bool
) -> None:
    """No system finds it, but what is made of the path's words is replaced."""
    for name in ("a", "other"):
        (tmp_path / "here" / name).mkdir(parents=True)
    (tmp_path / "here" / "other" / "manifest.json").touch()
    (tmp_path / "here" / "link").symlink_to("a")
    before = sorted(tmp_path.rglob("*"))
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(InputError, match=rf"^{path}: (the current folder|holds a bundle)"):
        check_folder(path, marker="m", force=force)
    with pytest.raises(InputError), replace_folder(path, marker="m", force=force):
        pass
    assert sorted(tmp_path.rglob("*")) == before


def test_folder_in_a_link_to_itself(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    for path, message in (("loop", "exists and is no folder"), ("loop/new", "Not a directory")):
        with pytest.raises(InputError, match=message):
            check_folder(tmp_path / path, marker="m")
    with pytest.raises(InputError, match="Not a directory"):
        check_output(tmp_path / "loop" / "new")


def test_file_over_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be written"):
        write_file(tmp_path, b"1")
    assert list(tmp_path.parent.glob(f".{tmp_path.name}.*")) == []


def test_npz_has_no_time_stamps_and_reads_back() -> None:
    arrays = {"frames": np.arange(6, dtype=np.int16).reshape(2, 3), "x": np.float32(1.5)[None]}
    data = npz_bytes(arrays)
    assert data == npz_bytes(arrays)
    with np.load(io.BytesIO(data)) as loaded:
        assert loaded["frames"].dtype == np.int16
        np.testing.assert_array_equal(loaded["frames"], arrays["frames"])
        np.testing.assert_array_equal(loaded["x"], arrays["x"])


def test_link_stays_and_what_it_names_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    with replace_folder(tmp_path / "link", marker="m") as folder:
        (folder / "m").touch()
    (tmp_path / "a.npz").write_bytes(b"old")
    (tmp_path / "b.npz").symlink_to("a.npz")
    (tmp_path / "c.npz").symlink_to("new.npz")
    for name in ("b.npz", "c.npz"):
        write_file(tmp_path / name, b"new")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "new.npz").read_bytes() == b"new"
    assert (tmp_path / "real" / "m").exists()
    assert {path.name for path in tmp_path.iterdir() if path.is_symlink()} == {"link", "b.npz", "c.npz"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.npz", "b.npz", "c.npz", "link", "new.npz", "real"]


@pytest.mark.parametrize("marker", ["manifest.json", "run.json"])
def test_what_may_be_the_input_is_kept_although_forced(marker: str, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / marker).write_text("{}")
    (tmp_path / "link").symlink_to("in")
    for name in ("in", "link", "in/../in"):
        with (
            pytest.raises(InputError, match=rf"holds a .* \({marker}\), which is not replaced; choose another output"),
            replace_folder(tmp_path / name, marker="build-report.json", force=True),
        ):
            raise AssertionError("nothing is to be written")
    assert (tmp_path / "in" / marker).read_text() == "{}"
    with replace_folder(tmp_path / "in", marker=marker) as folder:
        (folder / marker).write_text("new")
    assert (tmp_path / "in" / marker).read_text() == "new"


def test_current_folder_and_those_above_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "deep" / "er")
    for name in (".", "..", "../../deep"):
        with pytest.raises(InputError, match="the current folder cannot be replaced"):
            check_folder(name, marker="m", force=True)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["deep", "er"]


def test_folder_that_cannot_be_exchanged_is_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As with a mount point, or when the new folder's rename fails behind that of the old one."""
    target = tmp_path / "out"
    target.mkdir()
    (target / "m").write_text("old")
    rename = os.replace
    calls: list[tuple[Path, Path]] = []

    def fail(at: int) -> None:
        def replace(source: Path, destination: Path) -> None:
            calls.append((source, destination))
            if len(calls) == at:
                raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
            rename(source, destination)

        calls.clear()
        monkeypatch.setattr("edgecodec.files.atomic.os.replace", replace)
        with replace_folder(target, marker="m") as folder:
            (folder / "m").write_text("new")

    for at in (1, 2):
        with pytest.raises(InputError, match=r"out: cannot be replaced \(Device or resource busy\)"):
            fail(at)
        assert len(calls) >= at
        assert (target / "m").read_text() == "old"
        assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_output_is_refused_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for name in ("file/x.npz", "."):
        with pytest.raises(InputError, match="cannot be written"):
            check_output(tmp_path / name)
    check_output(tmp_path / "new" / "x.npz")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
