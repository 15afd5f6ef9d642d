"""The encoder object in verification: frames as one stream, pushed in odd pieces amid the steps, with lost samples.

A run is repeatable: what is pushed, lost and stepped follows from the bundle's digest and the frames.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from edgecodec.bundle import Bundle
from edgecodec.codec.arrays import Frames
from edgecodec.codec.reference import ReferenceExecutor
from edgecodec.codec.stages import Stages
from edgecodec.entropy.packet import PacketFormat
from edgecodec.errors import EdgecodecError
from edgecodec.host.encoder_object import IDLE, PACKET, EncoderObject
from edgecodec.host.shim import HostShim
from edgecodec.link.client import BoardExecutor
from edgecodec.verify.compare import Comparison, NamedStages, compare
from edgecodec.verify.packets import packet_array, statistics_of

_FRAMES_A_GAP = 20
"""Of a gap, which starts anywhere and is up to a frame long, half reach into a second frame: one in sixteen is lost."""
_LEAST_WITH_GAP = 3
_MOST_STEPS = 60
_MOST_STRIDE = 3
_MOST_SHIFT = 8
_SHARE = 9
_LEAST_SHARE = 8
_INT16 = np.iinfo(np.int16)


@dataclass(frozen=True)
class Pushed:
    """What became of a stream."""

    packets: list[bytes]
    """In their order; one that its fragments do not give again has behind it what they do."""
    pieces: int
    """Pushes that took a sample."""
    busy: int
    """Pushes that did not take all, because two frames waited."""


def compare_host(bundle: Bundle, shim: HostShim, frames: Frames, reference: Stages) -> Comparison:
    """Compare an encoder object of the C on this machine with the reference; nothing without packets.

    ``frames`` int16 ``[N, T]``, of which ``reference`` are the stages, are one stream.
    """
    packets = bundle.packets()
    if packets is None:
        return Comparison(())
    dice = random.Random(bundle.digest)
    gaps = draw_gaps(dice, *frames.shape)
    lost = _lost(gaps, *frames.shape)
    least, most = int(frames.min()), int(frames.max())
    ends = (least, most) if least < most else (_INT16.min, _INT16.max)
    follows = np.append(False, lost[:-1])
    expected = _packets(packets, reference, frames, np.flatnonzero(~lost), ends, follows)
    found = push_stream(shim.encoder(), frames, gaps, ends, dice).packets
    kept = np.flatnonzero(~lost).tolist()
    received = [b""] * len(frames)
    for number, packet in zip(kept, found, strict=False):
        received[number] = packet
    received[kept[-1]] += b"".join(found[len(kept) :])
    return _comparison(expected, HostShim.name, received)


def compare_board(
    bundle: Bundle,
    device: BoardExecutor,
    frames: Frames,
    reference: Stages,
    progress: Callable[[int, int], None] | None = None,
) -> Comparison:
    """Compare a board's encoder object with the reference, on the frames :func:`share_of`.

    Nothing without packets, and of firmware without an encoder object. ``frames`` int16 ``[N, T]``, of which
    ``reference`` are the stages. Raises LinkError and DeviceError as :meth:`BoardExecutor.push` does.
    """
    packets = bundle.packets()
    if packets is None or not device.hello.encoder_bytes:
        return Comparison(())
    numbers = share_of(len(frames))
    gap = np.arange(len(frames)) % 256 > 0
    expected = _packets(packets, reference, frames, numbers, (_INT16.min, _INT16.max), gap)
    received = [b""] * len(frames)
    for number, packet in zip(numbers, device.push(frames[numbers], numbers, progress=progress), strict=True):
        received[number] = packet
    return _comparison(expected, device.name, received)


def share_of(count: int) -> list[int]:
    """Numbers of the frames that a board's encoder object gets: one in nine of ``count``, but at least eight.

    Their distance is odd, so that pieces of all lengths come first (SPEC.md 2).
    """
    distance = max(1, min(_SHARE, (count // _LEAST_SHARE - 1) | 1))
    return list(range(0, count, distance))


def draw_gaps(dice: random.Random, count: int, samples: int) -> list[tuple[int, int]]:
    """First sample and length of each gap in a stream of ``count`` frames; none in the last, which tells of one."""
    if count < _LEAST_WITH_GAP:
        return []
    frames = sorted(dice.sample(range(count - 1), max(1, count // _FRAMES_A_GAP)))
    gaps: list[tuple[int, int]] = []
    for frame in frames:
        start = max(frame * samples + dice.randrange(samples), sum(gaps[-1]) if gaps else 0)
        end = min(start + dice.randint(1, samples), (count - 1) * samples)
        gaps.append((start, end - start))
    return gaps


def push_stream(
    encoder: EncoderObject, frames: Frames, gaps: Sequence[tuple[int, int]], ends: tuple[int, int], dice: random.Random
) -> Pushed:
    """Push frames int16 ``[N, T]`` as one stream that lacks the samples of ``gaps``, and step in between.

    ``ends`` are those of the converter's range. Raises EdgecodecError when the encoder refuses a call, or takes no
    samples though it has nothing to do.
    """
    stream = frames.reshape(-1)
    shift, offset = dice.randint(0, _MOST_SHIFT), dice.randint(-(2**20), 2**20)
    encoder.set_counts(shift, offset)
    encoder.set_ends(*ends)
    pieces = busy = at = 0
    packets: list[bytes] = []

    def step(most: int) -> bool:
        """Step up to ``most`` times. Returns whether the encoder has nothing left to do."""
        for _ in range(most):
            status = encoder.step()
            if status == IDLE:
                return True
            if status == PACKET:
                packet = encoder.packet()
                joined = encoder.joined(dice.randint(encoder.least_mtu, encoder.least_mtu + 30))
                packets.append(packet if joined == packet else packet + joined)
        return False

    for start, lost in [*gaps, (len(stream), 0)]:
        idle = False
        while at < start:
            longest = dice.choice((4, 32, frames.shape[1], 2 * frames.shape[1] + 40))
            count = min(dice.randint(1, longest), start - at)
            taken = _push(encoder, stream[at : at + count], dice, shift, offset)
            if taken == 0 and idle:
                raise EdgecodecError(f"encoder object: takes no sample behind sample {at}, and has nothing to do")
            at += taken
            pieces += taken > 0
            busy += taken < count
            idle = step(dice.randint(0 if taken == count else 1, _MOST_STEPS))
        encoder.gap(lost)
        at += lost
    while not step(_MOST_STEPS):
        pass
    return Pushed(packets, pieces, busy)


def _push(encoder: EncoderObject, samples: Frames, dice: random.Random, shift: int, offset: int) -> int:
    """Push int16 ``[n]`` as they are or as counts, among those of other channels. Returns how many were taken."""
    stride = dice.randint(1, _MOST_STRIDE)
    wide = dice.random() < 0.5
    values = samples.astype(np.int32)
    if wide:
        below = np.arange(len(samples), dtype=np.int32) + dice.randrange(1 << shift)
        values = (values << shift) + offset + below % (1 << shift)
    channels = np.full((len(samples), stride), _INT16.max, np.int32 if wide else np.int16)
    channels[:, 0] = values
    return encoder.push(channels.reshape(-1), len(samples), stride)


def _lost(gaps: Sequence[tuple[int, int]], count: int, samples: int) -> np.ndarray:
    """Whether each of ``count`` frames lacks a sample."""
    lost = np.zeros(count, bool)
    for start, length in gaps:
        lost[start // samples : -(-(start + length) // samples)] = length > 0
    return lost


def _packets(
    packets: PacketFormat,
    reference: Stages,
    frames: Frames,
    numbers: Sequence[int] | np.ndarray,
    ends: tuple[int, int],
    gap: np.ndarray,
) -> list[bytes]:
    """Of each frame the packet that an encoder object shall make, by the reference; none of those not in ``numbers``.

    ``gap`` ``[N]`` says whether samples were lost before a frame.
    """
    offsets, spreads = statistics_of(reference)
    clipped = np.any((frames <= ends[0]) | (frames >= ends[1]), axis=1)
    found = [b""] * len(frames)
    for number in map(int, numbers):
        if reference.packet is not None and not clipped[number] and not gap[number]:
            found[number] = reference.packet[number]  # the same, and coding takes time
            continue
        found[number] = packets.encode(
            reference.indices[number],
            offsets[number],
            spreads[number],
            number,
            clipped=bool(clipped[number]),
            gap=bool(gap[number]),
        )
    return found


def _comparison(expected: list[bytes], name: str, received: list[bytes]) -> Comparison:
    a = NamedStages(ReferenceExecutor.name, Stages(packet=packet_array(expected)))
    return compare(a, NamedStages(f"{name}-encoder", Stages(packet=packet_array(received))))
