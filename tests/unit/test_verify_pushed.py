"""The encoder object in verification: streams with lost samples are equal, and a broken object is found and named."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from io import StringIO
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from rich.console import Console

from edgecodec.bundle import Bundle
from edgecodec.cli.verify import _show
from edgecodec.codec.arrays import Frames
from edgecodec.codec.reference import ReferenceExecutor
from edgecodec.compile import render
from edgecodec.compile.plan import Plan, make_plan
from edgecodec.errors import EdgecodecError, InputError
from edgecodec.files.resources import firmware_dir
from edgecodec.host.encoder_object import EncoderObject
from edgecodec.host.shim import HostShim
from edgecodec.link.client import BoardExecutor
from edgecodec.link.costs import LinkStatistics
from edgecodec.verify.compare import Comparison, Pair
from edgecodec.verify.documents import BitsOnAir, BoardRun, Breakdown
from edgecodec.verify.pushed import compare_board, compare_host, draw_gaps, push_stream, share_of
from edgecodec.verify.run import VerifyResult
from tests import tools
from tests.c.test_encoder import make, signal
from tests.packets import bundle_with_packets
from tests.tflite_builder import ppg_frames

FRAMES = 40


@pytest.fixture(autouse=True)
def _compiler() -> None:
    tools.require("cc", "Python.h")


def compared(bundle: Bundle, frames: Frames, plan: Plan | None = None) -> Comparison:
    reference = ReferenceExecutor(bundle.codec).stages(frames)
    return compare_host(bundle, HostShim(bundle, plan), frames, reference)


@pytest.mark.parametrize("kind", ["random 3", "tables", "network", "cascade", "minmax", "fixed"])
def test_pushed_streams_are_the_reference_s(kind: str, tmp_path: Path) -> None:
    """Packets plain, with tables and a network, of each normalisation, layer by layer and in stripes."""
    bundle, plan = make(kind, tmp_path)
    frames = signal(7, bundle.codec.samples, FRAMES).reshape(FRAMES, -1)
    (pair,) = compared(bundle, frames, plan).pairs
    assert (pair.a, pair.b, pair.stage, pair.mismatches) == ("reference", "host-encoder", "packet", 0)
    # Packets have 4 bytes or more, and few frames are lost.
    assert pair.compared > 4 * (FRAMES - 6)


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_few_frames(count: int, tmp_path: Path) -> None:
    bundle, _ = make("tables", tmp_path)
    for seed in range(4):
        frames = signal(seed, bundle.codec.samples, count).reshape(count, -1)
        assert compared(bundle, frames).verdict == "equal"


def test_without_packets_there_is_no_encoder(bundle: Bundle) -> None:
    frames = bundle.frames()
    assert frames is not None
    assert compared(bundle, frames) == Comparison(())
    with pytest.raises(InputError, match="no packets"):
        HostShim(bundle).encoder()


def test_gaps_lie_in_the_stream_and_lose_one_frame_in_sixteen() -> None:
    lost = 0
    for seed in range(200):
        count, samples = 3 + seed % 96, 1 + seed % 40
        gaps = draw_gaps(random.Random(seed), count, samples)
        assert gaps
        assert all(length >= 0 for _, length in gaps)
        assert all(sum(one) <= other[0] for one, other in pairwise(gaps))
        assert 0 <= gaps[0][0] < sum(gaps[-1]) <= (count - 1) * samples
    for seed in range(200):
        hit = {
            n
            for start, length in draw_gaps(random.Random(seed), 96, 320)
            for n in range(start // 320, -(-(start + length) // 320))
        }
        lost += len(hit)
    assert 0.05 < lost / (200 * 96) < 0.075
    assert draw_gaps(random.Random(1), 2, 320) == []


def test_a_run_is_of_all_kinds_and_repeatable(tmp_path: Path) -> None:
    """Pushes of both types that are taken whole and in part."""
    bundle, _ = make("tables", tmp_path)
    frames = signal(8, bundle.codec.samples, 64).reshape(64, -1)
    shim = HostShim(bundle)
    runs = [push_stream(shim.encoder(), frames, [(100, 30)], (-32768, 32767), random.Random(5)) for _ in range(2)]
    assert runs[0] == runs[1]
    assert runs[0].pieces > 2 * len(frames)
    assert runs[0].busy > 0
    lost = {number // bundle.codec.samples for number in (100, 129)}
    assert len(runs[0].packets) == 64 - len(lost)
    other = push_stream(shim.encoder(), frames, [(100, 30)], (-32768, 32767), random.Random(6))
    assert (other.packets, other.pieces != runs[0].pieces) == (runs[0].packets, True)


def test_share_of_a_board_has_numbers_of_every_remainder() -> None:
    assert share_of(0) == []
    for count in range(1, 300):
        share = share_of(count)
        assert len(share) >= min(count, 8)
        assert share[0] == 0
        assert share[-1] < count
        assert len(share) <= max(23, count / 8)
    for count in (72, 150, 1000):
        assert {number % 8 for number in share_of(count)} == set(range(8))
    assert len(share_of(1000)) == 112


FRAME_ENDS = "e->at + count == e->model->info.samples && done + count < n"
BREAKS = {
    "a sample at a frame's end is dropped": [("    done += count;\n", f"    done += count + ({FRAME_ENDS});\n")],
    "a gap is not marked": [
        ("e->flags = EDC_PACKET_GAP;\n  } else", "e->flags = 0;\n  } else"),
        ("e->skips ? 0 : EDC_PACKET_GAP", "0"),
    ],
    "counts are rounded up": [("((int64_t)count - e->offset)", "((int64_t)count - e->offset + 1)")],
}


@pytest.mark.parametrize("what", BREAKS)
def test_a_broken_object_is_found(what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle, _ = make("tables", tmp_path)
    samples = bundle.codec.samples
    frames = signal(9, samples, 64).reshape(64, -1)
    source = (firmware_dir() / "codec" / "edc_encoder.c").read_text(encoding="utf-8")
    broken = source
    for right, wrong in BREAKS[what]:
        assert right in broken
        broken = broken.replace(right, wrong)
    whole = render.with_sources
    monkeypatch.setattr(
        "edgecodec.compile.library.with_sources", lambda generated: whole(generated) | {"edc_encoder.c": broken}
    )
    found = compared(bundle, frames, make_plan(bundle.codec))
    assert found.verdict == "different"
    divergence = found.first_divergence
    assert divergence is not None
    assert (divergence.a, divergence.b, divergence.stage) == ("reference", "host-encoder", "packet")
    assert divergence.position is not None


@pytest.mark.parametrize(("at", "bit"), [(0, 1), (0, 16), (0, 128), (1, 1), (-1, 1)])
def test_wrong_fragments_are_found(at: int, bit: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their number, the packet's, the mark of the last one, and a byte of the packet."""
    bundle, _ = make("tables", tmp_path)
    frames = signal(9, bundle.codec.samples, 4).reshape(4, -1)

    class Wrong:
        def __init__(self, lib: Any) -> None:
            self.lib = lib

        def __getattr__(self, name: str) -> Any:
            return getattr(self.lib, name)

        def edc_fragment(self, encoder: Any, mtu: int, out: Any, size: Any) -> int:
            status = self.lib.edc_fragment(encoder, mtu, out, size)
            if size[0]:
                out[at % size[0]] ^= bit
            return int(status)

    honest = HostShim.encoder

    def wrong(shim: HostShim) -> EncoderObject:
        encoder = honest(shim)
        encoder._lib = Wrong(encoder._lib)
        return encoder

    monkeypatch.setattr(HostShim, "encoder", wrong)
    found = compared(bundle, frames)
    assert found.verdict == "different"
    assert found.first_divergence is not None
    assert found.first_divergence.expected == -1


class Board:
    """A board whose encoder object may do anything."""

    name = "board"

    def __init__(self, packets: list[bytes], encoder_bytes: int = 100) -> None:
        self.hello = SimpleNamespace(encoder_bytes=encoder_bytes)
        self.packets = packets
        self.asked: list[int] = []

    def push(self, frames: Frames, numbers: Sequence[int], *, progress: object) -> list[bytes]:
        self.asked += numbers
        assert len(frames) == len(numbers)
        return [self.packets[number] for number in numbers]

    @property
    def device(self) -> BoardExecutor:
        """This, as what it stands for."""
        return cast("BoardExecutor", self)


def test_wrong_byte_of_a_board_s_encoder_is_named(bundle: Bundle, tmp_path: Path) -> None:
    packed = bundle_with_packets(bundle, tmp_path / "b", "tables")
    frames = ppg_frames(300, packed.codec.samples, 4)
    frames[27, 3] = 32767
    reference = ReferenceExecutor(packed.codec).stages(frames)
    format_ = packed.packets()
    assert format_ is not None
    said = zip(reference.indices, reference["offset"].tolist(), reference["spread"].tolist(), strict=True)
    packets = [
        format_.encode(*each, number, clipped=number == 27, gap=number % 256 > 0) for number, each in enumerate(said)
    ]
    board = Board(packets)
    (pair,) = compare_board(packed, board.device, frames, reference).pairs
    share = share_of(300)
    assert board.asked == share == [*range(0, 300, 9)]
    assert pair == Pair("reference", "board-encoder", "packet", sum(len(packets[number]) for number in share), 0)
    packets[27] = packets[27][:4] + bytes([packets[27][4] ^ 1]) + packets[27][5:]
    packets[36] = b""
    found = compare_board(packed, Board(packets).device, frames, reference)
    assert found.verdict == "different"
    assert found.first_divergence is not None
    assert (found.first_divergence.frame, found.first_divergence.position) == (27, 4)
    without = Board(packets, encoder_bytes=0)
    assert compare_board(packed, without.device, frames, reference).pairs == ()
    assert without.asked == []


def test_an_encoder_that_takes_no_samples_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle, _ = make("tables", tmp_path)
    encoder = HostShim(bundle).encoder()
    monkeypatch.setattr(encoder, "push", lambda *arguments: 0)
    frames = signal(1, bundle.codec.samples, 3).reshape(3, -1)
    with pytest.raises(EdgecodecError, match="takes no sample behind sample 0"):
        push_stream(encoder, frames, [], (-32768, 32767), random.Random(1))
    with pytest.raises(EdgecodecError, match="encoder object: "):
        HostShim(bundle).encoder().push(np.zeros(4, np.int16), 4, 0)


def test_a_packet_too_many_is_found(bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packed = bundle_with_packets(bundle, tmp_path / "b", "plain")
    frames = packed.frames()
    assert frames is not None
    honest = push_stream
    monkeypatch.setattr(
        "edgecodec.verify.pushed.push_stream",
        lambda *arguments: type(found := honest(*arguments))([*found.packets, b"xy"], found.pieces, found.busy),
    )
    comparison = compared(packed, frames)
    assert [pair.mismatches for pair in comparison.pairs] == [2]
    assert comparison.first_divergence is not None
    assert comparison.first_divergence.frame == len(frames) - 1


@pytest.mark.parametrize("encoder_bytes", [0, 100])
def test_firmware_without_encoder_is_said(bundle: Bundle, tmp_path: Path, encoder_bytes: int) -> None:
    packed = bundle_with_packets(bundle, tmp_path / "b", "plain")
    cost = Breakdown(1.0, 1.0, 1.0, 1.0)
    board = BoardRun("b", "tflm", encoder_bytes, 10, None, None, 4.0, None, cost, LinkStatistics())
    air = BitsOnAir(8.0, 8)
    document = replace(VerifyResult(packed.digest, 0, Comparison(()), (), {}).document, bits_on_air=air, runs=(board,))
    console = Console(file=StringIO(), width=200)
    _show(console, document)
    assert isinstance(console.file, StringIO)
    assert ("left out, tflm" in console.file.getvalue()) == (encoder_bytes == 0)
