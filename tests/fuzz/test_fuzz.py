"""The fuzzers run for a little while, the same each time. ``make fuzz`` runs them for as long as one likes."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from edgecodec.entropy.unpacking import ReferenceUnpacker, Unpacked
from edgecodec.host.unpack import PacketUnpacker
from tests.bitexact.test_unpack import _sealed
from tests.fuzz.__main__ import run
from tests.fuzz.targets import Fuzzer, fuzzers, packets_of
from tests.fuzz.unpack_formats import formats
from tests.tools import require

_COMPARED = 60


def fuzz(name: str, folder: Path) -> None:
    require("clang", "libFuzzer", "cc", "Python.h")
    done = run(fuzzers()[name], folder, f"-runs={fuzzers()[name].runs}")
    assert done.returncode == 0, done.stderr[-4000:]
    assert f"Done {fuzzers()[name].runs} runs" in done.stderr


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
