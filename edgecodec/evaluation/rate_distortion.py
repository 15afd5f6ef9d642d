"""What a bundle is worth: quality and rate on given frames, beside a classical codec on the same frames."""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecodec.bundle import Bundle
from edgecodec.codec.arrays import Frames, as_frames
from edgecodec.codec.stages import Executor
from edgecodec.compile.inspect import RAW_BITS_PER_SAMPLE
from edgecodec.decoding.decoder import FrameDecoder
from edgecodec.entropy.context_models import Rate, measure_rate
from edgecodec.errors import BundleError, InputError
from edgecodec.evaluation.baselines import DctBaseline, DctPoint
from edgecodec.evaluation.heart_rate import MIN_RATE_HZ, HeartRateError, heart_rate_error
from edgecodec.host.encoders import fastest_encoder
from edgecodec.signal.normalize import normalize
from edgecodec.signal.quality import prdn

Progress = Callable[[int, int, str], None]
"""``progress(done, total, what)``"""

SIDE_INFORMATION_BITS = 32 + 64
"""S and V of SPEC.md 1.1 as they leave the device."""
SEPARATE = "given beside the frames measured"
MODELS = {
    "nominal": "nominal",
    "order_0": "order-0 entropy",
    "order_1": "order-1 entropy",
    "conditional": "conditional entropy",
    "causal": "causal prior",
}
"""Entropy models of :attr:`Rate.bits_per_frame`, by their names for people."""
FIRST_HALF = "first half of the frames given; every figure is of the other half"

_PART = 100
_MIN_FRAMES = 2
_CURVE_RATIOS = tuple(float(ratio) for ratio in 2.0 ** (np.arange(-6, 7) / 3))
"""Steps of the plotted curve, in units of the middle one."""


@dataclass(frozen=True)
class PrdnSummary:
    """PRDN over frames, percent (:func:`edgecodec.signal.quality.prdn`)."""

    mean: float
    median: float
    p90: float


@dataclass(frozen=True)
class Evaluation:
    """Figures of a bundle on test frames, and the classical codec's on the same.

    Models of entropy, the bundle's and the classical codec's, come from the training frames alone; the bundle's
    causal prior, if it has one, from the frames it was fitted to when the bundle was made. A frame's
    sum and variance are the same side information for both codecs and counted for neither.
    """

    bundle_digest: str
    name: str
    samples: int
    """T"""
    executor: str
    """What made the indices: ``batch``, ``host`` or ``reference`` (:func:`edgecodec.host.encoders.fastest_encoder`)."""
    frames: int
    """Test frames, constant ones left out."""
    train_frames: int
    constant_frames: int
    """Frames left out of both, for their PRDN is undefined."""
    train_frames_source: str
    prdn: PrdnSummary
    heart_rate: HeartRateError | None
    """None when the bundle does not say a sampling rate of at least 8 Hz."""
    rate: Rate
    dct_equal_prdn: DctPoint | None
    """At the bundle's mean PRDN; None when no step reaches it."""
    dct_equal_bits: DctPoint | None
    """At the bundle's bits under :attr:`best_model`; None when no step reaches them."""
    dct_curve: tuple[DctPoint, ...]

    @property
    def raw_bits_per_frame(self) -> int:
        """What the compression ratios are measured against: 16 bits a sample."""
        return RAW_BITS_PER_SAMPLE * self.samples

    @property
    def best_model(self) -> str:
        """The entropy model that :attr:`dct_equal_bits` is for: the causal prior of a bundle that has one."""
        return _best_model(self.rate)

    @property
    def bits_over_dct(self) -> dict[str, float] | None:
        """Bits a frame over the classical codec's at equal PRDN, for each entropy model of :class:`Rate`.

        Below 1 the bundle is the better codec. None when the classical codec has no step of that PRDN.
        """
        point = self.dct_equal_prdn
        if point is None:
            return None
        return {model: bits / point.bits_per_frame for model, bits in self.rate.bits_per_frame.items()}

    def to_json(self) -> dict[str, Any]:
        """The document that ``edgecodec evaluate --json`` prints."""
        return {
            "bundle_digest": self.bundle_digest,
            "name": self.name,
            "executor": self.executor,
            "frames": self.frames,
            "constant_frames": self.constant_frames,
            "train_frames": self.train_frames,
            "train_frames_source": self.train_frames_source,
            "prdn": asdict(self.prdn),
            "heart_rate": None if self.heart_rate is None else asdict(self.heart_rate),
            "raw_bits_per_frame": self.raw_bits_per_frame,
            "bits_per_frame": self.rate.bits_per_frame,
            "side_information_bits": SIDE_INFORMATION_BITS,
            "side_information_counted": False,
            "levels": [asdict(level) for level in self.rate.levels],
            "dct": {
                "equal_prdn": None if self.dct_equal_prdn is None else asdict(self.dct_equal_prdn),
                "equal_bits": None if self.dct_equal_bits is None else asdict(self.dct_equal_bits),
                "curve": [asdict(point) for point in self.dct_curve],
            },
            "bits_over_dct_at_equal_prdn": self.bits_over_dct,
            "best_model": self.best_model,
        }


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
    _need("scipy")
    decoder = FrameDecoder(bundle)
    train, test, constant = _sets(bundle, frames, train_frames)
    count = _Count(progress, len(train) + 2 * len(test))
    executor = fastest_encoder(bundle)
    train_indices = _encode(executor, train, count)
    indices = _encode(executor, test, count)
    decoded = np.concatenate([_decode(decoder, part, count) for part in _parts(indices)])
    if not np.isfinite(decoded).all():
        raise BundleError(f"{bundle.path}: the decoder returns NaN or infinity; train and quantize again")
    original = normalize(test, bundle.codec.normalizer.epsilon)
    distortion = prdn(original, decoded)
    rate = measure_rate(train_indices, indices, bundle.codec.rvq.codebook_sizes, bundle.index_prior())
    count.say("classical codec")
    baseline = DctBaseline(train, test, bundle.codec.normalizer.epsilon)
    at_prdn = baseline.at_prdn(float(distortion.mean()))
    at_bits = baseline.at_bits(rate.bits_per_frame[_best_model(rate)])
    middle = at_prdn or at_bits
    rate_hz = bundle.manifest.frame.rate_hz
    return Evaluation(
        bundle_digest=bundle.digest,
        name=bundle.manifest.name,
        samples=bundle.codec.samples,
        executor=executor.name,
        frames=len(test),
        train_frames=len(train),
        constant_frames=constant,
        train_frames_source=FIRST_HALF if train_frames is None else SEPARATE,
        prdn=PrdnSummary(float(distortion.mean()), float(np.median(distortion)), float(np.percentile(distortion, 90))),
        heart_rate=heart_rate_error(original, decoded, rate_hz) if rate_hz and rate_hz >= MIN_RATE_HZ else None,
        rate=rate,
        dct_equal_prdn=at_prdn,
        dct_equal_bits=at_bits,
        dct_curve=baseline.curve(middle.step * ratio for ratio in _CURVE_RATIOS) if middle else (),
    )


def plot_rate_distortion(evaluation: Evaluation) -> bytes:
    """PNG of PRDN over bits a frame: the classical codec's curve and the bundle at its rates.

    Raises InputError when matplotlib is not installed.
    """
    need_matplotlib()
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axis = figure.add_subplot()
    curve = evaluation.dct_curve
    axis.plot(
        [point.bits_per_frame for point in curve],
        [point.prdn for point in curve],
        color="#64748b",
        marker=".",
        label="DCT, uniform step, static entropy code",
    )
    marks = {
        "nominal": ("D", "#f4c4a8"),
        "order_0": ("s", "#ea8a5b"),
        "conditional": ("o", "#c2410c"),
        "causal": ("*", "#7c2d12"),
    }
    for model, (marker, color) in marks.items():
        if model not in evaluation.rate.bits_per_frame:
            continue
        bits, label = evaluation.rate.bits_per_frame[model], f"this codec, {MODELS[model]}"
        axis.plot([bits], [evaluation.prdn.mean], marker=marker, color=color, linestyle="none", label=label)
    axis.set_xlabel("bits per frame (mean and variance not counted)")
    axis.set_ylabel("PRDN in %, mean over frames")
    axis.set_ylim(bottom=0)
    axis.grid(alpha=0.3)
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False, fontsize=9)
    axis.set_title(
        f"{evaluation.frames} frames of {evaluation.samples} samples, {evaluation.raw_bits_per_frame} bits raw",
        fontsize=10,
        loc="left",
    )
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=130, metadata={"Software": None})
    return buffer.getvalue()


def _best_model(rate: Rate) -> str:
    return "causal" if "causal" in rate.bits_per_frame else "conditional"


def need_matplotlib() -> None:
    """Raise InputError unless plots can be drawn, which is better known before an evaluation than after."""
    _need("matplotlib")


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


def _need(package: str) -> None:
    if importlib.util.find_spec(package) is None:
        raise InputError(f"{package} is not installed; install it with: pip install 'edgecodec[signal]'")


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
