"""Packets in a file, ``.ecs``: a header, and records that damage does not spread over (SPEC.md 5.7)."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from cobs import cobs

from edgecodec.errors import InputError
from edgecodec.files.regular import check_regular

SUFFIX = ".ecs"
MAGIC = b"\x89ECS"
VERSION = 1
MOST_CHANNELS = 128
_HEADER = struct.Struct("<4sBB32sdq")
_CHECK = struct.Struct("<I")
HEADER_BYTES = _HEADER.size + _CHECK.size
_MARK = struct.Struct("<BBQ")
_MARK_BIT = 0x80
_NO_START = -(1 << 63)
MOST_POSITION = 1 << 53
"""Sample numbers are below it: 4.5 million years at 64 Hz, and exact as float64."""
_CHUNK = 1 << 15
_KIND = "a stream of packets (.ecs)"


@dataclass(frozen=True)
class StreamHeader:
    """What a file says of its stream. Raises InputError for values that the header cannot hold."""

    digest: str
    """The bundle's, hex."""
    rate_hz: float | None = None
    """Sampling rate in Hz; None when it is not known."""
    start_us: int | None = None
    """When sample 0 was taken, in microseconds since 1970-01-01 UTC; None when it is not known."""
    channels: int = 1
    """Channels, numbered from 0."""

    def __post_init__(self) -> None:
        if not 1 <= self.channels <= MOST_CHANNELS:
            raise InputError(f"a stream of {self.channels} channels; expected 1..{MOST_CHANNELS}")
        if self.rate_hz is not None and not 0 < self.rate_hz < 1e6:
            raise InputError(f"a stream at {self.rate_hz:g} Hz; expected a sampling rate")
        if self.start_us is not None and not -(1 << 62) < self.start_us < 1 << 62:
            raise InputError(f"a stream that starts {self.start_us} us after 1970; expected fewer than 2^62")

    def to_bytes(self) -> bytes:
        """The header."""
        start = _NO_START if self.start_us is None else self.start_us
        packed = _HEADER.pack(MAGIC, VERSION, self.channels, bytes.fromhex(self.digest), self.rate_hz or 0.0, start)
        return packed + _CHECK.pack(zlib.crc32(packed))

    @classmethod
    def from_bytes(cls, data: bytes, where: object) -> StreamHeader | None:
        """Read a header; None when it is damaged. Raises InputError when ``data`` starts no stream of this version."""
        if data[: len(MAGIC)] != MAGIC:
            raise InputError(f"{where}: is no stream of packets; expected a file that `edgecodec encode` writes")
        if len(data) < HEADER_BYTES or zlib.crc32(data[: _HEADER.size]) != _CHECK.unpack_from(data, _HEADER.size)[0]:
            return None
        _, version, channels, digest, rate_hz, start = _HEADER.unpack_from(data)
        if version != VERSION:
            raise InputError(f"{where}: a stream of version {version}; this edgecodec reads version {VERSION}")
        return cls(digest.hex(), rate_hz or None, None if start == _NO_START else start, channels)


@dataclass(frozen=True)
class PacketRecord:
    """A packet, as it lay in the file: whether it is whole is for its own check to say."""

    at: int
    """Byte of the file at which the record starts."""
    channel: int
    """0..127"""
    packet: bytes
    """The packet."""


@dataclass(frozen=True)
class Mark:
    """Where the next packet of a channel lies in time, after samples that were not recorded."""

    at: int
    """Byte of the file at which the record starts."""
    channel: int
    """0..127"""
    sequence: int
    """Sequence number of that packet."""
    position: int
    """Number of the first sample of its frame."""


@dataclass(frozen=True)
class Garbage:
    """Bytes that are no record."""

    at: int
    """Byte of the file at which they start."""


Record = PacketRecord | Mark | Garbage


def packet_record(channel: int, packet: bytes) -> bytes:
    """A packet's record."""
    return bytes(cobs.encode(bytes([channel]) + packet)) + b"\0"


def mark_record(channel: int, sequence: int, position: int) -> bytes:
    """The record before a packet that does not follow its predecessor in time."""
    packed = _MARK.pack(_MARK_BIT | channel, sequence & 0xFF, position)
    return bytes(cobs.encode(packed + _CHECK.pack(zlib.crc32(packed)))) + b"\0"


@dataclass(frozen=True)
class StreamFile:
    """A file of packets that is read through once, in constant memory."""

    path: Path
    """The file."""
    header: StreamHeader | None
    """None when it is damaged."""

    @classmethod
    def open(cls, path: Path) -> StreamFile:
        """Read the header. Raises InputError unless ``path`` is a regular file that starts a stream."""
        check_regular(path, _KIND)
        try:
            with path.open("rb") as file:
                head = file.read(HEADER_BYTES)
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror}); expected {_KIND}") from error
        return cls(path, StreamHeader.from_bytes(head, path))

    def batches(self, most_bytes: int) -> Iterator[list[Record]]:
        """The records, those of some 32 KiB at a time; ``most_bytes`` is the longest packet's length.

        Raises InputError when the file cannot be read on.
        """
        try:
            with self.path.open("rb") as file:
                file.seek(HEADER_BYTES)
                yield from _records(file, most_bytes)
        except OSError as error:
            raise InputError(f"{self.path}: cannot be read ({error.strerror})") from error


def _records(file: BinaryIO, most_bytes: int) -> Iterator[list[Record]]:
    """Records behind the header. Nothing longer than the longest record is kept, whatever the file holds."""
    longest = len(packet_record(0, bytes(max(most_bytes, _MARK.size + _CHECK.size)))) + most_bytes // 254 + 2
    at, rest, lost = HEADER_BYTES, b"", False
    while chunk := file.read(_CHUNK):
        *whole, rest = (rest + chunk).split(b"\0")
        found: list[Record] = []
        for piece in whole:
            if piece or lost:
                found.append(_record(at, b"" if lost else piece))
            lost = False
            at += len(piece) + 1
        if len(rest) > longest:
            # Too long for a record, and its end is not in sight: what follows up to the next zero is part of it.
            at, rest, lost = at + len(rest), b"", True
        yield found
    if rest or lost:
        # A record without its zero: the stream ends within it, or the zero alone is missing.
        yield [_record(at, b"" if lost else rest)]


def _record(at: int, encoded: bytes) -> Record:
    try:
        data = cobs.decode(encoded)
    except cobs.DecodeError:
        return Garbage(at)
    if not data:
        return Garbage(at)
    if not data[0] & _MARK_BIT:
        return PacketRecord(at, data[0], bytes(data[1:]))
    if len(data) != _MARK.size + _CHECK.size:
        return Garbage(at)
    kind, sequence, position = _MARK.unpack_from(data)
    if zlib.crc32(data[: _MARK.size]) != _CHECK.unpack_from(data, _MARK.size)[0] or position >= MOST_POSITION:
        return Garbage(at)
    return Mark(at, kind & ~_MARK_BIT, sequence, position)


def packet_records(packets: Iterable[bytes], batch: int = 1024) -> Iterator[list[Record]]:
    """Packets of one channel as they came, with their number in place of a byte of a file."""
    found: list[Record] = []
    for number, packet in enumerate(packets):
        found.append(PacketRecord(number, 0, bytes(packet)))
        if len(found) == batch:
            yield found
            found = []
    if found:
        yield found
