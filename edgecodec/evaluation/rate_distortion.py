"""What a bundle is worth: quality and rate on given frames, beside a classical codec on the same frames."""

from __future__ import annotations

from collections.abc import Callable
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
from edgecodec.entropy.unpacking import Status
from edgecodec.errors import BundleError, InputError
from edgecodec.evaluation.baselines import DctBaseline, DctPoint
from edgecodec.evaluation.heart_rate import MIN_RATE_HZ, HeartRateError, heart_rate_error
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
_CURVE_RATIOS = tuple(float(ratio) for ratio in 2.0 ** (np.arange(-6, 7) / 3))
"""Steps of the plotted curve, in units of the middle one."""


@dataclass(frozen=True)
class PrdnSummary:
    """PRDN over frames, in percent (:func:`edgecodec.signal.quality.prdn`)."""

    mean: float
    """Mean over the frames, in percent."""
    median: float
    """Median of the frames, in percent."""
    p90: float
    """90th percentile of the frames, in percent."""


@dataclass(frozen=True)
class DctComparison:
    """The classical codec (:mod:`edgecodec.evaluation.baselines`) on the same frames."""

    equal_prdn: DctPoint | None
    """Where the classical codec has the bundle's mean PRDN; None when no step reaches it."""
    equal_bits: DctPoint | None
    """Where the classical codec has the bundle's bits under the best entropy model; None when no step reaches them."""
    curve: tuple[DctPoint, ...]
    """Points around the two, finest step first; empty when there is neither."""


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
    """Figures of a bundle on test frames, and the classical codec's on the same.

    Models of entropy, the bundle's and the classical codec's, come from the training frames alone; the bundle's
    model of its indices, if it has one, from the frames it was fitted to when the bundle was made. A frame's
    offset and spread are the same side information for both codecs and counted for neither, but in packets.
    """

    SCHEMA: ClassVar[str] = "edgecodec.evaluation"
    SCHEMA_VERSION: ClassVar[int] = 2

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
    heart_rate: HeartRateError | None
    """Error of the heart rate; None when the bundle does not say a sampling rate of at least 8 Hz."""
    raw_bits_per_frame: int
    """Bits of a frame before compression, 16 a sample."""
    bits_per_frame: dict[str, float]
    """Mean bits of a frame's indices under each entropy model: `nominal`, `order_0`, `order_1`, `conditional`, and
    `coded` when the bundle has a model of its indices."""
    packets: PacketFigures | None
    """What goes on air, all included; null when the bundle has no packets."""
    levels: tuple[LevelRate, ...]
    """Rate of each level's indices, first level first."""
    dct: DctComparison
    """The classical codec on the same frames."""
    bits_over_dct_at_equal_prdn: dict[str, float] | None
    """Bits over the classical codec's at equal PRDN, for each entropy model; below 1 the bundle is the better codec.
    None when the classical codec has no step of that PRDN."""
    best_model: str
    """Entropy model that `dct.equal_bits` is for: `coded` with a bundle that has a model, or else `conditional`."""
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
    progress: Progress | None = None,
) -> Evaluation:
    """Measure ``bundle`` on ``frames`` of ADC counts int16 ``[N, T]``, with entropy models from ``train_frames``.

    Without ``train_frames`` the first half of ``frames`` takes their place and the other half is measured; the
    models then know the people they are measured on, so rates come out lower than on strangers, for both codecs.

    Raises InputError for frames of another shape or type, fewer than 2 that are not constant, frames that are
    in both sets, or a missing package; BundleError for a bundle without decoder; PlanError.
    """
    need_package("scipy")
    decoder = fastest_decoder(bundle)
    train, test, constant = _sets(bundle, frames, train_frames)
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
    count.say("classical codec")
    baseline = DctBaseline(train, test)
    at_prdn = baseline.at_prdn(float(distortion.mean()))
    at_bits = baseline.at_bits(rate.bits_per_frame[_best_model(rate)])
    middle = at_prdn or at_bits
    bits = rate.bits_per_frame
    rate_hz = bundle.rate_hz
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
        heart_rate=heart_rate_error(original, decoded, rate_hz) if rate_hz and rate_hz >= MIN_RATE_HZ else None,
        raw_bits_per_frame=RAW_BITS_PER_SAMPLE * bundle.codec.samples,
        bits_per_frame=bits,
        packets=figures,
        levels=rate.levels,
        dct=DctComparison(
            at_prdn,
            at_bits,
            baseline.curve(middle.step * ratio for ratio in _CURVE_RATIOS) if middle else (),
        ),
        bits_over_dct_at_equal_prdn=(
            None if at_prdn is None else {model: found / at_prdn.bits_per_frame for model, found in bits.items()}
        ),
        best_model=_best_model(rate),
    )


def _summary(distortion: npt.NDArray[np.float64]) -> PrdnSummary:
    return PrdnSummary(float(distortion.mean()), float(np.median(distortion)), float(np.percentile(distortion, 90)))


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


def _sets(bundle: Bundle, frames: npt.ArrayLike, train_frames: npt.ArrayLike | None) -> tuple[Frames, Frames, int]:
    """Training and test frames without constant ones, and how many those were."""
    given = as_frames(frames, bundle.codec.samples)
    test = _moving(given)
    constant = len(given) - len(test)
    if train_frames is None:
        half = len(test) // 2
        train, test = test[:half], test[half:]
    else:
        given = as_frames(train_frames, bundle.codec.samples)
        train = _moving(given)
        constant += len(given) - len(train)
        _refuse_shared(train, test)
    for name, part in (("train on", train), ("measure", test)):
        if len(part) < _MIN_FRAMES:
            raise InputError(f"{len(part)} frames to {name} that are not constant; expected at least {_MIN_FRAMES}")
    return train, test, constant


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
