import hashlib
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from edgecodec.bundle import Bundle
from edgecodec.codec.numerics import INT8, INT16X8
from edgecodec.codec.reference import ReferenceExecutor
from edgecodec.errors import EdgecodecError, InputError, QuantizationError
from edgecodec.evaluation.rate_distortion import evaluate
from edgecodec.quantization import FineTuning, Tuning, candidates, quantize, quantize_run
from edgecodec.quantization.candidates import Search, SearchData
from edgecodec.quantization.codebooks import check_codebooks, load_codebooks, quantize_float
from edgecodec.quantization.measure import Variant
from edgecodec.signal.normalize import ZScore
from edgecodec.training import ModelBudget
from edgecodec.verify.run import verify_host
from tests.linear_codec import linear_codec, pulse_frames
from tests.tflite_builder import ppg_frames, small_encoder
from tests.tools import require

SMALL = ModelBudget(2000, 10_000)


@pytest.fixture
def keras():
    require("module:tensorflow")
    from edgecodec.nn.backend import import_keras

    return import_keras()


@pytest.fixture
def files(tmp_path):
    """Codebooks of 4 channels and calibration frames of 64 samples."""
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "cb.npz", level_0=rng.normal(0, 0.5, (7, 4)), level_1=rng.normal(0, 0.2, (5, 4)))
    np.savez(tmp_path / "frames.npz", frames=ppg_frames(30, 64))
    return tmp_path


def _encoder(keras, path, *, length=64, norm=None, activation="relu", channels=4):
    layers = keras.layers
    x = inputs = layers.Input((1, length, 1))
    x = layers.Conv2D(6, (1, 5), strides=(1, 2), padding="same", name="first")(x)
    if norm is not None:
        x = norm(x)
    x = layers.Activation(activation)(x)
    # A depthwise layer as compressionKIT saves it, with unequal strides.
    x = layers.DepthwiseConv2D((1, 3), strides=(1, 2), padding="same")(x)
    x = layers.Conv2D(channels, 1)(x)
    keras.Model(inputs, x).save(path)
    return path


def _quantize(files, encoder, **options):
    calibration = options.pop("calibration", files / "frames.npz")
    books = options.pop("codebooks", files / "cb.npz")
    return quantize(encoder, books, calibration, **options)


def test_bundle_of_a_run(trained_run, trained_bundle):
    manifest = trained_bundle.manifest
    assert manifest.name == "smoke"
    assert manifest.frame.rate_hz == 64.0
    assert (trained_bundle.codec.samples, trained_bundle.codec.positions, trained_bundle.codec.levels) == (64, 8, 2)
    assert set(manifest.files) == {
        "encoder.tflite",
        "codebooks.npz",
        "decoder.tflite",
        "encoder.keras",
        "frames.npz",
        "packets.npz",
    }
    frames = trained_bundle.frames()
    assert frames is not None
    assert np.array_equal(frames, np.load(trained_run / "verify.npz")["frames"])
    calibration = np.load(trained_run / "calibration.npz")["frames"]
    if not (trained_run / "validation.npz").exists():
        calibration = np.delete(calibration, np.s_[::5], axis=0)
    provenance = manifest.provenance
    digest = hashlib.sha256(calibration.tobytes()).hexdigest()
    assert provenance["calibration"] == {"frames": len(calibration), "sha256": digest}
    assert {"prdn_float", "prdn_int8", "prdn_integer", "agreement_l1", "agreement_l2"} <= set(provenance["figures"])
    assert provenance["training"]["seed"] == 3
    assert provenance["figures"]["prdn_integer"] < 1.5 * provenance["figures"]["prdn_float"]


def test_same_run_gives_the_same_bundle(trained_run, trained_bundle, tmp_path, capfd):
    stages = []
    again = quantize_run(trained_run, progress=lambda done, total, stage: stages.append(stage))
    assert again.write(tmp_path / "bundle").digest == trained_bundle.digest
    assert stages[:2] == ["encoder", "decoder"]
    assert stages[-1] == "figures"
    assert {"candidate channels equalised", "candidate latent rotated"} < set(stages)
    # Held-out frames of the same people cannot tell whether refitting serves others.
    assert "candidate codebooks refitted" not in stages
    output = capfd.readouterr()
    assert output.out == ""
    assert output.err == ""


def test_int8_latents_follow_the_reference(trained_bundle):
    from edgecodec.codec.reference import run_layers
    from edgecodec.quantization.measure import encoder_inputs, run_int8

    graph = trained_bundle.codec.graph
    inputs = encoder_inputs(trained_bundle.codec.normalizer, trained_bundle.frames()[:8])
    found = run_int8(trained_bundle.encoder_bytes, graph, inputs)
    assert np.array_equal(found.reshape(8, -1), run_layers(graph, inputs).reshape(8, -1))


def test_report_of_a_run(trained_bundle):
    report = trained_bundle.manifest.provenance["quantization"]
    candidates = report["candidates"]
    assert report["criterion"] == "prdn_integer"
    assert candidates[0]["name"] == "min-max ranges"
    kept = [entry for entry in candidates if entry["kept"]]
    assert [entry["name"] for entry in kept] == [report["chosen"]]
    # Ranges, equalised channels, a rotated latent, rounded weights.
    measured = [entry["figures"]["prdn_integer"] for entry in candidates if entry["refused"] is None]
    assert len(measured) == 4
    # A candidate has to gain a thousandth to be kept.
    assert kept[0]["figures"]["prdn_integer"] <= min(measured) / 0.999 + 1e-3
    figures = trained_bundle.manifest.provenance["figures"]
    assert figures["prdn_given"] == pytest.approx(figures["prdn_float"], rel=0.01)


def test_rounding_the_input_alone_costs_less_than_rounding_everything(trained_bundle):
    figures = trained_bundle.manifest.provenance["figures"]
    for level in ("l1", "l2"):
        assert 0.3 < figures[f"agreement_{level}"] <= figures[f"agreement_rounded_input_{level}"] <= 1
    assert figures["prdn_rounded_input"] == pytest.approx(figures["prdn_float"], rel=0.05)


def test_index_model(trained_run, tmp_path):
    frames = ppg_frames(400, 64, 7)
    np.savez(tmp_path / "train.npz", frames=frames[:200], rate_hz=64)
    np.savez(tmp_path / "others.npz", frames=frames[200:300], rate_hz=64)
    tuning = Tuning(index_frames=tmp_path / "train.npz", budget=SMALL)
    quantized = quantize_run(trained_run, validation=tmp_path / "others.npz", tuning=tuning)
    report = quantized.report.index_model
    assert report is not None
    assert (report.frames, report.validation_frames, report.budget) == (200, 100, SMALL)
    assert report.chosen.flash_bytes <= SMALL.flash_bytes
    bundle = quantized.write(tmp_path / "bundle")
    curve = bundle.manifest.provenance["quantization"]["index_model"]["curve"]
    assert [point["flash_bytes"] for point in curve] == [point.flash_bytes for point in report.curve]
    packets = bundle.packets()
    # The model was fitted to what the integer codec makes of the frames.
    stages = ReferenceExecutor(bundle.codec).stages(frames[200:300])
    bits = packets.model.code_lengths(stages.indices).sum(axis=(1, 2)).mean()
    assert bits == pytest.approx(report.chosen.bits_per_frame, rel=1e-6)
    assert bits < bundle.codec.bits_per_frame
    sizes = []
    for indices, offset, spread in zip(stages.indices, stages.offset, stages.spread, strict=True):
        packet = packets.encode(indices, int(offset), int(spread), 0)
        sizes.append(8 * len(packet))
        read = packets.decode(packet)
        assert read.indices.tolist() == indices.tolist()
        # The codec is poor, and its steps as coarse as that allows.
        assert abs(np.log2(read.spread / int(spread))) <= 1.01 * 2.0**-packets.side.scale_bits
    assert np.mean(sizes) < bits + 48 + 8
    result = evaluate(bundle, frames[300:], frames[:200])
    assert result.best_model == "coded"
    expected = packets.model.code_lengths(ReferenceExecutor(bundle.codec).encode(frames[300:])).sum(axis=(1, 2)).mean()
    assert result.bits_per_frame["coded"] == pytest.approx(expected, rel=1e-6)
    assert result.to_json()["opponents"][0]["bits_over_opponent"]["coded"] > 0


def test_every_bundle_has_plain_packets(trained_bundle):
    packets = trained_bundle.packets()
    assert packets.model is None
    assert packets.side.samples == trained_bundle.codec.samples
    # The steps are those of the codec's distortion.
    assert packets.side.cost(trained_bundle.manifest.provenance["figures"]["prdn_integer"]) <= 0.01


def test_index_model_needs_others(trained_run, tmp_path):
    np.savez(tmp_path / "train.npz", frames=ppg_frames(20, 64, 7), rate_hz=64)
    with pytest.raises(QuantizationError, match="other people; give them with --validation"):
        quantize_run(trained_run, tuning=Tuning(index_frames=tmp_path / "train.npz"), progress=_not_reached)
    with pytest.raises(QuantizationError, match="other people; give them with --validation"):
        quantize_run(trained_run, tuning=Tuning(index_frames=True), progress=_not_reached)
    with pytest.raises(QuantizationError, match=r"no frames of the training people .* --index-frames FILE"):
        quantize_run(
            trained_run, validation=tmp_path / "train.npz", tuning=Tuning(index_frames=True), progress=_not_reached
        )
    both = Tuning(index_frames=tmp_path / "train.npz")
    with pytest.raises(QuantizationError, match="20 of the 20 validation frames are among the 20 training frames"):
        quantize_run(trained_run, validation=tmp_path / "train.npz", tuning=both, progress=_not_reached)


def _not_reached(done, total, stage):
    pytest.fail(f"what can be refused at once is refused before the stage {stage!r}")


def test_run_split_by_person_gives_an_index_model_when_asked(trained_run, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(trained_run, run)
    frames = ppg_frames(300, 64, 8)
    np.savez(run / "train.npz", frames=frames[:200])
    np.savez(run / "validation.npz", frames=frames[200:])
    assert quantize_run(run).report.index_model is None
    told = []
    tuning = Tuning(index_frames=True, budget=SMALL)
    report = quantize_run(run, tuning=tuning, progress=lambda *call: told.append(call)).report
    assert told[-1] == (0, 0, "index model")
    assert report.validation.source == "validation.npz"
    assert report.index_model.frames == 200


def test_files_of_another_trainer(keras, files):
    quantized = _quantize(files, _encoder(keras, files / "enc.keras", norm=keras.layers.BatchNormalization()))
    bundle = quantized.write(files / "bundle")
    assert bundle.digest == Bundle.load(files / "bundle").digest
    assert bundle.manifest.name == "enc"
    assert bundle.codec.rvq.codebook_sizes == (7, 5)
    assert [layer.op.value for layer in bundle.codec.graph.layers] == ["CONV_2D", "DEPTHWISE_CONV_2D", "CONV_2D"]
    assert [layer.stride for layer in bundle.codec.graph.layers] == [2, 2, 1]
    frames = np.load(files / "frames.npz")["frames"]
    assert np.array_equal(bundle.frames(), frames[::5])
    assert bundle.manifest.provenance["calibration"]["frames"] == 24
    assert 0 <= quantized.figures["agreement_l1"] <= 1
    assert "prdn_integer" not in quantized.figures
    assert repr(quantized).startswith("Quantized('enc', Codec(64 samples to 16 x 2 indices of 7/5 codes, 3 layers,")


def test_objects_in_memory_give_what_their_files_do(keras, files):
    encoder = keras.models.load_model(_encoder(keras, files / "enc.keras"), compile=False)
    latents = keras.layers.Input((1, 16, 4))
    decoder = keras.Model(latents, keras.layers.Conv2DTranspose(1, (1, 4), (1, 4), padding="same")(latents))
    decoder.save(files / "dec.keras")
    weights = [weight.copy() for weight in decoder.get_weights()]
    frames = np.load(files / "frames.npz")["frames"]
    with np.load(files / "cb.npz") as archive:
        books = [archive["level_0"], archive["level_1"]]
    tuning = Tuning(ppg_frames(40, 64, 5), FineTuning(steps=3, batch_size=8))
    given = {"name": "one", "validation": ppg_frames(12, 64, 6), "tuning": tuning}
    in_memory = quantize(encoder, books, frames, decoder=decoder, **given)
    of_files = _quantize(files, files / "enc.keras", decoder=files / "dec.keras", **given)
    assert in_memory.encoder == of_files.encoder
    assert in_memory.decoder == of_files.decoder
    assert in_memory.figures == of_files.figures
    assert set(of_files.report.recordings) == {"calibration"}
    assert in_memory.report == replace(of_files.report, recordings={})
    assert in_memory.report.validation.source == "frames given"
    assert in_memory.report.fine_tuning.frames == 40
    assert in_memory.write(files / "bundle").codec.rvq.codebook_sizes == (7, 5)
    for before, after in zip(weights, decoder.get_weights(), strict=True):
        assert np.array_equal(before, after), "fine-tuning trains a copy"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"calibration": np.zeros((20, 64))}, "^calibration: frames are float64"),
        ({"calibration": ppg_frames(20, 63)}, r"^calibration: frames have shape \(20, 63\)"),
        ({"codebooks": [np.zeros((3, 6), bool)]}, "codebook 0 is bool"),
        ({"codebooks": []}, "codebook"),
        ({"encoder": b"hello"}, "not a TFLite file"),
    ],
)
def test_objects_that_do_not_fit(change, message):
    given = {"encoder": small_encoder(), "codebooks": [np.eye(6)], "calibration": ppg_frames(20, 64), **change}
    with pytest.raises(EdgecodecError, match=message):
        quantize(**given)


def test_candidate_that_cannot_be_executed_is_refused_while_searching(tmp_path, monkeypatch):
    bundle, _ = linear_codec(tmp_path)
    rvq = bundle.codec.rvq
    books = [book * rvq.latent_scale / 2.0**rvq.fraction_bits for book in rvq.codebooks]
    decoder = (bundle.path / "decoder.tflite").read_bytes()
    given = {"decoder": decoder, "validation": pulse_frames(30, seed=3), "rate_hz": bundle.rate_hz}
    quantized = quantize(bundle.encoder_bytes, books, pulse_frames(40, seed=4), **given)
    assert [candidate.refused for candidate in quantized.report.candidates] == [None, None]
    assert quantized.report.criterion == "prdn_integer"
    monkeypatch.setattr(
        "edgecodec.quantization.candidates.refit", lambda given, latents, biases: [1e9 * book for book in given]
    )
    quantized = quantize(bundle.encoder_bytes, books, pulse_frames(40, seed=4), **given)
    first, refitted = quantized.report.candidates
    assert (first.kept, refitted.kept, refitted.figures) == (True, False, {})
    assert "cannot be held in int16" in refitted.refused
    again = quantized.write(tmp_path / "bundle")
    assert np.array_equal(again.codec.rvq.codebooks[0], rvq.codebooks[0])
    assert again.manifest.provenance["quantization"]["candidates"][1]["refused"] == refitted.refused


def test_int8_tflite_is_taken_as_it_is(files):
    rng = np.random.default_rng(0)
    np.savez(files / "cb.npz", level_0=rng.normal(0, 0.5, (7, 6)))
    (files / "enc.tflite").write_bytes(small_encoder())
    bundle = _quantize(files, files / "enc.tflite").write(files / "bundle")
    assert bundle.encoder_bytes == small_encoder()
    assert set(bundle.manifest.files) == {"encoder.tflite", "codebooks.npz", "frames.npz", "packets.npz"}


def _refused(files, encoder, error, message, **options):
    with pytest.raises(error, match=message) as caught:
        _quantize(files, encoder, **options)
    assert "\n" not in str(caught.value)
    assert not [path for path in files.iterdir() if path.name.startswith(".")]


def test_encoder_files_that_are_none(keras, files):
    _refused(files, files / "none.keras", InputError, "no such file")
    _refused(files, files, InputError, "is a folder")
    whole = _encoder(keras, files / "enc.keras").read_bytes()
    for name, content in (("cut", whole[: len(whole) // 2]), ("empty", b""), ("text", b"hello")):
        path = files / f"{name}.keras"
        path.write_bytes(content)
        _refused(files, path, InputError, "not a readable Keras model|cannot be loaded as a Keras encoder")
    (files / "enc.tflite").write_bytes(b"hello")
    _refused(files, files / "enc.tflite", InputError, r"enc\.tflite: not a TFLite file")


def test_unknown_layer(keras, files):
    class Strange(keras.layers.Layer):
        def call(self, x):
            return x

    _encoder(keras, files / "enc.keras", norm=Strange())
    _refused(files, files / "enc.keras", QuantizationError, "layer 'strange' is Strange, .*; its code is not here")


def test_encoders_that_cannot_run(keras, files):
    _encoder(keras, files / "enc.keras", norm=keras.layers.LayerNormalization(name="ln"))
    _refused(files, files / "enc.keras", QuantizationError, "'ln' is LayerNormalization.*norm 'batch' or 'none'")
    _encoder(keras, files / "enc.keras", length=None)
    _refused(files, files / "enc.keras", QuantizationError, "fixed length")
    _encoder(keras, files / "enc.keras", activation="tanh")
    _refused(files, files / "enc.keras", QuantizationError, "' is Activation, .*the activation tanh: train with ReLU")
    inputs = keras.layers.Input((64,))
    keras.Model(inputs, keras.layers.Dense(4)(inputs)).save(files / "enc.keras")
    _refused(files, files / "enc.keras", QuantizationError, r"takes \(64,\); expected frames \(1, T, 1\)")
    inputs = keras.layers.Input((2, 64, 1))
    keras.Model(inputs, keras.layers.Conv2D(4, 1)(inputs)).save(files / "enc.keras")
    _refused(files, files / "enc.keras", QuantizationError, r"\(2, 64, 1\)")


def test_calibration_frames(keras, files):
    encoder = _encoder(keras, files / "enc.keras")
    _refused(files, encoder, QuantizationError, "no calibration frames", calibration=None)
    np.save(files / "flat.npy", np.full((20, 64), 7))
    _refused(files, encoder, QuantizationError, "constant", calibration=files / "flat.npy")
    np.save(files / "none.npy", np.empty((0, 64), np.int16))
    _refused(files, encoder, EdgecodecError, "no frames|empty", calibration=files / "none.npy")
    np.save(files / "short.npy", ppg_frames(3, 63))
    _refused(files, encoder, InputError, "63 samples", calibration=files / "short.npy")


def test_codebooks_of_another_encoder(keras, files):
    encoder = _encoder(keras, files / "enc.keras", channels=5)
    _refused(files, encoder, QuantizationError, "codes have 4 entries; the encoder's latent has 5 channels")


def test_decoder_of_another_encoder(keras, files):
    encoder = _encoder(keras, files / "enc.keras")
    _refused(files, encoder, QuantizationError, "decoder maps", decoder=encoder)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({}, "holds nothing"),
        ({"level_1": np.zeros((2, 2))}, "holds level_1"),
        ({"level_0": np.zeros((2, 2)), "level_2": np.zeros((2, 2))}, "without a gap"),
        ({"level_2": np.zeros((2, 2)), "level_3": np.zeros((2, 2))}, "without a gap"),
        ({"book8": np.zeros((2, 2)), "book9": np.zeros((2, 2))}, "without a gap"),
        ({"one": np.zeros((2, 2)), "two": np.zeros((2, 2))}, r"holds one \(2, 2\), two \(2, 2\); expected level_0"),
        ({"a_0": np.zeros((2, 2)), "b_0": np.zeros((2, 2))}, r"holds a_0 \(2, 2\), b_0"),
        ({"level_0": np.zeros((2, 2), bool)}, "level_0 is bool; expected numbers"),
        ({"level_0": np.zeros((2, 2), complex)}, "level_0 is complex128"),
        ({"level_0": np.zeros(4)}, r"shape \(4,\)"),
        ({"level_0": np.zeros((2, 2)), "level_1": np.zeros((2, 3))}, "dimension 3"),
    ],
)
def test_bad_codebook_files(tmp_path, arrays, message):
    np.savez(tmp_path / "cb.npz", **arrays)
    with pytest.raises(InputError, match=message):
        load_codebooks(tmp_path / "cb.npz")


def test_unreadable_codebook_files(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        load_codebooks(tmp_path / "none.npz")
    np.save(tmp_path / "one.npy", np.zeros(4))
    with pytest.raises(InputError, match=r"one\.npy: .*shape \(4,\)"):
        load_codebooks(tmp_path / "one.npy")
    (tmp_path / "cut.npz").write_bytes(b"PK\x03\x04")
    with pytest.raises(InputError, match="not a readable"):
        load_codebooks(tmp_path / "cut.npz")


def test_not_finite_codebooks(keras, files):
    np.savez(files / "nan.npz", level_0=np.full((3, 4), np.nan))
    _refused(files, _encoder(keras, files / "e.keras"), QuantizationError, "NaN", codebooks=files / "nan.npz")


def test_codebook_dimension():
    with pytest.raises(QuantizationError, match="3 entries"):
        check_codebooks([np.zeros((2, 3))], 4)


def test_float_search_by_hand():
    books = [np.array([[0.0], [4.0]]), np.array([[0.0], [1.0]])]
    indices, quantized = quantize_float(np.array([[5.2], [0.4]]), books)
    assert indices.tolist() == [[1, 1], [0, 0]]
    assert quantized.ravel() == pytest.approx([5.0, 0.0])


def test_run_folders_that_are_none(trained_run, tmp_path):
    with pytest.raises(InputError, match="no run folder"):
        quantize_run(tmp_path)
    run = tmp_path / "run"
    shutil.copytree(trained_run, run)
    document = json.loads((run / "run.json").read_text())
    for content, message in (
        ("{", "cannot be read"),
        (json.dumps(document).replace("{", '{"steps": 1, ', 1), "the key 'steps' is there twice"),
        (json.dumps({**document, "version": 2}), "version 1"),
        (json.dumps({**document, "config": {}}), r"run\.json: lacks config\.run_name; train again"),
        (json.dumps({**document, "split": 3}), "cannot be read"),
        (json.dumps({**document, "config": {**document["config"], "seeds": 1}}), r"unknown key seeds"),
    ):
        (run / "run.json").write_text(content)
        with pytest.raises(InputError, match=message):
            quantize_run(run)
    (run / "run.json").write_text(json.dumps(document))
    (run / "codebooks.npz").unlink()
    with pytest.raises(InputError, match=r"codebooks\.npz"):
        quantize_run(run)


def test_16_bit_activations(keras, files):
    """Every candidate of the search keeps them, TFLM and the C agree, and the float codec's indices stay."""
    require("cc", "Python.h", "module:tflite_micro")
    keras.utils.set_random_seed(3)
    encoder = keras.models.load_model(_encoder(keras, files / "enc.keras"), compile=False)
    latents = keras.layers.Input((1, 16, 4))
    decoder = keras.Model(latents, keras.layers.Conv2DTranspose(1, (1, 4), (1, 4), padding="same")(latents))
    with np.load(files / "cb.npz") as archive:
        books = [archive["level_0"], archive["level_1"]]
    frames, validation = np.load(files / "frames.npz")["frames"], ppg_frames(12, 64, 6)
    made = quantize(encoder, books, frames, decoder=decoder, validation=validation, name="x", activations=16)
    tried = made.report.candidates
    assert {candidate.name.rpartition(", ")[2] for candidate in tried} >= {
        "channels equalised",
        "latent rotated",
        "latent range 99.95 %",
    }
    assert [candidate.refused for candidate in tried] == [None] * len(tried)
    assert made.codec.numerics == INT16X8
    assert all(candidate.figures["kappa_l1"] > 0.9 for candidate in tried[:2])
    bundle = made.write(files / "wide")
    assert bundle.manifest.numerics == "edgecodec.int16x8.v1"
    assert verify_host(bundle, validation).exit_code == 0


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"activations": 12}, "activations of 12 bits; expected 8, 16 or 'auto'"),
        ({"activations": "wide"}, "activations of wide bits; expected 8, 16 or 'auto'"),
    ],
)
def test_activations_that_are_refused(keras, files, given, message):
    with pytest.raises(QuantizationError, match=message):
        _quantize(files, _encoder(keras, files / "enc.keras"), progress=_not_reached, **given)


@pytest.mark.parametrize(
    ("figures", "refitted"),
    [
        ({"prdn_float": 2.0, "prdn_integer": 2.009}, False),
        ({"prdn_float": 2.0, "prdn_integer": 2.011}, True),
        ({"prdn_float": 2.0, "prdn_integer": 1.99}, False),
        # Without a decoder, or of a file of integers, nobody knows what is lost.
        ({"latent_error": 0.0}, True),
        ({"prdn_integer": 1.99}, True),
    ],
)
def test_codebooks_are_refitted_where_rounding_costs_something(monkeypatch, figures, refitted):
    tried = []
    monkeypatch.setattr(candidates, "measure", lambda *_: figures)
    monkeypatch.setattr(Search, "_refitted", lambda _, best: (tried.append(best) or best, None))
    frames = np.arange(8, dtype=np.int16).reshape(1, 8)
    search = Search(SearchData(frames, frames, True), None, None, lambda *_: None)
    first = Variant(candidates.FIRST, b"", ZScore(), [], None)
    search.start(first)
    search.run(first)
    assert bool(tried) == refitted


def _linear_parts(keras):
    """A linear encoder, a linear decoder, codebooks ``[7, 4]`` and ``[5, 4]`` and their biases."""
    keras.utils.set_random_seed(7)
    frames, latents = keras.layers.Input((1, 64, 1)), keras.layers.Input((1, 8, 4))
    encoder = keras.Model(frames, keras.layers.Conv2D(4, (1, 31), (1, 8), padding="same")(frames))
    decoder = keras.Model(latents, keras.layers.Conv2DTranspose(1, (1, 8), (1, 8), padding="same")(latents))
    rng = np.random.default_rng(7)
    books = [rng.normal(0, 0.8, (7, 4)), rng.normal(0, 0.4, (5, 4))]
    biases = [rng.uniform(0, 0.3, 7), rng.uniform(0, 0.1, 5)]
    return encoder, decoder, books, biases


@pytest.mark.parametrize("activations", [8, 16])
def test_biases_are_carried_through_every_candidate(keras, files, activations):
    """The bundle's integers choose as the biased float search does, after fine-tuning too."""
    encoder, decoder, books, biases = _linear_parts(keras)
    levels = {f"level_{level}": book for level, book in enumerate(books)}
    costs = {f"bias_{level}": bias for level, bias in enumerate(biases)}
    np.savez(files / "biased.npz", **levels, **costs)
    frames, validation = np.load(files / "frames.npz")["frames"], ppg_frames(12, 64, 6)
    tuning = Tuning(ppg_frames(40, 64, 5), FineTuning(steps=3, batch_size=8))
    made = quantize(
        encoder,
        files / "biased.npz",
        frames,
        decoder=decoder,
        validation=validation,
        activations=activations,
        tuning=tuning,
    )
    assert [candidate.refused for candidate in made.report.candidates] == [None] * len(made.report.candidates)
    assert made.report.candidates[-1].name.endswith("fine-tuned")
    # Nothing is lost that refitting could regain.
    assert not any("refitted" in candidate.name for candidate in made.report.candidates)
    # Without the biases in both searches the float codec's choice would be another one in a third of the cases.
    assert all(candidate.figures["kappa_l1"] > 0.9 for candidate in made.report.candidates[:3])
    rvq = made.codec.rvq
    step = rvq.latent_scale / 2.0**rvq.fraction_bits
    for level, bias in enumerate(biases):
        assert rvq.biases[level] * step**2 == pytest.approx(bias - bias.min(), abs=step**2)
    bundle = made.write(files / f"biased{activations}")
    assert bundle.codec.numerics == (INT8 if activations == 8 else INT16X8)
    stages = ReferenceExecutor(bundle.codec).stages(validation)
    latents = rvq.residual(stages.latent) * step
    expected, _ = quantize_float(latents.reshape(-1, 4), [book * step for book in rvq.codebooks], biases)
    assert (stages.indices.reshape(-1, 2) == expected).mean() > 0.99
    plain, _ = quantize_float(latents.reshape(-1, 4), [book * step for book in rvq.codebooks])
    assert (stages.indices.reshape(-1, 2) != plain).mean() > 0.05


def test_fine_tuning_with_16_bit_roundings(keras):
    from edgecodec.quantization.fine_tune import fine_tune
    from edgecodec.quantization.fold import fold

    encoder, decoder, books, _ = _linear_parts(keras)
    inputs = np.random.default_rng(1).normal(0, 1, (64, 1, 64, 1)).astype(np.float32)
    errors = []
    tuned = fine_tune(
        fold(encoder),
        [(4.0 / 32767, 0), (3.0 / 32767, 0)],
        books,
        decoder,
        inputs,
        FineTuning(steps=60, batch_size=32, learning_rate=1e-2),
        numerics=INT16X8,
        progress=lambda done, total, figures: errors.append(figures["mse"]),
    )
    assert errors[-1] < errors[0]
    assert [zero for _, zero in tuned.quantization] == [0, 0]
    assert tuned.quantization[0][0] == pytest.approx(4.0 / 32767, rel=0.3)


def test_frames_choose_the_bits_of_activations(keras, files, monkeypatch):
    encoder, decoder, books, _ = _linear_parts(keras)
    frames, validation = np.load(files / "frames.npz")["frames"], ppg_frames(12, 64, 6)
    given = {"decoder": decoder, "validation": validation, "activations": "auto"}
    for least, bits in ((-1.0, 16), (1.0, 8)):
        monkeypatch.setattr("edgecodec.quantization.pipeline._WIDER_GAIN", least)
        made = quantize(encoder, books, frames, **given)
        choice = made.report.activations
        assert (choice.bits, set(choice.measured)) == (bits, {"8", "16"})
        assert made.codec.numerics == (INT8 if bits == 8 else INT16X8)
        assert choice.reason.startswith(f"{bits} bits: 16 ")
        kept = [candidate.figures["prdn_integer"] for candidate in made.report.candidates if candidate.kept]
        assert kept == [choice.measured[str(bits)]]
    document = made.write(files / "auto").manifest.provenance["quantization"]
    assert document["activations"]["reason"] == choice.reason
    finished = quantize(made.encoder, books, frames, **given)
    assert finished.report.activations is None  # a finished file keeps its own
