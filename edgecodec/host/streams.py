"""Streams of packets of a bundle, written and read with what is quickest on this machine."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgecodec.bundle import Bundle
from edgecodec.decoding.stream import ChannelMerger, FrameBlock, Samples, StreamDecoder, StreamReport
from edgecodec.entropy.packet import PacketFormat
from edgecodec.entropy.packet_stream import (
    MOST_CHANNELS,
    Record,
    StreamFile,
    StreamHeader,
    mark_record,
    packet_record,
    packet_records,
)
from edgecodec.errors import BundleError, InputError
from edgecodec.host.decode import fastest_decoder
from edgecodec.host.encoders import fastest_encoder
from edgecodec.host.packets import CLIPPED, GAP, PacketShim
from edgecodec.host.unpack import fastest_unpacker
from edgecodec.signal.counts import COUNT_MAX, COUNT_MIN

_FRAMES = 1024
"""Frames that are encoded at a time."""


def packets_of(bundle: Bundle) -> PacketFormat:
    """The format of a bundle's packets. Raises BundleError when it has none."""
    found = bundle.packets()
    if found is None:
        hint = f"make one that has: edgecodec refit {bundle.path} --frames FILE -o FOLDER"
        raise BundleError(f"{bundle.path}: says nothing of packets", hint=hint)
    return found


@dataclass(frozen=True)
class PacketSource:
    """A stream of packets that is read once."""

    decoder: StreamDecoder
    """What decodes it."""
    records: Iterable[list[Record]]
    """Its records."""
    channels: int
    """Channels, numbered from 0."""
    samples: int
    """T, counts of a frame."""
    rate_hz: float | None
    """Sampling rate in Hz; None when it is not known."""
    start_us: int | None
    """When sample 0 was taken, in microseconds since 1970-01-01 UTC; None when it is not known."""
    header_damaged: bool = False
    """Whether the file's header is damaged."""

    def blocks(self) -> Iterator[FrameBlock]:
        """Its frames, channel by channel within each batch."""
        return self.decoder.blocks(self.records)

    def samples_of_channels(self) -> Iterator[Samples]:
        """Its channels side by side, by time."""
        merger = ChannelMerger(self.channels, self.samples)
        for block in self.blocks():
            yield from merger.add(block)
        yield from merger.rest()

    def report(self) -> StreamReport:
        """How it came through, once it was read."""
        return self.decoder.report(header_damaged=self.header_damaged)


def open_stream(bundle: Bundle, path: str | os.PathLike[str], *, threads: int | None = None) -> PacketSource:
    """The stream of an ``.ecs`` file. Where its header is damaged, the bundle says the rate, and nobody the start.

    Raises BundleError when the bundle has no packets or no decoder, InputError when the file is no stream, or another
    bundle's.
    """
    file, packets = StreamFile.open(Path(path)), packets_of(bundle)
    header = file.header
    if header is not None and header.digest != bundle.digest:
        raise InputError(f"{path}: was encoded with bundle {header.digest[:12]}; {bundle.path} is {bundle.digest[:12]}")
    channels = MOST_CHANNELS if header is None else header.channels
    if header is None:
        channels = 1 + max(_channels_with_packets(file, packets), default=0)
    return PacketSource(
        _decoder(bundle, packets, channels, threads, from_first=False),
        file.batches(packets.most_bytes),
        channels,
        bundle.codec.samples,
        bundle.rate_hz if header is None else header.rate_hz,
        None if header is None else header.start_us,
        header is None,
    )


def stream_of(bundle: Bundle, packets: Iterable[bytes], *, threads: int | None = None) -> PacketSource:
    """The stream of one channel's packets. Raises BundleError when the bundle has no packets or no decoder."""
    decoder = _decoder(bundle, packets_of(bundle), 1, threads, from_first=True)
    return PacketSource(decoder, packet_records(packets), 1, bundle.codec.samples, bundle.rate_hz, None)


def _decoder(
    bundle: Bundle, packets: PacketFormat, channels: int, threads: int | None, *, from_first: bool
) -> StreamDecoder:
    frames = fastest_decoder(bundle, threads=threads)
    unpacker = fastest_unpacker(packets, threads=threads)
    return StreamDecoder(frames, unpacker, packets.tag, channels, from_first=from_first)


def _channels_with_packets(file: StreamFile, packets: PacketFormat) -> set[int]:
    """Channels of which there are good packets, for a file that does not say."""
    from edgecodec.entropy.packet_stream import PacketRecord

    unpacker, found = fastest_unpacker(packets), set()
    for batch in file.batches(packets.most_bytes):
        records = [record for record in batch if isinstance(record, PacketRecord)]
        status = unpacker.unpack([record.packet for record in records]).status
        found |= {record.channel for record, each in zip(records, status, strict=True) if each == 0}
    return found


@dataclass(frozen=True)
class ChannelFrames:
    """Frames of one channel to encode."""

    frames: npt.NDArray[np.int16]
    """ADC counts ``[N, T]``."""
    starts: npt.NDArray[np.int64]
    """Number of each frame's first sample, ascending, ``[N]``."""
    gaps: npt.NDArray[np.bool_]
    """Whether each does not follow its predecessor in time, ``[N]``."""


class StreamEncoder:
    """Writes streams of a bundle's packets with the C that devices run.

    Raises BundleError when the bundle has no packets, BuildError when its C cannot be built.
    """

    def __init__(self, bundle: Bundle, *, threads: int | None = None) -> None:
        self._packets = PacketShim(packets_of(bundle))
        self._encoder = fastest_encoder(bundle, threads=threads)
        self._digest, self._rate_hz = bundle.digest, bundle.rate_hz

    def encode(self, channels: list[ChannelFrames], start_us: int | None = None) -> Iterator[bytes]:
        """The file in pieces: header, then the channels' packets by turns, some thousand frames at a time."""
        yield StreamHeader(self._digest, self._rate_hz, start_us, len(channels)).to_bytes()
        for first in range(0, max(len(channel.frames) for channel in channels), _FRAMES):
            part = slice(first, first + _FRAMES)
            for number, channel in enumerate(channels):
                yield self._records(number, channel, part)

    def _records(self, channel: int, given: ChannelFrames, part: slice) -> bytes:
        frames, gaps = given.frames[part], given.gaps[part]
        if not len(frames):
            return b""
        stages = self._encoder.stages(frames)
        assert stages.indices is not None
        assert stages.offset is not None
        assert stages.spread is not None
        ends = (frames.min(axis=1) == COUNT_MIN) | (frames.max(axis=1) == COUNT_MAX)
        packets = self._packets.encode(
            stages.indices,
            stages.offset.tolist(),
            stages.spread.tolist(),
            part.start,
            (np.where(ends, CLIPPED, 0) | np.where(gaps, GAP, 0)).tolist(),
        )
        made = []
        for number, packet in enumerate(packets):
            if gaps[number]:
                made.append(mark_record(channel, part.start + number, int(given.starts[part.start + number])))
            made.append(packet_record(channel, packet))
        return b"".join(made)
