"""Streams of packets: whatever happens to a packet is told and costs only that packet."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator

import numpy as np
import pytest

import edgecodec
from edgecodec.api import Decoded
from edgecodec.bundle import Bundle
from edgecodec.decoding.decoder import FrameDecoder
from edgecodec.decoding.stream import WINDOW, StreamDecoder, StreamReport
from edgecodec.entropy.packet_stream import (
    HEADER_BYTES,
    Record,
    StreamFile,
    StreamHeader,
    mark_record,
    packet_record,
    packet_records,
)
from edgecodec.entropy.unpacking import ReferenceUnpacker
from edgecodec.errors import BundleError, InputError, PacketError
from edgecodec.host.streams import ChannelFrames, StreamEncoder, open_stream, packets_of
from edgecodec.host.unpack import fastest_unpacker
from tests.linear_codec import RATE_HZ, SAMPLES, linear_codec, pulse_frames
from tests.streams import packets_for, stream_bundle, stream_bytes
from tests.tools import require

COUNT = 300


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return stream_bundle(tmp_path_factory.mktemp("stream"))


@pytest.fixture(scope="module")
def packets(bundle: Bundle) -> list[bytes]:
    frames = pulse_frames(COUNT, seed=5)
    frames[7] = 1234
    return packets_for(bundle, frames)


@pytest.fixture(scope="module")
def whole(bundle: Bundle, packets: list[bytes]) -> Decoded:
    return edgecodec.decode_stream(bundle, packets)


def _faults(report: StreamReport, kind: str) -> list[int | None]:
    return [fault.frame for fault in report.faults if fault.kind == kind]


def _tallies(report: StreamReport) -> dict[str, int]:
    names = ("frames", "lost", "doubled", "reordered", "late", "damaged", "foreign", "gaps")
    return {name: getattr(report, name) for name in names if getattr(report, name)}


def test_whole_stream(bundle, packets, whole):
    assert _tallies(whole.report) == {"frames": COUNT}
    assert whole.counts.dtype == np.float32
    assert whole.counts.shape == (COUNT, SAMPLES)
    assert whole.times == pytest.approx(np.arange(COUNT) * SAMPLES / RATE_HZ)
    assert (whole.counts[7] == 1234).all()
    frames = pulse_frames(COUNT, seed=5)
    error = whole.counts - frames
    assert np.abs(np.delete(error, 7, axis=0)).mean() < 60


def test_counts_are_those_of_the_indices(bundle, packets, whole):
    unpacked = ReferenceUnpacker(packets_of(bundle)).unpack(packets)
    expected = FrameDecoder(bundle).decode(unpacked.indices, unpacked.offset, unpacked.spread)
    moving = unpacked.levels > 0
    assert whole.counts[moving] == pytest.approx(expected[moving], rel=1e-5, abs=1e-2)


def test_levels_left_out_add_nothing(bundle):
    packet_format, indices = packets_of(bundle), np.ones((8, 2), np.uint16)
    short = packet_format.encode(indices[:, :1], 64 * 2000, 64**2 * 400, 0)
    book = bundle.codec.rvq.codebooks[0][1] * bundle.codec.rvq.latent_scale / 2.0**bundle.codec.rvq.fraction_bits
    latents = np.tile(book, (1, 8, 1)).astype(np.float32)
    decoder = FrameDecoder(bundle)
    read = packet_format.decode(short)
    expected = bundle.codec.normalizer.normalization.denormalize(
        decoder._decoder.run(latents), np.array([read.offset]), np.array([read.spread])
    )
    assert edgecodec.decode_stream(bundle, [short]).counts == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("seed", range(8))
def test_damage_of_every_kind(bundle, packets, whole, seed):
    """Loss, doubling, reordering, damage and foreign packets at random places, all at once."""
    rng = np.random.default_rng(seed)
    places = rng.permutation(np.arange(1, COUNT - 1))
    lost, doubled, damaged = set(places[:20]), set(places[20:40]), set(places[40:50])
    other = packets_of(bundle)
    foreign = [bytes([p[0] ^ 5]) + p[1:] for p in packets[:12]]
    sent: list[tuple[float, bytes]] = []
    late = set(places[50:60])
    for number, packet in enumerate(packets):
        if number in lost:
            continue
        data = bytearray(packet)
        if number in damaged:
            at = int(rng.integers(len(data)))
            data[at] ^= 1 << int(rng.integers(8))
            with pytest.raises(PacketError):
                other.decode(bytes(data))
        sent.append((number + (float(rng.uniform(3, 60)) if number in late else 0), bytes(data)))
        if number in doubled:
            sent.append((number + float(rng.uniform(0.5, 60)), packet))
    sent += [(float(rng.uniform(0, COUNT)), packet) for packet in foreign]
    found = edgecodec.decode_stream(bundle, [packet for _, packet in sorted(sent, key=lambda each: each[0])])
    kept = np.array([number for number in range(COUNT) if number not in lost | damaged])
    assert np.array_equal(found.times, kept * SAMPLES / RATE_HZ)
    assert np.array_equal(found.counts, whole.counts[kept])
    report = found.report
    assert (report.frames, report.lost, report.doubled) == (len(kept), 30, 20)
    assert (report.damaged, report.foreign, report.gaps) == (10, 12, 0)
    # A packet that is late by numbers that were all lost is not late.
    assert 1 <= report.reordered <= 10 + 20
    assert len(report.faults) == 64


def test_faults_say_where(bundle, packets):
    pieces = [*packets[:10], *packets[12:20], packets[14], packets[21], packets[20], *packets[22:]]
    report = edgecodec.decode_stream(bundle, pieces).report
    assert _tallies(report) == {"frames": COUNT - 2, "lost": 2, "doubled": 1, "reordered": 1}
    lost = next(fault for fault in report.faults if fault.kind == "lost")
    assert (lost.frame, lost.count, lost.at, lost.channel) == (10, 2, None, 0)
    assert [(fault.at, fault.frame) for fault in report.faults if fault.kind == "doubled"] == [(18, 14)]
    assert _faults(report, "reordered") == [20]
    assert str(report) == f"{COUNT - 2} frames, lost 2, doubled 1, reordered 1, damaged 0, foreign 0"


def test_numbers_wrap(bundle, packets):
    """127 lost in a row, across 256, twice."""
    kept = [number for number in range(COUNT) if not (20 <= number < 147 or 150 <= number < 277)]
    found = edgecodec.decode_stream(bundle, [packets[number] for number in kept])
    assert np.array_equal(found.times, np.array(kept) * SAMPLES / RATE_HZ)
    assert found.report.lost == 254


def test_late_by_the_whole_window(bundle, packets):
    for place, told in ((WINDOW, {"reordered": 1}), (WINDOW + 1, {"lost": 1})):
        sent = [*packets[:5], *packets[6 : 5 + place], packets[5], *packets[5 + place :]]
        tallies = _tallies(edgecodec.decode_stream(bundle, sent).report)
        assert {name: tallies.get(name) for name in told} == told


def test_stream_that_starts_in_the_middle(bundle, packets):
    found = edgecodec.decode_stream(bundle, packets[100:])
    assert found.times[0] == 0
    assert _tallies(found.report) == {"frames": COUNT - 100}
    late = edgecodec.decode_stream(bundle, [packets[100], packets[99], packets[101]])
    assert _tallies(late.report) == {"frames": 2, "late": 1}


def test_file_that_starts_in_the_middle(bundle, packets, tmp_path):
    path = tmp_path / "x.ecs"
    path.write_bytes(stream_bytes(bundle, packets[3:]))
    found = edgecodec.decode_stream(bundle, path)
    assert found.times[0] == 3 * SAMPLES / RATE_HZ
    assert found.report.lost == 3


def test_cut_at_every_byte(bundle, packets, tmp_path, whole):
    path, data = tmp_path / "x.ecs", stream_bytes(bundle, packets[:12])
    ends = np.cumsum([HEADER_BYTES, *(len(packet_record(0, packet)) for packet in packets[:12])])
    for size in range(len(data) + 1):
        path.write_bytes(data[:size])
        if size < 4:
            with pytest.raises(InputError, match="no stream of packets"):
                edgecodec.decode_stream(bundle, path)
            continue
        found = edgecodec.decode_stream(bundle, path)
        # The last zero may be missing: the packet before it is whole.
        frames = max(0, int(np.searchsorted(ends - 1, size, side="right")) - 1)
        assert found.report.frames == frames, size
        assert np.array_equal(found.counts, whole.counts[:frames])
        assert found.report.header_damaged == (size < HEADER_BYTES)
        inside = size > HEADER_BYTES and size not in ends and size not in ends - 1
        assert found.report.damaged == inside, size


@pytest.mark.parametrize("seed", range(6))
def test_damaged_bytes_of_a_file(bundle, packets, tmp_path, whole, seed):
    """Bytes overwritten, removed and inserted: only records that were touched are missing."""
    rng = np.random.default_rng([seed, 9])
    data = bytearray(stream_bytes(bundle, packets))
    ends = np.cumsum([len(packet_record(0, packet)) for packet in packets]) + HEADER_BYTES
    hit: set[int] = set()
    for at in sorted(rng.choice(np.arange(HEADER_BYTES, len(data)), 15, replace=False).tolist(), reverse=True):
        first = int(np.searchsorted(ends, at, side="right"))
        # A record's zero belongs to it and to the next one.
        hit |= {first, first + 1} if at + 1 == ends[first] or seed % 3 == 1 else {first}
        if seed % 3 == 0:
            data[at] = int(rng.integers(256))
        elif seed % 3 == 1:
            del data[at]
        else:
            data[at:at] = rng.bytes(int(rng.integers(1, 600)))
            hit |= {first - 1, first}
    path = tmp_path / "x.ecs"
    path.write_bytes(bytes(data))
    found = edgecodec.decode_stream(bundle, path)
    numbers = np.rint(found.times * RATE_HZ / SAMPLES).astype(int)
    assert set(range(COUNT)) - set(numbers.tolist()) <= hit
    assert np.array_equal(found.counts, whole.counts[numbers])
    assert found.report.damaged >= 1


def test_damaged_header(bundle, packets, tmp_path):
    data = bytearray(stream_bytes(bundle, packets, channels=2))
    data[20] ^= 1
    path = tmp_path / "x.ecs"
    path.write_bytes(bytes(data))
    found = edgecodec.decode_stream(bundle, path)
    assert found.report.header_damaged
    assert found.report.frames == COUNT
    assert set(found.channels.tolist()) == {0, 1}
    assert "header damaged" in str(found.report)


def test_several_channels(bundle, packets, tmp_path, whole):
    header = StreamHeader(bundle.digest, RATE_HZ, 1_000_000, 3).to_bytes()
    records = [packet_record(0, packet) + packet_record(2, packet) for packet in packets]
    path = tmp_path / "x.ecs"
    path.write_bytes(header + b"".join(records) + packet_record(3, packets[0]))
    found = edgecodec.decode_stream(bundle, path)
    assert found.start_us == 1_000_000
    assert np.bincount(found.channels).tolist() == [COUNT, 0, COUNT]
    assert np.array_equal(found.counts[found.channels == 2], whole.counts)
    assert _tallies(found.report) == {"frames": 2 * COUNT, "damaged": 1}
    merged = list(open_stream(bundle, path).samples_of_channels())
    values = np.concatenate([part.values for part in merged], axis=1)
    assert merged[0].position == 0
    assert np.array_equal(values[0], whole.counts.reshape(-1))
    assert np.array_equal(values[2], values[0])
    assert np.isnan(values[1]).all()


def test_channels_are_merged_by_time(bundle, packets, tmp_path, whole):
    """The second channel starts half a frame later, and lacks what the first has."""
    header = StreamHeader(bundle.digest, RATE_HZ, None, 2).to_bytes()
    records = [packet_record(0, packet) for packet in packets[:4]]
    records += [mark_record(1, 0, SAMPLES // 2), packet_record(1, packets[0]), packet_record(1, packets[2])]
    path = tmp_path / "x.ecs"
    path.write_bytes(header + b"".join(records))
    parts = list(open_stream(bundle, path).samples_of_channels())
    ends = np.cumsum([part.values.shape[1] for part in parts])
    assert [part.position for part in parts] == [0, *ends[:-1].tolist()]
    values, half = np.concatenate([part.values for part in parts], axis=1), SAMPLES // 2
    assert values.shape == (2, 4 * SAMPLES)
    assert np.array_equal(values[0], whole.counts[:4].reshape(-1))
    assert np.isnan(values[1, :half]).all()
    assert np.array_equal(values[1, half : half + SAMPLES], whole.counts[0])
    assert np.isnan(values[1, half + SAMPLES : half + 2 * SAMPLES]).all()
    assert np.array_equal(values[1, half + 2 * SAMPLES : half + 3 * SAMPLES], whole.counts[2])
    assert np.isnan(values[1, half + 3 * SAMPLES :]).all()


def test_marks(bundle, packets, tmp_path):
    header = StreamHeader(bundle.digest, RATE_HZ).to_bytes()
    pieces = [packet_record(0, packets[0]), mark_record(0, 3, 1000), packet_record(0, packets[3])]
    stale, broken = mark_record(0, 4, 5), bytearray(mark_record(0, 4, 9999))
    broken[5] ^= 0x40
    path = tmp_path / "x.ecs"
    path.write_bytes(header + b"".join([*pieces, stale, bytes(broken), packet_record(0, packets[4])]))
    found = edgecodec.decode_stream(bundle, path)
    assert found.times.tolist() == [0, 1000 / RATE_HZ, (1000 + SAMPLES) / RATE_HZ]
    assert _tallies(found.report) == {"frames": 3, "lost": 2, "damaged": 2}
    path.write_bytes(header + mark_record(0, 200, 64) + packet_record(0, packets[200]))
    assert edgecodec.decode_stream(bundle, path).times.tolist() == [64 / RATE_HZ]


def test_gap_without_a_mark(bundle):
    packet_format, indices = packets_of(bundle), np.zeros((8, 2), np.uint16)
    report = edgecodec.decode_stream(bundle, [packet_format.encode(indices, 0, 9, 0, gap=True)]).report
    assert _tallies(report) == {"frames": 1, "gaps": 1}


def test_encoder_marks_gaps(bundle, tmp_path):
    require("cc", "Python.h")
    frames = pulse_frames(40, seed=4)
    starts, gaps = np.arange(40) * SAMPLES, np.zeros(40, bool)
    starts[25:] += 777
    gaps[25] = True
    path = tmp_path / "x.ecs"
    path.write_bytes(b"".join(StreamEncoder(bundle).encode([ChannelFrames(frames, starts, gaps)], start_us=5)))
    found = edgecodec.decode_stream(bundle, path)
    assert np.array_equal(found.times, starts / RATE_HZ)
    assert found.start_us == 5
    assert _tallies(found.report) == {"frames": 40}
    reference = packets_for(bundle, frames)
    records = [record for batch in StreamFile.open(path).batches(100) for record in batch]
    assert [record.packet for record in records if hasattr(record, "packet")][:25] == reference[:25]


def test_nothing(bundle, tmp_path):
    assert edgecodec.decode_stream(bundle, []).counts.shape == (0, SAMPLES)
    path = tmp_path / "x.ecs"
    path.write_bytes(stream_bytes(bundle, []))
    assert edgecodec.decode_stream(bundle, path).report.frames == 0
    assert edgecodec.decode_stream(bundle, [b"", b"\0", bytes(10_000)]).report.damaged == 3


def test_other_bundles(bundle, packets, tmp_path):
    path = tmp_path / "x.ecs"
    path.write_bytes(StreamHeader("ab" * 32).to_bytes() + packet_record(0, packets[0]))
    with pytest.raises(InputError, match="encoded with bundle abababababab"):
        edgecodec.decode_stream(bundle, path)
    linear, _ = linear_codec(tmp_path)
    with pytest.raises(BundleError, match="says nothing of packets"):
        edgecodec.decode_stream(linear, packets)


@pytest.mark.parametrize(
    ("content", "message"), [(b"", "no stream"), (b"PK\3\4" + bytes(90), "no stream"), (None, "no such file")]
)
def test_files_that_are_no_streams(bundle, tmp_path, content, message):
    path = tmp_path / "x.ecs"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        edgecodec.decode_stream(bundle, path)


def test_header_values():
    for wrong in ({"channels": 0}, {"channels": 129}, {"rate_hz": float("nan")}, {"start_us": 1 << 62}):
        with pytest.raises(InputError, match="a stream"):
            StreamHeader("00" * 32, **wrong)
    header = StreamHeader("12" * 32, 62.5, -5, 128)
    assert StreamHeader.from_bytes(header.to_bytes(), "x") == header
    assert len(header.to_bytes()) == HEADER_BYTES == 58


@pytest.mark.parametrize("filler", [b"\x01", b"\xff", b"\0"])
def test_memory_does_not_grow_with_garbage(bundle, packets, tmp_path, filler):
    """Megabytes between two packets, without a zero, or nothing but zeros."""
    path = tmp_path / "x.ecs"
    record = packet_record(0, packets[0])
    path.write_bytes(stream_bytes(bundle, []) + record + filler * (2 << 20) + b"\0" + packet_record(0, packets[1]))
    file = StreamFile.open(path)
    tracemalloc.start()
    found = sum(len(batch) for batch in file.batches(100))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found == (2 if filler == b"\0" else 3)
    assert peak < 24 << 20 if filler == b"\0" else peak < 2 << 20
    assert edgecodec.decode_stream(bundle, path).report.frames == 2


class _Constant(FrameDecoder):
    """Decodes to zeros, at once."""

    def decode_unpacked(self, unpacked):
        return np.zeros((len(unpacked.levels), SAMPLES), np.float32)


def test_memory_is_constant(bundle, packets):
    """A stream that is eight times as long takes no more, losses and late packets among it."""

    def batches(count: int) -> Iterator[list[Record]]:
        numbers = (number for number in range(count) if number % 11)
        yield from packet_records(packets_256[(number - 3 * (number % 7 == 0)) % 256] for number in numbers)

    packets_256, packet_format = packets[:256], packets_of(bundle)
    peaks = []
    for count in (5_000, 40_000):
        decoder = StreamDecoder(_Constant(bundle), fastest_unpacker(packet_format), packet_format.tag, 1)
        tracemalloc.start()
        frames = sum(len(block.starts) for block in decoder.blocks(batches(count)))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert frames == decoder.report().frames > count // 2
    assert peaks[1] < 1.2 * peaks[0]
