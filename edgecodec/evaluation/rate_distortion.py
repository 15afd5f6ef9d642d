"""What a bundle is worth: quality and rate on given frames, beside classical codecs on the same frames."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from edgecodec.bundle import Bundle
from edgecodec.codec.arrays import Frames, as_frames
from edgecodec.codec.codec import Codec
from edgecodec.codec.reference import normalize
from edgecodec.codec.stages import Executor
from edgecodec.compile.inspect import RAW_BITS_PER_SAMPLE
from edgecodec.decoding.decoder import FrameDecoder
from edgecodec.documents import Document
from edgecodec.entropy.context_models import LevelRate, Rate, measure_rate
from edgecodec.entropy.packet import PacketFormat
from edgecodec.entropy.side_information import SideInformation, fit_side_information
from edgecodec.entropy.unpacking import Status
from edgecodec.errors import BundleError, InputError
from edgecodec.evaluation.beats import BeatComparison, BeatFigures, groups_of
from edgecodec.evaluation.heart_rate import MIN_RATE_HZ
from edgecodec.evaluation.opponents import QUICK, opponents_of
from edgecodec.evaluation.opponents.base import Opponent, OpponentPoint
from edgecodec.evaluation.packages import need_package
from edgecodec.host.decode import fastest_decoder
from edgecodec.host.encoders import fastest_encoder
from edgecodec.host.packets import encode_packets
from edgecodec.host.unpack import fastest_unpacker
from edgecodec.signal.quality import prdn

Progress = Callable[[int, int, str], None]
"""``progress(done, total, what)``, frames encoded and decoded so far, of all, and what is being done."""

SEPARATE = "given beside the frames measured"
MODELS = {
    "nominal": "nominal",
    "order_0": "order-0 entropy",
    "order_1": "order-1 entropy",
    "conditional": "conditional entropy",
    "coded": "packets' model",
}
"""What people call the entropy models of :attr:`Evaluation.bits_per_frame`."""
FIRST_HALF = "first half of the frames given; every figure is of the other half"

_PART = 100
_MIN_FRAMES = 2
_CURVE_RATIOS = (0.25, 0.5, 1.0, 2.0, 4.0)
"""Steps of a plotted curve, in units of the middle one."""


@dataclass(frozen=True)
class PrdnSummary:
    """PRDN over frames, in percent (:func:`edgecodec.signal.quality.prdn`)."""

    mean: float
    """Mean over the frames, in percent."""
    median: float
    """Median of the frames, in percent."""
    p90: float
    """90th percentile of the frames, in percent."""
    p95: float
    """95th percentile of the frames, in percent."""
    worst: float
    """Largest of the frames, in percent."""


@dataclass(frozen=True)
class FrameFigure:
    """One of the test frames."""

    number: int
    """Its number among the frames given, from 0."""
    prdn: float
    """Its PRDN, in percent."""
    person: str
    """Whose it is; empty where nothing says it."""
    rhythm: str
    """Rhythm of the heart in it; empty where nothing says it."""


@dataclass(frozen=True)
class GroupFigures:
    """The test frames of one person or of one rhythm."""

    by: str
    """`person` or `rhythm`."""
    name: str
    """Which one, as the recordings call it."""
    frames: int
    """Number of test frames."""
    prdn: PrdnSummary
    """Distortion of the decoded frames, in percent."""
    beats: BeatFigures | None
    """Heart rate, onsets and RMSSD; null when the bundle does not say a sampling rate of at least 8 Hz."""


@dataclass(frozen=True)
class OpponentFigures:
    """A classical codec (:mod:`edgecodec.evaluation.opponents`) on the same frames, fitted to the training frames."""

    name: str
    """`dct`: DCT, one step, static tables; `dct-rdoq`, `klt-rdoq`: DCT or KLT, contexts of magnitudes,
    rate-distortion optimised quantisation; `dct-network`, `dct-network48`: DCT, causal network of 16 or 48 channels."""
    title: str
    """What it is called in texts."""
    equal_prdn: OpponentPoint | None
    """Where it has the bundle's mean PRDN; null when no step reaches it."""
    equal_bits: OpponentPoint | None
    """Where it has the bundle's bits under the best entropy model; null when no step reaches them, or for a network,
    which would have to be fitted at every step that is tried."""
    bits_over_opponent: dict[str, float] | None
    """The bundle's bits over these at equal PRDN, for each entropy model, without side information; below 1 the
    bundle is the better codec. Null when `equal_prdn` is."""
    bits_over_opponent_with_side_information: float | None
    """The same of the best entropy model, `side_information_bits` added to both. Null when `equal_prdn` is."""
    curve: tuple[OpponentPoint, ...]
    """Points around, finest step first; empty unless a plot was asked for."""


@dataclass(frozen=True)
class PacketFigures:
    """The test frames as packets (SPEC.md 5), made and read."""

    mean_bits: float
    """Mean bits of a packet: header, side information, payload and check."""
    most_bits: int
    """Bits of the longest packet."""
    overhead_bits: float
    """Mean bits of a packet beside its payload."""
    plain_share: float
    """Mean bits over those of a plain packet of the same frame."""
    prdn: PrdnSummary
    """Distortion of what the packets decode to, in percent: that of the indices and of the side information."""


@dataclass(frozen=True, repr=False)
class Evaluation(Document):
    """Figures of a bundle on test frames, and those of classical codecs on the same.

    Models of entropy, the bundle's and the opponents', come from the training frames alone; the bundle's model of its
    indices, if it has one, from the frames it was fitted to when the bundle was made. A frame's mean and scale are
    the same side information for all codecs: `side_information_bits`.
    """

    SCHEMA: ClassVar[str] = "edgecodec.evaluation"
    SCHEMA_VERSION: ClassVar[int] = 3

    bundle_digest: str
    """SHA-256 of the bundle's manifest, hex."""
    name: str
    """Name of the bundle."""
    samples: int
    """T, ADC counts of a frame."""
    executor: str
    """What made the indices: ``batch``, ``host`` or ``reference`` (:func:`edgecodec.host.encoders.fastest_encoder`)."""
    frames: int
    """Number of test frames, constant ones left out."""
    constant_frames: int
    """Number of frames left out of test and training frames, for their PRDN is undefined."""
    train_frames: int
    """Number of frames that entropy models were estimated from, constant ones left out."""
    train_frames_source: str
    """Where the training frames are from, and what that means for the figures."""
    prdn: PrdnSummary
    """Distortion of the decoded test frames, in percent."""
    worst_frame: FrameFigure
    """The frame of the largest PRDN."""
    median_frame: FrameFigure
    """A frame of the median PRDN, or just above."""
    best_frame: FrameFigure
    """The frame of the smallest PRDN."""
    beats: BeatFigures | None
    """Heart rate, onsets and RMSSD; null when the bundle does not say a sampling rate of at least 8 Hz."""
    groups: tuple[GroupFigures, ...]
    """The same of each person, then of each rhythm, where the recordings say them."""
    raw_bits_per_frame: int
    """Bits of a frame before compression, 16 a sample."""
    bits_per_frame: dict[str, float]
    """Mean bits of a frame's indices under each entropy model: `nominal`, `order_0`, `order_1`, `conditional`, and
    `coded` when the bundle has a model of its indices."""
    packets: PacketFigures | None
    """What goes on air, all included; null when the bundle has no packets."""
    levels: tuple[LevelRate, ...]
    """Rate of each level's indices, first level first."""
    opponents: tuple[OpponentFigures, ...]
    """Classical codecs on the same frames, as they were asked for."""
    best_model: str
    """Entropy model that opponents are compared at equal bits with: `coded` with a bundle that has a model, or else
    `conditional`, whose tables no device has room for."""
    side_information_bits: float
    """Mean bits of a test frame's mean and scale as packets have them (SPEC.md 5.2), rounded so that they add 1 % to
    the squared error: the bundle's own, or fitted to the training frames where it has none."""
    plot: Path | None = None
    """File of the rate-distortion plot; None when none was asked for."""

    def __repr__(self) -> str:
        bits = self.bits_per_frame[self.best_model]
        return (
            f"Evaluation({self.name!r}, PRDN {self.prdn.mean:.3f} % at {bits:.1f} bits a frame ({self.best_model}), "
            f"{self.frames:,} frames)"
        )


def evaluate(
    bundle: Bundle,
    frames: npt.ArrayLike,
    train_frames: npt.ArrayLike | None = None,
    *,
    people: Sequence[str] = (),
    rhythms: Sequence[str] = (),
    opponents: Sequence[str] = QUICK,
    curves: bool = False,
    progress: Progress | None = None,
) -> Evaluation:
    """Measure ``bundle`` on ``frames`` of ADC counts int16 ``[N, T]``, with entropy models from ``train_frames``.

    Without ``train_frames`` the first half of ``frames`` takes their place and the other half is measured; the
    models then know the people they are measured on, so rates come out lower than on strangers, for all codecs.
    ``people`` and ``rhythms`` ``[N]`` say whose each frame is and which rhythm it has, empty where it is not known.
    ``opponents`` are names of :data:`edgecodec.evaluation.opponents.OPPONENTS`; ``curves`` also measures them around
    the bundle's rate, for a plot.

    Raises InputError for frames of another shape or type, fewer than 2 that are not constant, frames that are
    in both sets, an unknown opponent or a missing package; BundleError for a bundle without decoder; PlanError.
    """
    need_package("scipy")
    against = opponents_of(opponents)
    decoder = fastest_decoder(bundle)
    train, test, numbers, constant = _sets(bundle, frames, train_frames)
    persons, kinds = (_labels(labels, frames, numbers) for labels in (people, rhythms))
    count = _Count(progress, len(train) + 2 * len(test))
    executor = fastest_encoder(bundle)
    train_indices = _encode(executor, train, count)
    indices = _encode(executor, test, count)
    decoded = np.concatenate([_decode(decoder, part, count) for part in _parts(indices)])
    if not np.isfinite(decoded).all():
        raise BundleError(f"{bundle.path}: the decoder returns NaN or infinity", hint="train and quantize again")
    original = bundle.codec.normalizer.normalization.normalize(test)
    distortion = prdn(original, decoded)
    packets = bundle.packets()
    model = None if packets is None else packets.model
    rate = measure_rate(train_indices, indices, bundle.codec.rvq.codebook_sizes, model)
    count.say("packets")
    figures = None if packets is None else _measure_packets(bundle.codec, packets, test, indices, decoded)
    bits, best = rate.bits_per_frame, _best_model(rate)
    mean = float(distortion.mean())
    side_bits = _side_information_bits(None if packets is None else packets.side, train, test, mean)
    measured = []
    for opponent in against:
        count.say(opponent.title)
        measured.append(_against(opponent, train, test, mean, bits, best, side_bits, curves))
    rate_hz, comparison = bundle.rate_hz, None
    if rate_hz and rate_hz >= MIN_RATE_HZ:
        count.say("beats")
        comparison = BeatComparison(original, decoded, rate_hz)
    order = np.argsort(distortion, kind="stable")
    worst_frame, median_frame, best_frame = (
        FrameFigure(int(numbers[at]), float(distortion[at]), persons[at], kinds[at])
        for at in (int(order[-1]), int(order[len(order) // 2]), int(order[0]))
    )
    groups = [
        GroupFigures(by, name, len(at), _summary(distortion[at]), comparison.figures(at) if comparison else None)
        for by, labels in (("person", persons), ("rhythm", kinds))
        for name, at in groups_of(labels).items()
    ]
    return Evaluation(
        bundle_digest=bundle.digest,
        name=bundle.name,
        samples=bundle.codec.samples,
        executor=executor.name,
        frames=len(test),
        constant_frames=constant,
        train_frames=len(train),
        train_frames_source=FIRST_HALF if train_frames is None else SEPARATE,
        prdn=_summary(distortion),
        worst_frame=worst_frame,
        median_frame=median_frame,
        best_frame=best_frame,
        beats=comparison.figures(np.arange(len(test))) if comparison else None,
        groups=tuple(groups),
        raw_bits_per_frame=RAW_BITS_PER_SAMPLE * bundle.codec.samples,
        bits_per_frame=bits,
        packets=figures,
        levels=rate.levels,
        opponents=tuple(measured),
        best_model=best,
        side_information_bits=side_bits,
    )


def _against(
    opponent: Opponent,
    train: Frames,
    test: Frames,
    mean_prdn: float,
    bits: dict[str, float],
    best: str,
    side_bits: float,
    curves: bool,
) -> OpponentFigures:
    """An opponent beside a bundle of ``mean_prdn`` percent at ``bits`` under each entropy model."""
    opponent.fit(train)
    at_prdn = opponent.at_prdn(test, mean_prdn)
    at_bits = opponent.at_bits(test, bits[best]) if opponent.has_curve else None
    middle = at_prdn or at_bits
    steps = [middle.step * ratio for ratio in _CURVE_RATIOS] if curves and middle and opponent.has_curve else []
    over = over_all = None
    if at_prdn is not None:
        over = {model: found / at_prdn.bits_per_frame for model, found in bits.items()}
        over_all = (bits[best] + side_bits) / (at_prdn.bits_per_frame + side_bits)
    return OpponentFigures(opponent.name, opponent.title, at_prdn, at_bits, over, over_all, opponent.curve(test, steps))


def _side_information_bits(known: SideInformation | None, train: Frames, test: Frames, mean_prdn: float) -> float:
    """Mean bits of mean and variance of ``test`` frames, as packets have them."""
    side = known
    if side is None or not side.squared:
        side = fit_side_information(mean_prdn, train.shape[1], *_sums(train))
    pairs = zip(*(values.tolist() for values in _sums(test)), strict=True)
    return float(np.mean([8 * len(side.pack(*side.quantize(*pair))) for pair in pairs]))


def _sums(frames: Frames) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.uint64]]:
    """S and V of SPEC.md 1.1 of each frame: the sum of its counts, and T times that of their squares less S squared."""
    counts = frames.astype(np.int64)
    sums = counts.sum(axis=1)
    return sums.astype(np.int32), (frames.shape[1] * (counts**2).sum(axis=1) - sums**2).astype(np.uint64)


def _summary(distortion: npt.NDArray[np.float64]) -> PrdnSummary:
    median, p90, p95, worst = np.percentile(distortion, (50, 90, 95, 100)).tolist()
    return PrdnSummary(float(distortion.mean()), median, p90, p95, worst)


def _measure_packets(
    codec: Codec,
    packets: PacketFormat,
    frames: Frames,
    indices: npt.NDArray[np.uint16],
    decoded: npt.NDArray[np.float32],
) -> PacketFigures:
    """The packets of ``frames`` ``[N, T]`` made and read; indices ``[N, P, L]``, ``decoded`` normalised ``[N, T]``."""
    _, offset, spread = normalize(codec.normalizer, frames)
    made = encode_packets(packets, indices, offset.tolist(), spread.tolist())
    read = fastest_unpacker(packets).unpack(made)
    assert (read.status == Status.GOOD).all()
    assert (read.indices == indices).all()
    bits = np.array([8 * len(packet) for packet in made])
    counts = codec.normalizer.normalization.denormalize(decoded, read.offset, read.spread)
    around = [packets.overhead_bytes(*pair) for pair in zip(offset.tolist(), spread.tolist(), strict=True)]
    overhead = 8 * np.array(around)
    return PacketFigures(
        mean_bits=float(bits.mean()),
        most_bits=int(bits.max()),
        overhead_bits=float(overhead.mean()),
        plain_share=float((bits / (overhead + 8 * packets.plain_bytes())).mean()),
        prdn=_summary(prdn(frames, counts)),
    )


def _best_model(rate: Rate) -> str:
    return "coded" if "coded" in rate.bits_per_frame else "conditional"


class _Count:
    """Progress over all frames, encoded and decoded."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self._progress = progress
        self._total = total
        self._done = 0

    def add(self, frames: int, what: str) -> None:
        """Count ``frames`` more."""
        self._done += frames
        self.say(what)

    def say(self, what: str) -> None:
        """Say what is being done."""
        if self._progress:
            self._progress(self._done, self._total, what)


def _labels(labels: Sequence[str], frames: npt.ArrayLike, numbers: npt.NDArray[np.intp]) -> list[str]:
    """Those of the frames of these numbers; empty texts without labels. Raises InputError for another count of them."""
    if not labels:
        return [""] * len(numbers)
    if len(labels) != len(np.asarray(frames)):
        raise InputError(f"{len(labels)} names of people or rhythms for {len(np.asarray(frames))} frames")
    return [labels[number] for number in numbers.tolist()]


def _sets(
    bundle: Bundle, frames: npt.ArrayLike, train_frames: npt.ArrayLike | None
) -> tuple[Frames, Frames, npt.NDArray[np.intp], int]:
    """Training and test frames without constant ones, the test frames' numbers, and how many were constant."""
    given = as_frames(frames, bundle.codec.samples)
    test, numbers = _moving(given), np.flatnonzero(np.any(given != given[:, :1], axis=1))
    constant = len(given) - len(test)
    if train_frames is None:
        half = len(test) // 2
        train, test, numbers = test[:half], test[half:], numbers[half:]
    else:
        given = as_frames(train_frames, bundle.codec.samples)
        train = _moving(given)
        constant += len(given) - len(train)
        _refuse_shared(train, test)
    for name, part in (("train on", train), ("measure", test)):
        if len(part) < _MIN_FRAMES:
            raise InputError(f"{len(part)} frames to {name} that are not constant; expected at least {_MIN_FRAMES}")
    return train, test, numbers, constant


def _moving(frames: Frames) -> Frames:
    return frames[np.any(frames != frames[:, :1], axis=1)]


def _refuse_shared(train: Frames, test: Frames) -> None:
    known = {frame.tobytes() for frame in train}
    shared = sum(frame.tobytes() in known for frame in test)
    if shared:
        raise InputError(
            f"{shared} of the {len(test)} frames are among the training frames too; expected other people's, "
            "or the figures would flatter"
        )


def _parts(array: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
    return [array[start : start + _PART] for start in range(0, len(array), _PART)]


def _encode(executor: Executor, frames: Frames, count: _Count) -> npt.NDArray[np.uint16]:
    encoded = []
    for part in _parts(frames):
        encoded.append(executor.encode(part))
        count.add(len(part), "encoding")
    return np.concatenate(encoded)


def _decode(decoder: FrameDecoder, indices: npt.NDArray[np.uint16], count: _Count) -> npt.NDArray[np.float32]:
    decoded = decoder.decode(indices)
    count.add(len(indices), "decoding")
    return decoded
