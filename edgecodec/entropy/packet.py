"""Packets: the indices and side information of one frame as bytes for a radio (SPEC.md 5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from edgecodec.entropy.index_model import IndexModel, Indices
from edgecodec.entropy.range_coder import RangeDecoder, RangeEncoder
from edgecodec.entropy.side_information import WIDE_BYTES, SideInformation
from edgecodec.errors import InputError, PacketError

VERSION = 1
CHECK_BITS = 12
CHECK_POLYNOMIAL = 0x80F
"""x^12 + x^11 + x^3 + x^2 + x + 1 = (x + 1)(x^11 + x^2 + 1), the CRC-12 of 3GPP TS 25.212."""
_CHECK_START = 0xFFF
_CHECK_MASK = 0xFFF
_HEADER_BYTES = 2
_FRAME_BYTES = _HEADER_BYTES + 1
"""Header and the last byte, which is the check's lower half."""
MOST_LEVELS_LEFT_OUT = 7


class Form(IntEnum):
    """What the payload is."""

    CODED = 0
    PLAIN = 1
    FLAT = 2
    EXTENDED = 3
    """In the header alone: the form is in the byte of flags that follows."""


@dataclass(frozen=True)
class Packet:
    """What a packet says of its frame."""

    sequence: int
    """Number of the frame modulo 256."""
    form: Form
    """CODED, PLAIN or FLAT."""
    indices: npt.NDArray[np.uint16] | None
    """``[P, l]``, the first l levels; None for a flat frame."""
    offset: int
    """As the normaliser's, requantised; 0 when packets carry no side information. A flat frame's is exact."""
    spread: int
    """As the normaliser's, requantised; 0 for a flat frame."""
    clipped: bool
    """Whether the frame reached an end of the converter's range."""
    gap: bool
    """Whether samples were lost before the frame."""


@dataclass(frozen=True)
class PacketFormat:
    """The constants that a bundle's packets are made with.

    Raises InputError when the parts are not of one codec.
    """

    codebook_sizes: Sequence[int]
    """Codes of each level, K."""
    positions: int
    """P, latent vectors of a frame."""
    digest: str
    """The bundle's, hex; its first 12 bits are in each packet."""
    side: SideInformation | None
    """How location and scale are kept; None when the normaliser removes neither."""
    model: IndexModel | None = None
    """Model of the indices; None when all payloads are plain."""

    def __post_init__(self) -> None:
        if self.model is not None and list(self.model.codebook_sizes) != list(self.codebook_sizes):
            raise InputError(
                f"the index model is of codebooks {list(self.model.codebook_sizes)}; "
                f"the codec has {list(self.codebook_sizes)}"
            )

    @property
    def tag(self) -> int:
        """The digest's first 12 bits."""
        return int(self.digest[: CHECK_BITS // 4], 16)

    def plain_bytes(self, levels: int | None = None) -> int:
        """Bytes of a plain payload of the first ``levels`` levels."""
        return (self.positions * sum(map(index_bits, self.codebook_sizes[:levels])) + 7) // 8

    @property
    def most_bytes(self) -> int:
        """Bytes of the longest packet."""
        return _FRAME_BYTES + 1 + (WIDE_BYTES if self.side else 0) + self.plain_bytes()

    @property
    def buffer_bytes(self) -> int:
        """Bytes of the buffer that a device makes a packet in: the longest packet, with room for side information."""
        return _FRAME_BYTES + 1 + WIDE_BYTES + self.plain_bytes()

    def overhead_bytes(self, offset: int, spread: int) -> int:
        """Bytes around the payload of a frame that is not flat, without flags of its own."""
        if self.side is None:
            return _FRAME_BYTES
        common = self.side.is_common(*self.side.quantize(offset, spread))
        return _FRAME_BYTES + (self.side.common_bytes if common else 1 + WIDE_BYTES)

    def encode(
        self,
        indices: Indices,
        offset: int,
        spread: int,
        sequence: int,
        *,
        clipped: bool = False,
        gap: bool = False,
    ) -> bytes:
        """The packet of a frame.

        Args:
            indices: Whole numbers ``[P, l]`` of the first l levels, at least one; ignored for a flat frame.
            offset: The normaliser's.
            spread: The normaliser's; 0 is a flat frame where there is side information.
            sequence: Number of the frame modulo 256.
            clipped: Whether the frame reached an end of the converter's range.
            gap: Whether samples were lost before the frame.
        """
        flat = self.side is not None and spread == 0
        levels = len(self.codebook_sizes)
        side, wide, form, payload, left_out = b"", False, Form.FLAT, b"", 0
        if self.side is not None:
            side = _flat_value(offset, self.side) if flat else self.side.pack(*self.side.quantize(offset, spread))
            wide = len(side) == (4 if flat else WIDE_BYTES)
        if not flat:
            self._check_shape(indices)
            left_out = levels - indices.shape[1]
            form, payload = self._payload(indices)
        flags = form | clipped << 2 | gap << 3 | wide << 4 | left_out << 5
        extended = flags != form
        head = bytes([VERSION << 6 | (Form.EXTENDED if extended else form) << 4, sequence & 0xFF])
        body = head + (bytes([flags]) if extended else b"") + side + payload
        check = check_bits(body) ^ self.tag
        return bytes([body[0] | check >> 8]) + body[1:] + bytes([check & 0xFF])

    def implied_tag(self, packet: bytes) -> int:
        """The tag for which the check of ``packet`` is right: :attr:`tag` unless it is damaged or foreign.

        Packets of one other bundle all imply its tag; damage implies any.
        """
        if len(packet) < _FRAME_BYTES:
            raise PacketError(f"a packet of {len(packet)} bytes; expected at least {_FRAME_BYTES}")
        body = bytes([packet[0] & 0xF0]) + packet[1:-1]
        return ((packet[0] & 0x0F) << 8 | packet[-1]) ^ check_bits(body)

    def decode(self, packet: bytes) -> Packet:
        """Read a packet. Raises PacketError when it is cut, damaged, of another bundle or another version."""
        tag = self.implied_tag(packet)
        if tag != self.tag:
            raise PacketError(f"a packet is damaged, or of a bundle whose digest begins with {tag:03x}")
        if packet[0] >> 6 != VERSION:
            raise PacketError(f"a packet of version {packet[0] >> 6}; this edgecodec reads version {VERSION}")
        flags = packet[0] >> 4 & 3
        rest = packet[_HEADER_BYTES:-1]
        if flags == Form.EXTENDED:
            if not rest or rest[0] & 3 == Form.EXTENDED:
                raise PacketError("a packet without flags, or of an unknown form")
            flags, rest = rest[0], rest[1:]
        form, wide, levels = Form(flags & 3), bool(flags & 16), len(self.codebook_sizes) - (flags >> 5)
        if levels < 1 or (form is Form.FLAT and (self.side is None or flags >> 5)):
            raise PacketError("a packet's flags are of another codec")
        offset, spread, rest = self._side(form, wide, rest)
        indices = None if form is Form.FLAT else self._indices(form, rest, levels)
        if form is Form.FLAT and rest:
            raise PacketError(f"a packet of a flat frame has {len(rest)} bytes too many")
        return Packet(packet[1], form, indices, offset, spread, bool(flags & 4), bool(flags & 8))

    def _side(self, form: Form, wide: bool, rest: bytes) -> tuple[int, int, bytes]:
        if self.side is None:
            if wide:
                raise PacketError("a packet has side information; this codec's have none")
            return 0, 0, rest
        common = 2 if form is Form.FLAT else self.side.common_bytes
        size = (4 if form is Form.FLAT else WIDE_BYTES) if wide else common
        if len(rest) < size:
            raise PacketError("a packet ends within its side information")
        field, rest = rest[:size], rest[size:]
        if form is Form.FLAT:
            value = int.from_bytes(field, "little", signed=True)
            offset = value * self.side.samples if self.side.squared else value
            if not -(1 << 31) <= offset < 1 << 31:
                raise PacketError(f"a packet of a flat frame has the count {value}; its offset does not fit 32 bits")
            return offset, 0, rest
        try:
            return (*self.side.dequantize(*self.side.unpack(field)), rest)
        except InputError as error:
            raise PacketError(error.message) from error

    def _payload(self, indices: Indices) -> tuple[Form, bytes]:
        """The shorter payload; plain when they are equally long."""
        levels = indices.shape[1]
        plain = self.plain_bytes(levels)
        if self.model is not None:
            encoder = RangeEncoder(plain - 1)
            for start, size in self.model.intervals(indices):
                encoder.encode(start, size)
            coded = encoder.finish()
            if coded is not None:
                return Form.CODED, coded
        number = 0
        for row in indices.tolist():
            for index, codes in zip(row, self.codebook_sizes, strict=False):
                number = number << index_bits(codes) | index
        spare = 8 * plain - self.positions * sum(map(index_bits, self.codebook_sizes[:levels]))
        return Form.PLAIN, (number << spare).to_bytes(plain, "big")

    def _indices(self, form: Form, payload: bytes, levels: int) -> npt.NDArray[np.uint16]:
        plain = self.plain_bytes(levels)
        if form is Form.CODED:
            if self.model is None:
                raise PacketError("a packet is entropy-coded; this codec has no model of its indices")
            if len(payload) >= plain:
                raise PacketError(f"a coded payload of {len(payload)} bytes; expected fewer than {plain}")
            return self.model.decode(RangeDecoder(payload), self.positions, levels).astype(np.uint16)
        if len(payload) != plain:
            raise PacketError(f"a plain payload of {len(payload)} bytes; expected {plain}")
        bits = "".join(f"{byte:08b}" for byte in payload)
        found, at = np.empty((self.positions, levels), np.uint16), 0
        for row in found:
            for level in range(levels):
                codes, width = self.codebook_sizes[level], index_bits(self.codebook_sizes[level])
                row[level] = index = int(bits[at : at + width], 2)
                at += width
                if index >= codes:
                    raise PacketError(f"index {index} at level {level}; the codebook has {codes} codes")
        if "1" in bits[at:]:
            raise PacketError("bits after the last index are not zero")
        return found

    def _check_shape(self, indices: Indices) -> None:
        levels = len(self.codebook_sizes)
        if (
            indices.ndim != 2
            or indices.dtype.kind not in "iu"
            or indices.shape[0] != self.positions
            or not max(1, levels - MOST_LEVELS_LEFT_OUT) <= indices.shape[1] <= levels
        ):
            raise InputError(
                f"indices are {indices.dtype} {indices.shape}; expected whole numbers [{self.positions}, 1..{levels}]"
            )
        sizes = np.asarray(self.codebook_sizes[: indices.shape[1]])
        if np.any(indices < 0) or np.any(indices >= sizes):
            raise InputError(f"indices lie outside their codebooks of {list(self.codebook_sizes)} codes")


def index_bits(codes: int) -> int:
    """Bits of an index in a plain payload, ``ceil(log2 K)``, at least 1."""
    return max(1, (codes - 1).bit_length())


def check_bits(data: bytes) -> int:
    """The CRC of ``data``: polynomial :data:`CHECK_POLYNOMIAL`, from 0xFFF, most significant bit first."""
    check = _CHECK_START
    for byte in data:
        check ^= byte << (CHECK_BITS - 8)
        for _ in range(8):
            carry = check >> (CHECK_BITS - 1)
            check = (check << 1 & _CHECK_MASK) ^ (CHECK_POLYNOMIAL if carry else 0)
    return check


def _flat_value(offset: int, side: SideInformation) -> bytes:
    """The count of a flat frame: 2 bytes, or 4 where it leaves int16."""
    value = offset // side.samples if side.squared else offset
    return value.to_bytes(2 if -(1 << 15) <= value < 1 << 15 else 4, "little", signed=True)
