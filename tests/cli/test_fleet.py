"""Folders of packets, here and on a cluster: killed workers and runs lose nothing and double nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgecodec.bundle import Bundle
from edgecodec.errors import InputError
from edgecodec.fleet import decode_folder
from edgecodec.host.arrow import ArrowDecoder
from tests.cli.run import assert_one_error
from tests.cli.run import edgecodec as run
from tests.cli.test_json_schemas import check
from tests.linear_codec import pulse_frames
from tests.streams import packets_for, stream_bundle
from tests.tools import require


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return stream_bundle(tmp_path_factory.mktemp("stream"))


@pytest.fixture(scope="module")
def packets(bundle: Bundle) -> list[bytes]:
    return packets_for(bundle, pulse_frames(256, seed=1))


def _write(path: Path, packets: list[bytes | None], count: int) -> None:
    """A table of ``count`` rows whose numbers say whose they are."""
    import pyarrow
    from pyarrow import parquet

    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [packets[(number + len(path.name)) % len(packets)] for number in range(count)]
    columns = {"person": pyarrow.array(np.arange(count)), "packet": pyarrow.array(rows, pyarrow.binary())}
    parquet.write_table(pyarrow.table(columns), path, row_group_size=5000)


def _table(path: Path) -> Any:
    from pyarrow import parquet

    return parquet.read_table(path)


def _files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def _wait(condition: Callable[[], object], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def _assert_same(found: Path, expected: Path) -> None:
    assert _files(found) == _files(expected)
    for name in _files(expected):
        assert _table(found / name).equals(_table(expected / name))


def test_files_become_files(bundle: Bundle, packets: list[bytes], tmp_path: Path) -> None:
    require("module:pyarrow")
    source, out = tmp_path / "in", tmp_path / "out"
    _write(source / "a.parquet", [*packets[:50], b"no packet", None], 2500)
    _write(source / "of" / "b.parquet", packets, 3)
    _write(source / "none.parquet", packets, 0)
    (source / "notes.txt").write_text("no table")
    done = run("decode", bundle.path, source, "-o", out, "--json")
    document = json.loads(done.stdout)
    check(document, "decode")
    assert document["folder"] == {"files": 3, "skipped": 0, "rows": 2503, "good": document["frames"]}
    assert _files(out) == ["a.parquet", "none.parquet", "of/b.parquet"]
    given, found = _table(source / "a.parquet"), _table(out / "a.parquet")
    (whole,) = given.combine_chunks().to_batches()
    expected = ArrowDecoder(bundle)(whole)
    assert found.combine_chunks().to_batches()[0].equals(expected)
    assert document["frames"] == sum(each == "good" for each in expected.column("status").to_pylist()) + 3
    assert _table(out / "none.parquet").schema.names == ["person", "packet", "status", "sequence", "ppg"]


def test_what_is_done_is_left_alone(bundle: Bundle, packets: list[bytes], tmp_path: Path) -> None:
    require("module:pyarrow")
    source, out = tmp_path / "in", tmp_path / "out"
    for name in "abc":
        _write(source / f"{name}.parquet", packets, 5)
    assert decode_folder(bundle, source, out).skipped == 0
    before = (out / "a.parquet").stat().st_mtime_ns
    _write(source / "b.parquet", packets[::-1], 5)
    (out / "c.parquet").write_bytes(b"PAR1 cut")
    report = decode_folder(bundle, source, out)
    assert (report.files, report.skipped, report.rows, report.good) == (3, 1, 10, 10)
    assert (out / "a.parquet").stat().st_mtime_ns == before
    again = decode_folder(bundle, source, out)
    assert str(again) == "3 files, 3 there already; 0 packets, 0 good"
    (tmp_path / "other").mkdir()
    other = stream_bundle(tmp_path / "other", "other")
    assert decode_folder(other.path, source, out).skipped == 0


def test_bad_files_do_not_stop_others(bundle: Bundle, packets: list[bytes], tmp_path: Path) -> None:
    require("module:pyarrow")
    source, out = tmp_path / "in", tmp_path / "out"
    _write(source / "a.parquet", packets, 5)
    (source / "b.parquet").write_bytes(b"PAR1" + bytes(100))
    _write(source / "c.parquet", packets, 5)
    result = run("decode", bundle.path, source, "-o", out)
    assert_one_error(result, "1 of 3 files were not decoded", "b.parquet")
    assert _files(out) == ["a.parquet", "c.parquet"]
    with pytest.raises(InputError, match="has no column 'x'"):
        decode_folder(bundle, source, out, column="x")
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    for wrong, message in (
        ((tmp_path / "none", out), "no such folder"),
        ((source, source), "is in the folder of packets"),
        ((source, source / "deep"), "is in the folder of packets"),
        ((source, source / "a.parquet"), "is in the folder of packets"),
        ((out.parent / "out", tmp_path / "in" / "a.parquet"), "exists and is no folder"),
        ((source, loop), "exists and is no folder"),
    ):
        with pytest.raises(InputError, match=message):
            decode_folder(bundle, *wrong)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"holds no \.parquet files"):
        decode_folder(bundle, tmp_path / "empty", out)


def test_killed_run_goes_on(bundle: Bundle, packets: list[bytes], tmp_path: Path) -> None:
    require("module:pyarrow")
    source, out = tmp_path / "in", tmp_path / "out"
    for number in range(6):
        _write(source / f"{number}.parquet", packets, 8_000)
    words = [sys.executable, "-m", "edgecodec", "decode", str(bundle.path), str(source), "-o", str(out)]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        _wait(lambda: (out / "1.parquet").exists() and list(out.glob(".2.parquet*")))
        process.send_signal(signal.SIGKILL)
    assert 2 <= decode_folder(bundle, source, out).skipped <= 5
    decode_folder(bundle, source, tmp_path / "whole")
    _assert_same(out, tmp_path / "whole")


@pytest.mark.slow
def test_killed_worker_costs_nothing(bundle: Bundle, packets: list[bytes], tmp_path: Path) -> None:
    require("module:pyarrow", "module:distributed")
    import dask
    from distributed import LocalCluster

    source, out = tmp_path / "in", tmp_path / "out"
    for number in range(8):
        _write(source / f"{number % 2}" / f"{number}.parquet", packets, 8_000)
    killed: list[int] = []

    def kill(done: int, total: int) -> None:
        """One of two workers, when the first file is done: both are at another by then, or soon."""
        if not killed:
            _wait(lambda: list(out.rglob(".*.parquet")))
            killed.append(next(iter(client.run(os.getpid).values())))
            os.kill(killed[0], signal.SIGKILL)

    with (
        dask.config.set({"distributed.worker.daemon": False, "temporary-directory": str(tmp_path / "dask")}),
        LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, host="127.0.0.1", dashboard_address=None
        ) as cluster,
        cluster.get_client() as client,
    ):
        report = decode_folder(bundle, source, out, client=client, progress=kill)
        result = run("decode", bundle.path, source, "-o", out, "--scheduler", cluster.scheduler_address)
        assert "8 files, 8 there already" in result.stderr
    assert killed
    assert report.files == 8
    decode_folder(bundle, source, tmp_path / "whole")
    _assert_same(out, tmp_path / "whole")


def test_schedulers_that_are_none(bundle: Bundle, packets: list[bytes], tmp_path: Path) -> None:
    require("module:pyarrow", "module:distributed")
    _write(tmp_path / "in" / "a.parquet", packets, 1)
    (tmp_path / "x.ecs").write_bytes(b"")
    result = run("decode", bundle.path, tmp_path / "in", "-o", tmp_path / "out", "--scheduler", "nonsense://x")
    assert_one_error(result, "no Dask scheduler answers")
    assert not (tmp_path / "out").exists()
    result = run(
        "decode", bundle.path, tmp_path / "x.ecs", "-o", tmp_path / "x.csv", "--scheduler", "tcp://127.0.0.1:1"
    )
    assert_one_error(result, "--scheduler is for a folder")
