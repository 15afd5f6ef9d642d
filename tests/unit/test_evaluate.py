import json

import numpy as np
import pytest

from edgecodec.bundle import DECODER, write_bundle
from edgecodec.codec.reference import ReferenceExecutor
from edgecodec.decoding.decoder import FrameDecoder
from edgecodec.entropy.context_models import measure_rate
from edgecodec.errors import BundleError, InputError
from edgecodec.evaluation.heart_rate import heart_rate_error
from edgecodec.evaluation.opponents import OPPONENTS
from edgecodec.evaluation.plotting import plot_evaluation
from edgecodec.evaluation.rate_distortion import evaluate
from edgecodec.host.encoders import fastest_encoder
from edgecodec.signal.normalize import normalize
from edgecodec.signal.quality import prdn
from edgecodec.verify.packets import statistics_of
from tests.linear_codec import RATE_HZ, linear_codec, pulse_frames
from tests.packets import bundle_with_packets
from tests.tools import require

TRAIN, TEST = pulse_frames(150, seed=1), pulse_frames(60, seed=2)


@pytest.fixture(scope="module")
def codec(tmp_path_factory):
    return linear_codec(tmp_path_factory.mktemp("codec"))


@pytest.fixture(scope="module", autouse=True)
def _reference():
    """The C is compared with the reference elsewhere; building it for every test would only take time."""
    require("module:scipy")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "edgecodec.evaluation.rate_distortion.fastest_encoder", lambda bundle: ReferenceExecutor(bundle.codec)
        )
        yield


@pytest.fixture(scope="module")
def expected(codec):
    """Indices, decoded frames and PRDN from the definitions."""
    bundle, weights = codec
    indices = ReferenceExecutor(bundle.codec).encode(TEST)
    decoded = bundle.codec.rvq.dequantize(indices).reshape(len(TEST), -1) @ weights.T
    original = normalize(TEST)
    distortion = 100 * np.sqrt(((original - decoded) ** 2).sum(axis=1) / (original**2).sum(axis=1))
    return indices, decoded, distortion


@pytest.fixture(scope="module")
def evaluation(codec):
    return evaluate(codec[0], TEST, TRAIN, curves=True)


def test_quality(evaluation, expected):
    _, decoded, distortion = expected
    assert evaluation.prdn.mean == pytest.approx(distortion.mean(), rel=1e-4)
    assert evaluation.prdn.median == pytest.approx(np.median(distortion), rel=1e-4)
    assert evaluation.prdn.p90 == pytest.approx(np.percentile(distortion, 90), rel=1e-4)
    assert evaluation.prdn.mean < 25, "the codec of this test decodes"
    beats = heart_rate_error(normalize(TEST), decoded, RATE_HZ)
    assert evaluation.beats is not None
    assert evaluation.beats.heart_rate.mean_absolute_bpm == pytest.approx(beats.mean_absolute_bpm, abs=0.1)
    assert evaluation.beats.heart_rate.measured == beats.measured > 30
    assert evaluation.beats.heart_rate.measured + evaluation.beats.heart_rate.not_measured == 60
    assert evaluation.prdn.p95 == pytest.approx(np.percentile(distortion, 95), rel=1e-4)
    assert evaluation.prdn.worst == evaluation.worst_frame.prdn == pytest.approx(distortion.max(), rel=1e-4)
    assert evaluation.worst_frame.number == distortion.argmax()
    assert evaluation.median_frame.prdn == pytest.approx(np.sort(distortion)[30], rel=1e-4)
    assert evaluation.groups == ()


def test_rate(evaluation, codec, expected):
    bundle, _ = codec
    rate = measure_rate(ReferenceExecutor(bundle.codec).encode(TRAIN), expected[0], (64, 32))
    assert (evaluation.levels, evaluation.bits_per_frame) == (rate.levels, rate.bits_per_frame)
    bits = rate.bits_per_frame
    assert bits["nominal"] == bundle.codec.bits_per_frame == 88
    assert bits["conditional"] < bits["order_0"] < 88


@pytest.mark.parametrize(("number", "name"), list(enumerate(["dct", "dct-rdoq", "klt-rdoq"])))
def test_opponents(evaluation, number, name):
    opponent, found = OPPONENTS[name](), evaluation.opponents[number]
    opponent.fit(TRAIN)
    assert (found.name, found.title) == (name, opponent.title)
    assert found.equal_prdn == opponent.at_prdn(TEST, evaluation.prdn.mean)
    assert found.equal_prdn.prdn == pytest.approx(evaluation.prdn.mean, rel=0.01)
    assert found.equal_bits.bits_per_frame == pytest.approx(evaluation.bits_per_frame["conditional"], rel=0.02)
    bits, theirs = evaluation.bits_per_frame["conditional"], found.equal_prdn.bits_per_frame
    assert found.bits_over_opponent["conditional"] == pytest.approx(bits / theirs)
    side = evaluation.side_information_bits
    assert 16 <= side <= 32
    assert found.bits_over_opponent_with_side_information == pytest.approx((bits + side) / (theirs + side))
    steps = [point.step for point in found.curve]
    assert steps[2] == pytest.approx(found.equal_prdn.step)
    assert steps[4] == pytest.approx(16 * steps[0])


def test_document(evaluation, codec):
    document = json.loads(json.dumps(evaluation.to_json(), allow_nan=False))
    assert document["bundle_digest"] == codec[0].digest
    assert (document["frames"], document["train_frames"], document["constant_frames"]) == (60, 150, 0)
    assert document["train_frames_source"] == "given beside the frames measured"
    assert document["raw_bits_per_frame"] == 1024
    assert document["packets"] is None
    assert set(document["bits_per_frame"]) == {"nominal", "order_0", "order_1", "conditional"}
    assert set(document["opponents"][0]["bits_over_opponent"]) == set(document["bits_per_frame"])
    assert [level["codes"] for level in document["levels"]] == [64, 32]
    assert [len(opponent["curve"]) for opponent in document["opponents"]] == [5, 5, 5]
    assert document["plot"] is None
    assert repr(evaluation).startswith("Evaluation('linear', PRDN ")


@pytest.mark.parametrize("kind", ["plain", "tables"])
def test_packets_are_made_and_read(codec, evaluation, tmp_path, kind):
    bundle = bundle_with_packets(codec[0], tmp_path / "packets", kind, TRAIN)
    packets = bundle.packets()
    found = evaluate(bundle, TEST, TRAIN, opponents=["dct"])
    stages = ReferenceExecutor(bundle.codec).stages(TEST)
    made = [packets.encode(*frame, 0) for frame in zip(stages.indices, *statistics_of(stages), strict=True)]
    bits = 8 * np.array([len(packet) for packet in made])
    read = [packets.decode(packet) for packet in made]
    offset, spread = np.array([p.offset for p in read], np.int32), np.array([p.spread for p in read], np.uint64)
    counts = FrameDecoder(bundle).decode(np.array([p.indices for p in read]), offset, spread)
    assert (found.packets.mean_bits, found.packets.most_bits) == (pytest.approx(bits.mean()), bits.max())
    assert found.packets.overhead_bits == 48
    assert found.side_information_bits == 24
    assert found.packets.plain_share == pytest.approx(bits.mean() / (48 + 88))
    assert found.packets.plain_share == 1 if kind == "plain" else found.packets.plain_share < 1
    assert found.packets.prdn.mean == pytest.approx(prdn(TEST, counts).mean(), rel=1e-5)
    assert evaluation.prdn.mean < found.packets.prdn.mean < 1.02 * evaluation.prdn.mean
    assert found.prdn == evaluation.prdn
    assert found.to_json()["packets"]["mean_bits"] == pytest.approx(bits.mean())


def test_without_training_frames_the_first_half_is_taken_and_said(codec, evaluation):
    both = np.concatenate([TRAIN[:60], TEST])
    split = evaluate(codec[0], both, opponents=["dct"])
    assert split.train_frames_source == "first half of the frames given; every figure is of the other half"
    assert (split.train_frames, split.frames) == (60, 60)
    assert split.prdn == evaluation.prdn
    assert split.levels == evaluate(codec[0], TEST, TRAIN[:60], opponents=["dct"]).levels


def test_people_and_rhythms(codec, evaluation):
    flat = np.full((2, 64), 1234, np.int16)
    people = ["", "", *["b"] * 20, *["a"] * 39, ""]
    found = evaluate(
        codec[0], np.concatenate([flat, TEST]), TRAIN, people=people, rhythms=["3", "4"] * 31, opponents=["dct"]
    )
    assert [(g.by, g.name, g.frames) for g in found.groups] == [
        ("person", "a", 39),
        ("person", "b", 20),
        ("rhythm", "3", 30),
        ("rhythm", "4", 30),
    ]
    first, second = found.groups[2:]
    assert (first.prdn.mean + second.prdn.mean) / 2 == pytest.approx(evaluation.prdn.mean)
    assert max(first.prdn.worst, second.prdn.worst) == evaluation.prdn.worst
    measured = [group.beats.heart_rate.measured for group in (first, second)]
    assert sum(measured) == evaluation.beats.heart_rate.measured
    worst = found.worst_frame
    assert worst.number == evaluation.worst_frame.number + 2
    assert (worst.person, worst.rhythm) == (people[worst.number], "34"[worst.number % 2])
    with pytest.raises(InputError, match="3 names of people or rhythms for 60 frames"):
        evaluate(codec[0], TEST, TRAIN, people=["a", "b", "c"])


def test_constant_frames_are_left_out_and_counted(codec, evaluation):
    flat = np.full((3, 64), 1234, np.int16)
    with_flat = evaluate(codec[0], np.concatenate([flat, TEST]), np.concatenate([TRAIN, flat[:1]]), opponents=["dct"])
    assert with_flat.constant_frames == 4
    assert (with_flat.frames, with_flat.prdn, with_flat.levels) == (60, evaluation.prdn, evaluation.levels)


def test_without_a_compiler(codec, evaluation, monkeypatch):
    assert evaluation.executor == "reference"
    monkeypatch.setattr("edgecodec.evaluation.rate_distortion.fastest_encoder", fastest_encoder)
    monkeypatch.setenv("CC", "no-such-compiler")
    found = evaluate(codec[0], TEST, TRAIN, opponents=["dct"])
    assert (found.executor, found.prdn, found.levels) == ("reference", evaluation.prdn, evaluation.levels)


def test_the_c_gives_the_same(codec, evaluation, monkeypatch):
    require("cc", "Python.h")
    monkeypatch.setattr("edgecodec.evaluation.rate_distortion.fastest_encoder", fastest_encoder)
    found = evaluate(codec[0], TEST, TRAIN, opponents=["dct"])
    assert found.executor == "batch"
    assert (found.prdn, found.levels) == (evaluation.prdn, evaluation.levels)


def test_progress(codec):
    calls = []
    evaluate(codec[0], TEST, TRAIN, opponents=["dct"], progress=lambda *call: calls.append(call))
    assert calls[0] == (100, 270, "encoding")
    assert calls[-2:] == [(270, 270, "DCT, static tables"), (270, 270, "beats")]


def test_bundle_without_rate(codec, tmp_path):
    bundle = codec[0]
    decoder = (bundle.path / DECODER).read_bytes()
    bare = write_bundle(
        tmp_path / "bare", encoder=bundle.encoder_bytes, rvq=bundle.codec.rvq, name="bare", optional={DECODER: decoder}
    )
    found = evaluate(bare, TEST, TRAIN, opponents=["dct"])
    assert found.beats is None
    assert found.to_json()["beats"] is None


def test_plot_is_a_png_and_repeats(evaluation, codec):
    require("module:matplotlib")
    picture = plot_evaluation(evaluation, codec[0], TEST)
    assert picture.startswith(b"\x89PNG\r\n\x1a\n")
    assert plot_evaluation(evaluation, codec[0], TEST) == picture


@pytest.mark.parametrize(
    ("frames", "train", "message"),
    [
        (TEST[:, :32], TRAIN, r"expected \[N, 64\]"),
        (TEST, TRAIN.astype(float), "float64"),
        (TEST[:1], TRAIN, "1 frames to measure"),
        (TEST, TRAIN[:1], "1 frames to train on"),
        (TEST, np.zeros((5, 64), np.int16), "0 frames to train on that are not constant"),
        (TEST[:3], None, "1 frames to train on"),
        (TEST, np.concatenate([TRAIN, TEST[:7]]), "7 of the 60 frames are among the training frames"),
    ],
)
def test_bad_frames(codec, frames, train, message):
    with pytest.raises(InputError, match=message):
        evaluate(codec[0], frames, train)


def test_bundle_without_decoder(bundle):
    with pytest.raises(BundleError, match=r"no decoder\.tflite"):
        evaluate(bundle, TEST, TRAIN)


def test_decoder_that_returns_nan(codec, monkeypatch):
    monkeypatch.setattr(
        "edgecodec.evaluation.rate_distortion.FrameDecoder.decode",
        lambda self, i: np.full((len(i), 64), np.nan, np.float32),
    )
    with pytest.raises(BundleError, match="NaN"):
        evaluate(codec[0], TEST, TRAIN)


def test_missing_package(codec, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"scipy is not installed; .*edgecodec\[signal\]"):
        evaluate(codec[0], TEST, TRAIN)
