"""Streams of packets back to PPG: what is lost, doubled, late, damaged or foreign is told and costs only itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from edgecodec.decoding.decoder import FrameDecoder, chosen
from edgecodec.entropy.packet_stream import Garbage, Mark, PacketRecord, Record
from edgecodec.entropy.unpacking import Status, Unpacked, Unpacker

WINDOW = 128
"""Sequence numbers that a packet may come late by."""
_MODULUS = 256
_MOST_FAULTS = 64
_TAGS = 4096


@dataclass(frozen=True)
class Fault:
    """What is wrong at one place of a stream."""

    kind: str
    """`lost`, `doubled`, `reordered`, `late`, `damaged`, `foreign` or `gap`."""
    at: int | None
    """Byte of the file, or number of the packet given; null for frames that never came."""
    channel: int | None
    """Channel; null where damage leaves it unknown."""
    frame: int | None
    """Number of the frame, or of the first of those lost; null where damage leaves it unknown."""
    count: int
    """Frames lost; 1 for everything else."""


@dataclass(frozen=True)
class StreamReport:
    """How a stream came through."""

    frames: int
    """Frames decoded, of all channels."""
    lost: int
    """Frames whose sequence number no good packet had, those of damaged packets among them."""
    doubled: int
    """Packets of frames that were there already; left out."""
    reordered: int
    """Packets that came behind later ones, and were put in their place."""
    late: int
    """Packets that came too late for that; left out."""
    damaged: int
    """Pieces of the stream that are no good packet."""
    foreign: int
    """Packets of other bundles: many that imply one and the same other tag."""
    gaps: int
    """Packets that say that samples were lost before them, with no mark that says how many: times behind are early."""
    header_damaged: bool
    """Whether the header is damaged, so that start and channels are not known."""
    faults: list[Fault]
    """The first faults, at most 64."""

    def __str__(self) -> str:
        parts = [f"{self.frames} frames"]
        named = ("lost", "doubled", "reordered", "late", "damaged", "foreign", "gaps")
        parts += [
            f"{name} {getattr(self, name)}" for name in named if name not in ("late", "gaps") or getattr(self, name)
        ]
        return ", ".join(parts) + (", header damaged" if self.header_damaged else "")


@dataclass(frozen=True)
class FrameBlock:
    """Frames of one channel, in the order of time."""

    channel: int
    """0..127"""
    starts: npt.NDArray[np.int64]
    """Number of each frame's first sample, ``[n]``."""
    counts: npt.NDArray[np.float32]
    """ADC counts ``[n, T]``."""
    known: int
    """Samples up to which nothing more comes of the channel."""


@dataclass
class _Track:
    """One channel: which frame a sequence number stands for, and what waits for one before it."""

    samples: int
    due: int
    """Frame to give out next; all before were given out, or given up."""
    next: int
    """Frame behind the latest that came."""
    first: int
    """Frame at ``position``."""
    position: int = 0
    marked: bool = False
    """Whether a mark came and its packet did not yet."""
    held: dict[int, npt.NDArray[np.float32]] = field(default_factory=dict)

    def start(self, frame: int) -> int:
        """First sample of a frame."""
        return self.position + (frame - self.first) * self.samples


class StreamDecoder:
    """Decodes batches of records, and keeps the count. Memory does not grow with the stream."""

    def __init__(
        self, decoder: FrameDecoder, unpacker: Unpacker, tag: int, channels: int, *, from_first: bool = False
    ) -> None:
        """A decoder of a stream of ``channels`` channels, whose packets have the ``tag``.

        A channel starts with frame 0, or ``from_first`` with whatever packet comes first.
        """
        self._decoder, self._unpacker, self._tag, self._channels = decoder, unpacker, tag, channels
        self._from_first = from_first
        self._tracks: dict[int, _Track] = {}
        self._tallies = dict.fromkeys(("frames", "lost", "doubled", "reordered", "late", "damaged", "gaps"), 0)
        self._faults: list[tuple[Fault, int | None]] = []
        self._losses: dict[int, tuple[int, int]] = {}
        """Frame behind those lost last, and their place among the faults, by channel."""
        self._tags = np.zeros(_TAGS, np.int64)

    @property
    def how(self) -> str:
        """What runs the decoder."""
        return self._decoder.how

    def blocks(self, batches: Iterable[list[Record]]) -> Iterator[FrameBlock]:
        """Frames of the records of ``batches``, as soon as nothing can come before them."""
        for records in batches:
            yield from self._batch(records)
        for channel, track in sorted(self._tracks.items()):
            yield from self._given(channel, track, self._advance(channel, track, track.next))

    def report(self, *, header_damaged: bool = False) -> StreamReport:
        """What came so far."""
        foreign = self._foreign_tags()
        count = int(self._tags[foreign].sum())
        faults = [
            Fault("foreign", fault.at, fault.channel, None, 1) if tag is not None and foreign[tag] else fault
            for fault, tag in self._faults
        ]
        tallies = {**self._tallies, "damaged": self._tallies["damaged"] - count}
        return StreamReport(**tallies, foreign=count, header_damaged=header_damaged, faults=faults)

    def _foreign_tags(self) -> npt.NDArray[np.bool_]:
        """Tags that more packets imply than damage explains, which spreads over all."""
        mean = self._tags.sum() / _TAGS
        return np.asarray(self._tags > 2 + mean + 6 * np.sqrt(mean), np.bool_)

    def _batch(self, records: list[Record]) -> Iterator[FrameBlock]:
        packets = [record for record in records if isinstance(record, PacketRecord)]
        unpacked = self._unpacker.unpack([record.packet for record in packets])
        good = unpacked.status == Status.GOOD
        good &= np.array([record.channel < self._channels for record in packets], np.bool_)
        rows = np.cumsum(good) - 1
        counts = self._decoder.decode_unpacked(chosen(unpacked, good))
        queues: dict[int, list[tuple[int, int] | Mark]] = {}
        number = 0
        for record in records:
            if isinstance(record, PacketRecord):
                if good[number]:
                    queues.setdefault(record.channel, []).append((record.at, number))
                else:
                    other = unpacked.status[number] == Status.OTHER_TAG and record.channel < self._channels
                    self._damaged(record.at, record.channel, int(unpacked.tag[number]) if other else None)
                number += 1
            elif isinstance(record, Garbage) or record.channel >= self._channels:
                self._damaged(record.at, None, None)
            else:
                queues.setdefault(record.channel, []).append(record)
        for channel, queue in queues.items():
            yield from self._channel(channel, queue, unpacked, counts, rows)

    def _channel(
        self,
        channel: int,
        queue: list[tuple[int, int] | Mark],
        unpacked: Unpacked,
        counts: npt.NDArray[np.float32],
        rows: npt.NDArray[np.int64],
    ) -> Iterator[FrameBlock]:
        samples = counts.shape[1]
        track = self._tracks.get(channel)
        given: list[tuple[int, npt.NDArray[np.float32]]] = []
        for item in queue:
            if isinstance(item, Mark):
                if track is None:
                    track = self._tracks[channel] = _Track(samples, item.sequence, item.sequence, item.sequence)
                    track.position, track.marked = item.position, True
                elif item.position < track.start(track.next):
                    self._damaged(item.at, channel, None)
                else:
                    given += self._advance(channel, track, track.next)
                    frame = track.next + (item.sequence - track.next) % _MODULUS
                    self._lose(channel, track.next, frame - track.next)
                    track.due = track.next = track.first = frame
                    track.position, track.marked = item.position, True
                continue
            at, number = item
            sequence = int(unpacked.sequence[number])
            if track is None:
                first = sequence if self._from_first else 0
                track = self._tracks[channel] = _Track(samples, first, first, first)
                frame = sequence
            else:
                frame = track.next + (sequence - track.next + WINDOW) % _MODULUS - WINDOW
            if frame < track.first:
                self._tell("late", at, channel, None)
                continue
            if frame < track.due or frame in track.held:
                self._tell("doubled", at, channel, frame)
                continue
            if frame < track.next:
                self._tell("reordered", at, channel, frame)
            if unpacked.gap[number] and not track.marked:
                self._tell("gaps", at, channel, frame)
            track.marked = False
            track.held[frame] = counts[rows[number]]
            track.next = max(track.next, frame + 1)
            given += self._advance(channel, track, track.next - WINDOW)
        if track is not None:
            yield from self._given(channel, track, given)

    def _advance(self, channel: int, track: _Track, limit: int) -> list[tuple[int, npt.NDArray[np.float32]]]:
        """Frames that can be given out, those missing before ``limit`` given up."""
        given = []
        while track.held or track.due < limit:
            counts = track.held.pop(track.due, None)
            if counts is not None:
                given.append((track.start(track.due), counts))
                track.due += 1
            elif track.due < limit:
                until = min(min(track.held, default=limit), limit)
                self._lose(channel, track.due, until - track.due)
                track.due = until
            else:
                break
        return given

    def _given(
        self, channel: int, track: _Track, given: list[tuple[int, npt.NDArray[np.float32]]]
    ) -> Iterator[FrameBlock]:
        self._tallies["frames"] += len(given)
        starts = np.array([start for start, _ in given], np.int64)
        counts = np.array([row for _, row in given], np.float32).reshape(len(given), track.samples)
        yield FrameBlock(channel, starts, counts, track.start(track.due))

    def _lose(self, channel: int, frame: int, count: int) -> None:
        if not count:
            return
        self._tallies["lost"] += count
        # Frames are given up one by one, as the stream goes on; a row of them is one fault.
        end, place = self._losses.get(channel, (-1, -1))
        if end == frame and place < len(self._faults):
            fault, tag = self._faults[place]
            self._faults[place] = replace(fault, count=fault.count + count), tag
        elif end != frame:
            place = len(self._faults)
            self._keep(Fault("lost", None, channel, frame, count))
        self._losses[channel] = frame + count, place

    def _tell(self, tally: str, at: int, channel: int, frame: int | None) -> None:
        self._tallies[tally] += 1
        self._keep(Fault("gap" if tally == "gaps" else tally, at, channel, frame, 1))

    def _damaged(self, at: int, channel: int | None, tag: int | None) -> None:
        self._tallies["damaged"] += 1
        if tag is not None:
            self._tags[tag] += 1
        self._keep(Fault("damaged", at, channel, None, 1), tag)

    def _keep(self, fault: Fault, tag: int | None = None) -> None:
        if len(self._faults) < _MOST_FAULTS:
            self._faults.append((fault, tag))


@dataclass(frozen=True)
class Samples:
    """What all channels hold from one sample on."""

    position: int
    """Number of the first sample."""
    values: npt.NDArray[np.float32]
    """ADC counts ``[C, n]``, NaN where a channel has none; each sample is there in one channel at least."""


class ChannelMerger:
    """Brings the frames of channels together by time.

    A channel that falls silent holds the others up for 512 frames; what comes of it later than that is left out.
    """

    def __init__(self, channels: int, samples: int) -> None:
        self._pieces: list[tuple[int, int, npt.NDArray[np.float32]]] = []
        self._known = [0] * channels
        self._patience = 4 * WINDOW * samples
        self._done = 0

    def add(self, block: FrameBlock) -> Iterator[Samples]:
        """What is complete once ``block`` is there."""
        pieces = zip(block.starts.tolist(), block.counts, strict=True)
        self._pieces += [(start, block.channel, row) for start, row in pieces if start >= self._done]
        self._known[block.channel] = max(self._known[block.channel], block.known)
        yield from self._until(max(min(self._known), max(self._known) - self._patience))

    def rest(self) -> Iterator[Samples]:
        """What is left at the end."""
        yield from self._until(max((start + len(row) for start, _, row in self._pieces), default=0))

    def _until(self, end: int) -> Iterator[Samples]:
        ready = sorted((piece for piece in self._pieces if piece[0] < end), key=lambda piece: piece[:2])
        if not ready:
            return
        self._pieces = [piece for piece in self._pieces if piece[0] >= end]
        self._pieces += [(end, c, row[end - at :]) for at, c, row in ready if at + len(row) > end]
        self._done = end
        run: list[tuple[int, int, npt.NDArray[np.float32]]] = []
        stop = ready[0][0]
        for piece in ready:
            if piece[0] > stop:
                yield self._joined(run, min(stop, end))
                run = []
            run.append(piece)
            stop = max(stop, piece[0] + len(piece[2]))
        yield self._joined(run, min(stop, end))

    def _joined(self, run: list[tuple[int, int, npt.NDArray[np.float32]]], stop: int) -> Samples:
        first = run[0][0]
        values = np.full((len(self._known), stop - first), np.nan, np.float32)
        for start, channel, row in run:
            values[channel, start - first : start - first + len(row)] = row[: stop - start]
        return Samples(first, values)
