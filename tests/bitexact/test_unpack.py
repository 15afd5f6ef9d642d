"""The unpacker in C says of every packet, whole, damaged or made up, what the reference says."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest

from edgecodec.entropy.index_model import IndexModel
from edgecodec.entropy.packet import PacketFormat, check_bits
from edgecodec.entropy.side_information import SideInformation
from edgecodec.entropy.unpacking import ReferenceUnpacker, Status, Unpacked
from edgecodec.errors import InputError
from edgecodec.host.unpack import PacketUnpacker
from tests.packets import SIDE, frames, network, packet_format, tables
from tests.tools import require

SIDES = [
    SIDE,
    None,
    SideInformation(320, 5, 6, 100, 10, 2),
    SideInformation(320, 9, 9, 8000, 11, 4),
    SideInformation(320, 8, 8, squared=False),
]


def _packets(packets: PacketFormat, count: int) -> list[bytes]:
    given = frames(5, count, packets.positions, tuple(packets.codebook_sizes), packets.model)
    total = len(packets.codebook_sizes)
    made = []
    for number, indices in enumerate(given.indices):
        levels = total if number % 3 else max(1, total - number // 3 % total)
        side = given.offsets[number], given.spreads[number]
        made.append(packets.encode(indices[:, :levels], *side, number, clipped=number % 5 == 0, gap=number % 7 == 0))
    return made


def _sealed(body: bytes, packets: PacketFormat) -> bytes:
    """``body``, all but the last byte of a packet, with a check that is right."""
    body = bytes([body[0] & 0xF0]) + body[1:]
    check = check_bits(body) ^ packets.tag
    return bytes([body[0] | check >> 8]) + body[1:] + bytes([check & 0xFF])


def _hostile(packets: PacketFormat, good: list[bytes]) -> list[bytes]:
    """Cut, damaged and made-up packets, most of them with a check that is right."""
    rng = np.random.default_rng(8)
    made = [b"", b"\x40", b"\x40\x01"]
    for packet in good:
        body = bytearray(packet[:-1])
        made.append(packet[: int(rng.integers(len(packet)))])
        for _ in range(2):
            body[int(rng.integers(len(body)))] = int(rng.integers(256))
            made += [bytes(body) + packet[-1:], _sealed(bytes(body), packets)]
        made.append(_sealed(bytes(body[: int(rng.integers(2, len(body) + 1))]), packets))
        made.append(_sealed(bytes(body) + rng.bytes(3), packets))
    for form in range(4):
        for flags in range(0, 256, 3):
            length = int(rng.integers(0, 40))
            made.append(_sealed(bytes([0x40 | form << 4, flags, flags]) + rng.bytes(length), packets))
            made.append(_sealed(bytes([0x40 | form << 4, flags, flags]) + b"\xff" * length, packets))
    return made


def _agree(packets: PacketFormat, count: int, threads: int = 1) -> Unpacked:
    require("cc", "Python.h")
    given = _packets(packets, count)
    given += _hostile(packets, given)
    got, want = PacketUnpacker(packets, threads=threads).unpack(given), ReferenceUnpacker(packets).unpack(given)
    for field in fields(Unpacked):
        found, expected = getattr(got, field.name), getattr(want, field.name)
        assert found.dtype == expected.dtype
        wrong = np.flatnonzero((found != expected).reshape(len(given), -1).any(axis=1))
        assert wrong.size == 0, f"{field.name} of packet {wrong[0]}, {given[wrong[0]].hex()}"
    assert (got.status[:count] == Status.GOOD).all()
    return got


@pytest.mark.parametrize("side", SIDES, ids=["common", "none", "short", "long", "linear"])
@pytest.mark.parametrize(
    ("positions", "sizes"),
    [(40, (256, 256)), (20, (16,)), (7, (3, 1, 7)), (5, (256, 17, 2, 256)), (3, (1,)), (1, (2,))],
)
def test_tables(positions: int, sizes: tuple[int, ...], side: SideInformation | None) -> None:
    for model in (None, tables(positions, positions, sizes)):
        found = _agree(packet_format(0xABC, model, positions, sizes, side), 20)
        assert set(found.status) == set(Status)


@pytest.mark.parametrize(
    ("positions", "sizes", "shape"),
    [
        (40, (256, 256), {}),
        (20, (16,), {"channels": 4, "hidden": 4, "embedding": 1, "dilations": (16, 8, 1, 1)}),
        (7, (3, 1, 7), {"channels": 12, "dilations": ()}),
        (9, (256, 17, 2, 256), {"channels": 20, "hidden": 16, "embedding": 5}),
        (40, (200, 200), {"gain": 6}),
        (1, (2,), {}),
    ],
)
def test_network(positions: int, sizes: tuple[int, ...], shape: dict[str, int]) -> None:
    model: IndexModel = network(6, sizes, **shape)
    found = _agree(packet_format(0xABC, model, positions, sizes), 4)
    assert Status.REFUSED in found.status


def test_plain_indices_of_every_width() -> None:
    for sizes in [(2, 3, 5, 9, 17, 33, 65, 129), (257, 1000, 5000), (65536, 2, 65536)]:
        _agree(packet_format(0, None, 11, sizes), 6)


def test_threads_give_the_same() -> None:
    _agree(packet_format(0xABC, tables(1, 6, (16, 16)), 6, (16, 16)), 300, threads=2)
    with pytest.raises(InputError, match="threads is 0"):
        PacketUnpacker(packet_format(0, None, 4, (16,)), threads=0)


def test_no_packets() -> None:
    require("cc", "Python.h")
    assert PacketUnpacker(packet_format(0, None, 4, (16,))).unpack([]).indices.shape == (0, 4, 1)
