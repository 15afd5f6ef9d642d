"""``encode`` and ``decode``: recordings to packets and back, in every format that is written."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest

import edgecodec
from edgecodec.bundle import Bundle
from edgecodec.entropy.packet_stream import StreamHeader, mark_record, packet_record
from edgecodec.errors import InputError
from edgecodec.signal.frames import read_frames
from edgecodec.signal.reader import read_counts
from edgecodec.signal.reading import Reading
from edgecodec.signal.writing import WRITTEN, Recorded, written
from tests.cli.run import assert_one_error
from tests.cli.run import edgecodec as run
from tests.cli.test_json_schemas import check
from tests.linear_codec import RATE_HZ, SAMPLES, pulse_frames
from tests.streams import packets_for, stream_bundle, stream_bytes
from tests.tools import require

NEEDS = {".parquet": "pyarrow", ".edf": "pyedflib", ".hea": "wfdb"}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return stream_bundle(tmp_path_factory.mktemp("stream"))


def _needs(suffix: str) -> None:
    if suffix in NEEDS:
        require(f"module:{NEEDS[suffix]}")


def test_round_trip(bundle: Bundle, tmp_path: Path) -> None:
    require("cc", "Python.h")
    frames = pulse_frames(60, seed=1)
    np.savez(tmp_path / "f.npz", frames=frames, rate_hz=RATE_HZ)
    stream, csv = tmp_path / "x.ecs", tmp_path / "x.csv"
    start = ("--start", "2026-03-01T12:00:00+01:00")
    encoded = run("encode", bundle.path, "--frames", tmp_path / "f.npz", *start, "-o", stream, "--json")
    document = json.loads(encoded.stdout)
    check(document, "encode")
    assert (document["frames"], document["channels"], document["gaps"]) == (60, 1, 0)
    assert document["bytes"] == stream.stat().st_size
    decoded = run("decode", bundle.path, stream, "-o", csv, "--json")
    document = json.loads(decoded.stdout)
    check(document, "decode")
    assert document["stream"]["lost"] == 0
    assert "60 frames, lost 0, doubled 0, reordered 0, damaged 0, foreign 0" in decoded.stderr
    lines = csv.read_text(encoding="ascii").splitlines()
    assert lines[0] == "time,ppg"
    assert [line.split(",")[0] for line in lines[1:3]] == [
        "2026-03-01T11:00:00.000000+00:00",
        "2026-03-01T11:00:00.062500+00:00",
    ]
    expected = edgecodec.decode_stream(bundle, stream).counts.reshape(-1)
    assert np.array([float(line.split(",")[1]) for line in lines[1:]], np.float32) == pytest.approx(expected)


def test_channels_and_gaps(bundle: Bundle, tmp_path: Path) -> None:
    require("cc", "Python.h")
    recording = pulse_frames(40, seed=2).reshape(-1).astype(float)
    recording[700:900] = np.nan
    np.save(tmp_path / "a.npy", recording)
    np.save(tmp_path / "b.npy", pulse_frames(30, seed=3).reshape(-1))
    given = ("--frames", tmp_path / "a.npy", "--frames", tmp_path / "b.npy", "--rate", f"{RATE_HZ:g}")
    result = run("encode", bundle.path, *given, "-o", tmp_path / "x.ecs", "--json")
    assert json.loads(result.stdout)["channels"] == 2
    found = edgecodec.decode_stream(bundle, tmp_path / "x.ecs")
    assert found.report.lost == found.report.gaps == 0
    expected = read_frames(tmp_path / "a.npy", SAMPLES, RATE_HZ, Reading(RATE_HZ))
    assert np.array_equal(found.times[found.channels == 0] * RATE_HZ, expected.starts)
    assert np.array_equal(expected.frames[3], recording[expected.starts[3] :][:SAMPLES])


@pytest.mark.parametrize("suffix", WRITTEN)
@pytest.mark.parametrize("channels", [1, 2])
def test_outputs_are_read_back(bundle: Bundle, tmp_path: Path, suffix: str, channels: int) -> None:
    """Three frames of the middle are lost, and the reader finds them missing."""
    _needs(suffix)
    records = [packet_record(number % channels, packet) for number, packet in enumerate(_numbered(bundle, channels))]
    lost = slice(8 * channels, 11 * channels)
    kept = records[: lost.start] + records[lost.stop :]
    header = StreamHeader(bundle.digest, RATE_HZ, 1_700_000_000_000_000, channels).to_bytes()
    (tmp_path / "x.ecs").write_bytes(header + b"".join(kept))
    out = tmp_path / f"out{suffix}"
    result = run("decode", bundle.path, tmp_path / "x.ecs", "-o", out)
    assert result.returncode == 0, result.stderr
    assert f"lost {3 * channels}" in result.stderr
    decoded = edgecodec.decode_stream(bundle, tmp_path / "x.ecs")
    expected = np.full((20, SAMPLES), np.nan, np.float32)
    mine = decoded.channels == channels - 1
    expected[np.rint(decoded.times[mine] * RATE_HZ / SAMPLES).astype(int)] = decoded.counts[mine]
    name = "ppg" if channels == 1 else f"ppg_{channels - 1}"
    rate = RATE_HZ if suffix == ".npy" else None
    column = None if suffix in (".npy", ".npz") else name
    (rows,) = read_counts(out, RATE_HZ, Reading(rate, column, name, scale=1.0))
    assert rows.rate_hz == pytest.approx(RATE_HZ)
    found = np.asarray(rows.counts, float)[channels - 1 if suffix in (".npy", ".npz") else 0]
    if suffix == ".edf":
        found = np.where(found == -32768, np.nan, found)
    assert found == pytest.approx(np.rint(expected.reshape(-1)), abs=0.51, nan_ok=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        {"x.ecs", out.name} | ({"out.dat"} if suffix == ".hea" else set())
    )


def _numbered(bundle: Bundle, channels: int) -> list[bytes]:
    """Packets 0..19 of each channel, by turns."""
    each = [packets_for(bundle, pulse_frames(20, seed=10 + channel)) for channel in range(channels)]
    return [packet for pair in zip(*each, strict=True) for packet in pair]


def test_stream_without_start_or_rate(bundle: Bundle, tmp_path: Path) -> None:
    packet = packet_record(0, packets_for(bundle, pulse_frames(1))[0])
    for header, name, second in (
        (StreamHeader(bundle.digest, RATE_HZ), "time [s]", "0.062500"),
        (StreamHeader(bundle.digest), "sample", "1"),
    ):
        (tmp_path / "x.ecs").write_bytes(header.to_bytes() + packet)
        run("decode", bundle.path, tmp_path / "x.ecs", "-o", tmp_path / "x.csv")
        lines = (tmp_path / "x.csv").read_text(encoding="ascii").splitlines()
        assert (lines[0].split(",")[0], lines[2].split(",")[0]) == (name, second)
    for suffix in (".edf", ".hea"):
        _needs(suffix)
        result = run("decode", bundle.path, tmp_path / "x.ecs", "-o", tmp_path / f"y{suffix}")
        assert_one_error(result, "needs a sampling rate")
        assert not (tmp_path / f"y{suffix}").exists()


def test_far_marks_are_refused_where_gaps_are_filled(bundle: Bundle, tmp_path: Path) -> None:
    packets = packets_for(bundle, pulse_frames(2))
    data = stream_bytes(bundle, packets[:1]) + mark_record(0, 1, 1 << 50) + packet_record(0, packets[1])
    (tmp_path / "x.ecs").write_bytes(data)
    result = run("decode", bundle.path, tmp_path / "x.ecs", "-o", tmp_path / "x.npy")
    assert_one_error(result, "samples are filled up", ".csv")
    assert [path.name for path in tmp_path.iterdir()] == ["x.ecs"]
    assert run("decode", bundle.path, tmp_path / "x.ecs", "-o", tmp_path / "x.csv").returncode == 0


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["decode", "B", "none.ecs", "-o", "x.wav"], "x.wav"),
        (["decode", "B", "none.ecs", "-o", "x"], "does not end in .csv"),
        (["decode", "B", "x.bin", "-o", "x.csv"], "expected a stream of packets (.ecs) or indices (.npz)"),
        (["decode", "B", "x.npz", "-o", "x.csv"], "indices are decoded to .npz alone"),
        (["decode", "B", "none.ecs", "-o", "x.csv"], "none.ecs: no such file"),
        (["decode", "B", "pipe.ecs", "-o", "x.csv"], "pipe.ecs: is no regular file"),
        (["decode", "B", "folder.ecs", "-o", "x.csv"], "folder.ecs: is a folder"),
        (["decode", "B", "bad.ecs", "-o", "x.csv"], "is no stream of packets"),
        (["decode", "B", "other.ecs", "-o", "x.csv"], "was encoded with bundle 000000000000"),
        (["decode", "B", "none.ecs", "-o", "pipe.csv"], "pipe.csv: cannot be written (is no regular file)"),
        (["encode", "B", "--frames", "none.npy", "-o", "x.npz"], "does not end in .ecs"),
        (["encode", "B", "--frames", "none.npy", "-o", "pipe.ecs"], "pipe.ecs: cannot be written (is no regular file)"),
        (["encode", "B", "--frames", "none.npy", "-o", "x.ecs", "--start", "noon"], "expected ISO 8601"),
        (["encode", "B", "-o", "x.ecs"], "--frames"),
    ],
)
def test_refused(bundle: Bundle, tmp_path: Path, arguments: list[str], expected: str) -> None:
    os.mkfifo(tmp_path / "pipe.ecs")
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "folder.ecs").mkdir()
    (tmp_path / "bad.ecs").write_bytes(b"hello" * 30)
    (tmp_path / "other.ecs").write_bytes(StreamHeader("0" * 64).to_bytes())
    before = sorted(path.name for path in tmp_path.iterdir())
    words = [str(bundle.path) if word == "B" else word for word in arguments]
    assert_one_error(run(*words, cwd=tmp_path), expected)
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_bundle_without_packets(tmp_path: Path) -> None:
    from tests.linear_codec import linear_codec

    linear, _ = linear_codec(tmp_path)
    np.save(tmp_path / "a.npy", pulse_frames(2))
    result = run("encode", linear.path, "--frames", tmp_path / "a.npy", "--rate", "16", "-o", tmp_path / "x.ecs")
    assert_one_error(result, "says nothing of packets", "edgecodec refit")


@pytest.mark.parametrize("suffix", sorted(NEEDS))
def test_missing_library_is_named(suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, NEEDS[suffix], None)
    with pytest.raises(InputError, match=NEEDS[suffix]) as caught, written(tmp_path / f"x{suffix}", Recorded(1, 64.0)):
        pass
    assert "edgecodec[records]" in (caught.value.hint or "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", WRITTEN)
def test_a_failure_leaves_what_was_there(suffix: str, tmp_path: Path) -> None:
    _needs(suffix)
    (tmp_path / f"x{suffix}").write_bytes(b"old")

    def fail() -> None:
        with written(tmp_path / f"x{suffix}", Recorded(1, 64.0)) as writer:
            writer.write(0, np.zeros((1, 640), np.float32))
            raise ValueError("on the way")

    with pytest.raises(ValueError, match="on the way"):
        fail()
    assert (tmp_path / f"x{suffix}").read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == [f"x{suffix}"]


@pytest.mark.parametrize("suffix", WRITTEN)
def test_a_stream_without_frames(suffix: str, tmp_path: Path) -> None:
    _needs(suffix)
    with written(tmp_path / f"x{suffix}", Recorded(2, 64.0)):
        pass
    assert (tmp_path / f"x{suffix}").exists()
