"""The fuzzers run for a little while, the same each time. ``make fuzz`` runs them for as long as one likes.

With ``EDGECODEC_FUZZ_SECONDS``, as in CI, each runs for so long instead, and those of readers follow what is reached.
"""

from __future__ import annotations

import os
import random
import re
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from edgecodec.entropy.unpacking import ReferenceUnpacker, Unpacked
from edgecodec.host.unpack import PacketUnpacker
from tests.bitexact.test_unpack import _sealed
from tests.fuzz import readers, targets
from tests.fuzz.__main__ import main, run
from tests.fuzz.readers import READERS
from tests.fuzz.targets import Fuzzer, all_fuzzers, fuzzers, kept, packets_of
from tests.fuzz.unpack_formats import formats
from tests.tools import require

_COMPARED = 60
_SECONDS = int(os.environ.get("EDGECODEC_FUZZ_SECONDS", "0"))


def fuzz(name: str, folder: Path) -> None:
    require("clang", "libFuzzer", "cc", "Python.h")
    if _SECONDS:
        fuzz_for_seconds(name, folder)
        return
    done = run(fuzzers()[name], folder, f"-runs={fuzzers()[name].runs}")
    assert done.returncode == 0, done.stderr[-4000:]
    assert f"Done {fuzzers()[name].runs} runs" in done.stderr


@pytest.mark.parametrize(
    ("name", "missing"),
    [("framing", "clang not found; Debian: apt install clang"), ("tflite", "atheris not found; pip install atheris")],
)
def test_a_tool_that_is_missing_is_named(
    name: str, missing: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tests.fuzz.__main__.available", lambda tool: False)
    monkeypatch.setattr("sys.argv", ["fuzz", "--seconds", "1", name])
    assert main() == 2
    assert capsys.readouterr() == ("", f"{missing}\n")


def fuzz_for_seconds(name: str, folder: Path) -> None:
    done = run(all_fuzzers()[name], folder, f"-max_total_time={_SECONDS}")
    assert done.returncode == 0, done.stderr[-4000:]
    (seconds,) = re.findall(r"^Done \d+ runs in (\d+) second", done.stderr, re.MULTILINE)
    assert int(seconds) >= _SECONDS


@pytest.mark.parametrize("name", ["encoder", "blob", "framing", "kernels", "server", "server-wide"])
def test_nothing_is_found(name: str, tmp_path: Path) -> None:
    fuzz(name, tmp_path)


def test_nothing_is_found_in_packets_and_python_reads_the_same(tmp_path: Path) -> None:
    fuzz("unpack", tmp_path)
    by_format: dict[int, list[bytes]] = {}
    for path in sorted((tmp_path / "corpus").iterdir()):
        number, sealed, packets = packets_of(path.read_bytes())
        number %= len(formats())
        tag = formats()[number]
        made = [_sealed(packet[:-1], tag) if sealed and len(packet) > 2 else packet for packet in packets]
        by_format.setdefault(number, []).extend(made)
    assert len(by_format) == len(formats())
    for number, packets in by_format.items():
        step = max(1, len(packets) // _COMPARED)
        given = packets[::step]
        got = PacketUnpacker(formats()[number]).unpack(given)
        want = ReferenceUnpacker(formats()[number]).unpack(given)
        for field in fields(Unpacked):
            np.testing.assert_array_equal(getattr(got, field.name), getattr(want, field.name), err_msg=field.name)


def _damaged(data: bytes, dice: random.Random) -> bytes:
    """Some bytes changed, left out, doubled, or put in."""
    for _ in range(dice.randint(1, 6)):
        at = dice.randrange(len(data) + 1)
        end = min(len(data), at + dice.choice([1, 1, 2, 4, 16]))
        put = dice.choice([dice.randbytes(end - at), b"", data[at:end] * 2, b"\xff" * (end - at), bytes(end - at)])
        data = data[:at] + put + data[end:]
    return data


@pytest.mark.parametrize("name", list(READERS))
def test_readers_read_or_refuse(name: str) -> None:
    """What was kept, and seeds with damage."""
    reader, dice = READERS[name], random.Random(1)
    pool = [*reader.seeds(), *kept(name)]
    for data in pool:
        reader.read(data)
    for _ in range(reader.runs):
        reader.read(_damaged(dice.choice(pool), dice))


@pytest.mark.skipif(not _SECONDS, reason="for EDGECODEC_FUZZ_SECONDS, which is not set")
@pytest.mark.parametrize("name", list(READERS))
def test_nothing_is_found_in_readers(name: str, tmp_path: Path) -> None:
    require("module:atheris")
    fuzz_for_seconds(name, tmp_path)


def test_a_reader_can_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers, "read_graph", lambda data: data[1 << 20])
    with pytest.raises(IndexError):
        READERS["tflite"].read(b"x")


def test_the_shortest_inputs_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(targets, "CORPUS", tmp_path / "corpus")
    assert kept("a") == []
    targets.keep("a", [b"", b"x" * 4000, b"\0\xff", b"y" * 90])
    assert kept("a") == [b"", b"\0\xff", b"y" * 90, b"x" * 4000]
    targets.keep("a", [b"x" * 4000, b"y" * 100])
    assert kept("a") == [b"y" * 100]


def test_memory_of_who_starts_it_does_not_count(tmp_path: Path) -> None:
    require("clang", "libFuzzer", "cc")
    held = np.ones(1 << 29, np.uint8)
    # It looks once a second.
    done = run(fuzzers()["blob"], tmp_path, "-max_total_time=3", f"-rss_limit_mb={held.nbytes >> 20}")
    assert done.returncode == 0, done.stderr[-4000:]


def test_a_fuzzer_can_fail(tmp_path: Path) -> None:
    """With a check left out, it finds what the check is for."""
    require("clang", "libFuzzer", "cc")
    target = fuzzers()["blob"]
    source = "edc_blob.c"
    check = "value > (kind == TABLE ? header->table_bytes : header->memory_bytes)"

    def files() -> dict[str, str]:
        found = target.files()
        assert check in found[source]
        return found | {source: found[source].replace(check, "value == 1")}

    broken = Fuzzer(target.name, files, target.seeds, target.fuzzed, target.longest, target.runs)
    done = run(broken, tmp_path, f"-runs={target.runs}")
    assert done.returncode != 0
    assert "is_within" in done.stderr
