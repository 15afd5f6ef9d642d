"""The C of packets equals the reference to the byte."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgecodec.entropy.packet import Form, PacketFormat
from edgecodec.entropy.side_information import SideInformation
from tests.bitexact.c_packets import CLIPPED, GAP, Writer, finish
from tests.packets import SIDE, frames, network, packet_format, tables
from tests.tools import require

SIDES = [
    SIDE,
    None,
    SideInformation(320, 5, 6, 100, 10, 2),
    SideInformation(320, 9, 9, 8000, 11, 4),
    SideInformation(320, 8, 8, squared=False),
]


def _agree(packets: PacketFormat, seed: int, count: int, simd: bool = False) -> set[Form]:
    """Whether C and reference write the same of ``count`` frames; the forms that were among them."""
    given = frames(seed, count, packets.positions, tuple(packets.codebook_sizes), packets.model)
    writer, forms = Writer(packets, simd), set()
    total = len(packets.codebook_sizes)
    for number, indices in enumerate(given.indices):
        offset, spread = given.offsets[number], given.spreads[number]
        levels = total if number % 3 else 1 + number // 3 % total
        flags = (CLIPPED if number % 5 == 0 else 0) | (GAP if number % 7 == 0 else 0)
        got = writer.write(indices, levels, offset, spread, number & 0xFF, flags)
        want = packets.encode(
            indices[:, :levels], offset, spread, number, clipped=bool(flags & CLIPPED), gap=bool(flags & GAP)
        )
        assert got == want, f"frame {number}"
        read = packets.decode(got)
        assert read.indices is None or read.indices.tolist() == indices[:, :levels].tolist()
        forms.add(read.form)
    return forms


@pytest.mark.parametrize("side", SIDES, ids=["common", "none", "short", "long", "linear"])
@pytest.mark.parametrize(
    ("positions", "sizes"),
    [(40, (256, 256)), (20, (16,)), (7, (3, 1, 7)), (5, (256, 17, 2, 256)), (3, (1,)), (1, (2,))],
)
def test_c_equals_the_reference(positions: int, sizes: tuple[int, ...], side: SideInformation | None) -> None:
    require("cc", "Python.h")
    for model in (None, tables(positions, positions, sizes)):
        forms = _agree(packet_format(0xABC, model, positions, sizes, side), 5, 30)
        assert (Form.CODED in forms) == (model is not None)
        assert (Form.FLAT in forms) == (side is not None)


@pytest.mark.parametrize("simd", [False, True], ids=["portable", "simd"])
@pytest.mark.parametrize(
    ("positions", "sizes", "shape"),
    [
        (40, (256, 256), {}),
        (20, (16,), {"channels": 4, "hidden": 4, "embedding": 1, "dilations": (16, 8, 1, 1)}),
        (7, (3, 1, 7), {"channels": 12, "dilations": ()}),
        (25, (256, 17, 2, 256), {"channels": 20, "hidden": 16, "embedding": 5}),
        (40, (200, 200), {"gain": 6}),
        (1, (2,), {}),
    ],
)
def test_network_equals_the_reference(
    positions: int, sizes: tuple[int, ...], shape: dict[str, int], simd: bool
) -> None:
    require("cc", "Python.h")
    forms = _agree(packet_format(0xABC, network(6, sizes, **shape), positions, sizes), 7, 12, simd)
    assert Form.CODED in forms


def test_plain_indices_of_every_width() -> None:
    require("cc", "Python.h")
    for sizes in [(2, 3, 5, 9, 17, 33, 65, 129), (257, 1000, 5000), (65536, 2, 65536)]:
        _agree(packet_format(0, None, 11, sizes), 6, 10)


def test_sums_of_zero() -> None:
    """A decision whose sum is 0 is taken as one of the least positive sum: neither way is as likely as the other."""
    require("cc", "Python.h")
    model = network(6, (17, 17))
    levels = tuple(
        replace(head, nodes=np.zeros_like(head.nodes), node_bias=np.zeros_like(head.node_bias)) for head in model.levels
    )
    assert Form.CODED in _agree(packet_format(0xABC, replace(model, levels=levels), 20, (17, 17)), 8, 12)


@pytest.mark.parametrize(
    "side", [side for side in SIDES if side is not None], ids=["common", "short", "long", "linear"]
)
def test_ends_of_the_common_form(side: SideInformation) -> None:
    """Locations and scales at both ends of what the common form holds, and one beyond."""
    require("cc", "Python.h")
    packets = PacketFormat((2,), 1, "abc", side)
    writer, lengths = Writer(packets), set()
    half, last = 1 << side.location_field - 1, side.first_scale + (1 << side.scale_field) - 1
    for scale in (side.first_scale + 50, side.first_scale, side.first_scale - 1, last, last + 1):
        if not 0 <= scale < 58 << side.fraction_bits:
            continue
        spread = side.dequantize(scale, 0)[1]
        for location in (-half - 1, -half, -half + 1, half - 1, half):
            offset = side.dequantize(scale, location)[0]
            if spread == 0 or abs(offset) >= 1 << 29 or side.quantize(offset, spread) != (scale, location):
                continue
            got = writer.write(np.zeros((1, 1)), 1, offset, spread, 0)
            assert got == packets.encode(np.zeros((1, 1), int), offset, spread, 0)
            lengths.add((location == -half, len(got)))
    assert {length for lowest, length in lengths if lowest} >= {3 + side.common_bytes + 1}
    assert len({length for _, length in lengths}) == 2


def test_every_bit_of_the_scale_s_roots() -> None:
    """Locations of 30 bits, which a scale that is off by 2^-31 of itself shows."""
    require("cc", "Python.h")
    side = SideInformation(320, 9, 9)
    packets = PacketFormat((2,), 1, "abc", side)
    writer, rng = Writer(packets), np.random.default_rng(4)
    for _ in range(400):
        offset, spread = int(rng.integers(1 << 28, 1 << 29)), int(rng.integers(1 << 15, 1 << 17))
        assert side.quantize(offset, spread)[1] >= 1 << 28
        got = writer.write(np.zeros((1, 1)), 1, offset, spread, 0)
        assert got == packets.encode(np.zeros((1, 1), int), offset, spread, 0)


def test_payload_is_the_shortest_number_within_the_interval() -> None:
    require("cc", "Python.h")
    rng = np.random.default_rng(5)
    # Intervals, of which the first ends where the last byte written would grow by one.
    lows = [(1 << 64) - (1 << 40), *(rng.integers(1 << 63, size=500, dtype=np.uint64) << np.uint64(1)).tolist()]
    widths = [1 << 40, *(1 << 32 | rng.integers(1 << 62, size=500) >> rng.integers(31, size=500)).tolist()]
    for low, width in zip(lows, widths, strict=True):
        payload = finish(low, width, b"\x01\x02")
        number = int.from_bytes(payload.ljust(10, b"\0"), "big")
        whole = (0x0102 << 64) + low
        assert whole <= number < whole + width
        # None of a byte less lies within it.
        unit = 1 << 8 * (11 - len(payload))
        assert -(-whole // unit) * unit >= whole + width


def test_carries_and_full_payloads() -> None:
    """Tables of indices that are as good as impossible: payloads run full, and past many bytes of 255."""
    require("cc", "Python.h")
    packets = packet_format(7, tables(1, 40, (256, 256), 4096), 40, (256, 256))
    rng = np.random.default_rng(1)
    writer = Writer(packets)
    forms = set()
    for number in range(300):
        top = int(rng.integers(2, 257))
        indices = rng.integers(0, top, (40, 2))
        indices[: number % 40] = rng.integers(0, 256)
        got = writer.write(indices, 2, 0, 1 << 30, 0)
        assert got == packets.encode(indices, 0, 1 << 30, 0)
        forms.add(packets.decode(got).form)
    assert forms == {Form.CODED, Form.PLAIN}
