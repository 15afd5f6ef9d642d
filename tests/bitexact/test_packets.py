"""The C of packets equals the reference to the byte."""

from __future__ import annotations

import numpy as np
import pytest

from edgecodec.entropy.packet import Form, PacketFormat
from edgecodec.entropy.side_information import SideInformation
from tests.bitexact.c_packets import CLIPPED, GAP, Writer
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
