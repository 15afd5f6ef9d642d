"""Packets: read as written, never longer than plain packing, and refused when cut, damaged or foreign."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from edgecodec.entropy.packet import CHECK_BITS, CHECK_POLYNOMIAL, Form, PacketFormat, check_bits
from edgecodec.entropy.side_information import SideInformation
from edgecodec.errors import InputError, PacketError
from tests.independent_coder import reads
from tests.packets import SIDE, frames, likely, network, packet_format, tables, walk
from tests.tools import require

SIZES = (256, 256)


@pytest.fixture(scope="module")
def coded() -> PacketFormat:
    return packet_format(0x5EC, tables(1, 40, SIZES), 40, SIZES)


def test_bytes_by_hand() -> None:
    """Two positions of 4 codes and 2: 1 0, 3 1 are the bits 01 0 11 1, padded to 0101 1100."""
    packets = PacketFormat((4, 2), 2, "5ec", None)
    indices = np.array([[1, 0], [3, 1]])
    packet = packets.encode(indices, 0, 0, 7)
    check = check_bits(bytes([0x50, 7, 0b01011100])) ^ 0x5EC
    assert packet == bytes([0x50 | check >> 8, 7, 0b01011100, check & 0xFF])
    assert packets.decode(packet).indices.tolist() == indices.tolist()


def test_flat_frame_by_hand() -> None:
    packets = PacketFormat((4, 2), 2, "5ec", SIDE)
    packet = packets.encode(np.zeros((2, 2), int), -5 * 320, 0, 300)
    assert packet[0] >> 4 == 0b0110
    assert packet[1:4] == bytes([300 - 256]) + (-5).to_bytes(2, "little", signed=True)
    read = packets.decode(packet)
    assert (read.form, read.offset, read.spread, read.indices) == (Form.FLAT, -5 * 320, 0, None)
    wide = packets.encode(np.zeros((2, 2), int), 70000 * 320, 0, 0)
    assert packets.decode(wide).offset == 70000 * 320


@pytest.mark.parametrize("sizes", [(256, 256), (16,), (3, 1, 7), (256, 17, 2, 256), (1,)])
@pytest.mark.parametrize(
    "side", [SIDE, None, SideInformation(320, 5, 6, 100, 10, 2), SideInformation(320, 8, 8, squared=False)]
)
def test_reads_what_it_wrote(sizes: tuple[int, ...], side: SideInformation | None) -> None:
    positions = 20
    given = frames(3, 30, positions, sizes)
    for model in (None, tables(2, positions, sizes)):
        packets = packet_format(9, model, positions, sizes, side)
        forms = set()
        for number, indices in enumerate(given.indices):
            offset, spread = given.offsets[number], given.spreads[number]
            levels = 1 + number % len(sizes)
            clipped, gap = number % 3 == 0, number % 5 == 0
            packet = packets.encode(indices[:, :levels], offset, spread, number, clipped=clipped, gap=gap)
            assert len(packet) <= packets.most_bytes
            read = packets.decode(packet)
            forms.add(read.form)
            assert (read.sequence, read.clipped, read.gap) == (number, clipped, gap)
            if read.form is Form.FLAT:
                assert side is not None
                assert (read.offset, read.spread) == (offset // 320 * 320 if side.squared else offset, 0)
                continue
            assert read.indices.tolist() == indices[:, :levels].tolist()
            expected = (0, 0) if side is None else side.dequantize(*side.quantize(offset, spread))
            assert (read.offset, read.spread) == expected
        assert (Form.CODED in forms) == (model is not None)


def test_never_longer_than_plain(coded: PacketFormat) -> None:
    plain = packet_format(0x5EC, None, 40, SIZES)
    rng = np.random.default_rng(4)
    forms = set()
    for _ in range(50):
        indices = rng.integers(0, 256, (40, 2))
        packet = coded.encode(indices, 0, 1 << 30, 0)
        forms.add(packet[0] >> 4 & 3)
        assert len(packet) <= len(plain.encode(indices, 0, 1 << 30, 0))
    assert Form.PLAIN in forms


def test_six_bytes_around_the_payload(coded: PacketFormat) -> None:
    """Header, side information and check take 48 bits, and coding 3 bits more than its model says."""
    indices = walk(5, 100, 40, SIZES)
    sizes = [len(coded.encode(frame, 1000 * 320, 1 << 32, 0)) * 8 for frame in indices]
    ideal = coded.model.code_lengths(indices).sum(axis=(1, 2))
    assert np.mean(sizes) - np.mean(ideal) - 48 < 5
    assert np.max(sizes - ideal) <= 48 + 16


@pytest.mark.parametrize("kind", ["tables", "network"])
def test_an_independent_coder_reads_payloads(kind: str) -> None:
    """What lies between side information and check is read by the package ``constriction``, given the same shares."""
    require("module:constriction")
    model = tables(1, 40, (16, 16), 2048) if kind == "tables" else network(1, (16, 16))
    packets = packet_format(1, model, 40, (16, 16))
    coded = 0
    for frame in likely(model, 2, 20, 40):
        packet = packets.encode(frame, 1000, 1 << 30, 0)
        if packets.decode(packet).form is Form.CODED:
            coded += 1
            assert reads(packet[5:-1], list(model.intervals(frame)))
    assert coded


def test_every_error_of_up_to_three_bits_is_found() -> None:
    """The polynomial is (x + 1)(x^11 + x^2 + 1), whose second factor is primitive: a distance of 4 up to 2,047 bits."""
    polynomial, order, value = 1 << CHECK_BITS | CHECK_POLYNOMIAL, 1, 2
    while value != 1:
        value <<= 1
        if value >> CHECK_BITS:
            value ^= polynomial
        order += 1
    assert order == 2047
    packets = PacketFormat((4, 2), 2, "5ec", None)
    packet = packets.encode(np.array([[1, 0], [3, 1]]), 0, 0, 7)
    for bits in itertools.chain(*(itertools.combinations(range(8 * len(packet)), count) for count in (1, 2, 3))):
        damaged = bytearray(packet)
        for bit in bits:
            damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(PacketError, match="damaged"):
            packets.decode(bytes(damaged))


def test_damage_is_found_or_harmless(coded: PacketFormat) -> None:
    """Bursts of up to 12 bits within a byte stream, cut and lengthened packets: refused, nothing else ever raised."""
    rng = np.random.default_rng(6)
    passed = 0
    for frame in walk(7, 60, 40, SIZES):
        packet = coded.encode(frame, 5000, 1 << 33, 1)
        for cut in range(len(packet)):
            passed += _accepted(coded, packet[:cut])
        passed += _accepted(coded, packet + b"\0") + _accepted(coded, bytes(len(packet))) + _accepted(coded, b"")
        for _ in range(20):
            garbage = rng.integers(0, 256, len(packet), dtype=np.uint8).tobytes()
            passed += _accepted(coded, garbage)
            # Damage behind a right check: what only the decoder itself can find.
            _accepted(coded, _sealed(coded, bytes([packet[0] & 0xF0]) + garbage[1:-1]))
    assert passed <= 6  # of some 6,000, 2^-12 each


def _sealed(packets: PacketFormat, body: bytes) -> bytes:
    """A packet with a right check around ``body``, whose first byte has its low nibble free."""
    check = check_bits(body) ^ packets.tag
    return bytes([body[0] | check >> 8]) + body[1:] + bytes([check & 0xFF])


def test_what_only_the_decoder_can_find() -> None:
    """Bits and bytes that are too many, and codes that there are not, behind a right check."""
    packets = PacketFormat((3, 2), 1, "5ec", SIDE, tables(1, 1, (3, 2)))
    side = SIDE.pack(*SIDE.quantize(1000, 1 << 30))
    plain, coded, flat = (bytes([0x40 | form << 4, 0]) for form in (Form.PLAIN, Form.CODED, Form.FLAT))
    assert packets.decode(_sealed(packets, plain + side + b"\xa0")).indices.tolist() == [[2, 1]]
    for body, message in (
        (plain + side + b"\xe0", "index 3 at level 0; the codebook has 3 codes"),
        (plain + side + b"\xb0", "bits after the last index are not zero"),
        (plain + side + b"\xa1", "bits after the last index are not zero"),
        (coded + side + b"\xa0", "a coded payload of 1 bytes; expected fewer than 1"),
        (flat + b"\0\0\0", "a packet of a flat frame has 1 bytes too many"),
    ):
        with pytest.raises(PacketError, match=message):
            packets.decode(_sealed(packets, body))


def _accepted(packets: PacketFormat, packet: bytes) -> bool:
    try:
        packets.decode(packet)
    except PacketError:
        return False
    return True


def test_foreign_packets_all_imply_the_same_tag(coded: PacketFormat) -> None:
    other = packet_format(0x123, coded.model, 40, SIZES)
    packets = [other.encode(frame, 0, 1 << 30, number) for number, frame in enumerate(walk(8, 20, 40, SIZES))]
    assert {coded.implied_tag(packet) for packet in packets} == {0x123}
    with pytest.raises(PacketError, match="digest begins with 123"):
        coded.decode(packets[0])


def test_refuses_what_is_of_no_codec(coded: PacketFormat) -> None:
    with pytest.raises(InputError, match=r"expected whole numbers \[40, 1..2\]"):
        coded.encode(np.zeros((39, 2), int), 0, 1, 0)
    with pytest.raises(InputError, match="outside their codebooks"):
        coded.encode(np.full((40, 2), 256), 0, 1, 0)
    with pytest.raises(InputError, match="index model is of codebooks"):
        packet_format(1, coded.model, 40, (256, 255))
    version = coded.encode(np.zeros((40, 2), int), 0, 1 << 30, 0)
    with pytest.raises(PacketError, match="version 2"):
        coded.decode(_sealed(coded, bytes([version[0] & 0x30 | 2 << 6]) + version[1:-1]))
