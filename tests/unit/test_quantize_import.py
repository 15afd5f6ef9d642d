import io
import json
import zipfile

import numpy as np
import pytest

from edgecodec.errors import InputError, QuantizationError
from edgecodec.quantization import FineTuning, Tuning, quantize, quantize_folder
from edgecodec.quantization.codebooks import check_codebooks, load_codebooks, open_codebooks, refit
from edgecodec.quantization.report import FineTuningReport, Validation
from edgecodec.signal.reading import Reading
from tests.tflite_builder import ppg_frames, small_encoder
from tests.tools import require

RNG = np.random.default_rng(1)
ONE, TWO = RNG.normal(0, 1, (6, 4)), RNG.normal(0, 0.3, (6, 4))
COUNTS = [RNG.uniform(0.5, 20, 6) for _ in range(2)]
SUMS = [ONE * COUNTS[0][:, None], TWO * COUNTS[1][:, None]]
CONFIG = {"layers": [{"config": {"num_levels": 2, "num_embeddings": 6, "embedding_dim": 4}}]}


def _keras_file(path, groups, config=CONFIG):
    """A ``.keras`` file of variables alone, as a class that nobody has here would be saved."""
    h5py = pytest.importorskip("h5py")
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        for name, array in groups.items():
            file[name] = np.asarray(array, np.float32)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", json.dumps(config))
        archive.writestr("model.weights.h5", content.getvalue())
    return path


def _numbered(layer, arrays):
    return {f"layers/{layer}/vars/{number}": array for number, array in enumerate(arrays)}


def _is_one_two(books):
    assert [book.shape for book in books] == [(6, 4), (6, 4)]
    assert books[0] == pytest.approx(ONE, abs=1e-6)
    assert books[1] == pytest.approx(TWO, abs=1e-6)


@pytest.mark.parametrize(
    "variables",
    [
        [ONE, TWO],
        [ONE, TWO, COUNTS[0], SUMS[0], COUNTS[1], SUMS[1]],
        [ONE, COUNTS[0], SUMS[0], TWO, COUNTS[1], SUMS[1]],
        # Sums before codes: their place says nothing.
        [SUMS[0], SUMS[1], COUNTS[0], COUNTS[1], ONE, TWO],
    ],
)
def test_codes_are_told_from_averages(tmp_path, variables):
    # A dense kernel of the codebooks' very shape is no codebook.
    groups = {**_numbered("some_residual_vector_quantizer", variables), "layers/dense/vars/0": np.ones((6, 4))}
    _is_one_two(load_codebooks(_keras_file(tmp_path / "m.keras", groups)))


def test_layer_found_by_the_shapes_it_announces(tmp_path):
    groups = {**_numbered("bottleneck", [ONE, TWO]), "layers/dense/vars/0": np.ones((4, 6))}
    _is_one_two(load_codebooks(_keras_file(tmp_path / "m.keras", groups)))


def test_a_quantizer_a_level(tmp_path):
    groups = _numbered("vector_quantizer", [ONE]) | _numbered("vector_quantizer_1", [TWO])
    _is_one_two(load_codebooks(_keras_file(tmp_path / "m.keras", groups, {})))


@pytest.mark.parametrize(
    ("groups", "config", "message"),
    [
        ({"layers/dense/vars/0": ONE}, {}, "no residual vector quantiser"),
        (_numbered("quantizer", [ONE, TWO, SUMS[0], COUNTS[0]]), {}, "3 matrices and 1 vectors"),
        (_numbered("quantizer", [ONE, TWO, COUNTS[0], SUMS[1], COUNTS[1], SUMS[0] + 1]), {}, "cannot be told"),
        (_numbered("quantizer", [ONE]), CONFIG, "2 levels"),
    ],
)
def test_keras_models_without_sure_codebooks(tmp_path, groups, config, message):
    with pytest.raises(InputError, match=message):
        load_codebooks(_keras_file(tmp_path / "m.keras", groups, config))


def test_damaged_keras_model(tmp_path):
    pytest.importorskip("h5py")
    (tmp_path / "m.keras").write_bytes(b"PK\x03\x04")
    (tmp_path / "m.h5").write_bytes(b"nothing")
    for name in ("m.keras", "m.h5"):
        with pytest.raises(InputError, match="not a readable Keras model"):
            load_codebooks(tmp_path / name)


@pytest.mark.parametrize("ema", [False, True])
@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_our_own_layers(tmp_path, ema, suffix):
    require("module:tensorflow")
    from edgecodec.nn import EmaResidualVectorQuantizer, ResidualVectorQuantizer
    from edgecodec.nn.backend import import_keras, quiet

    keras = import_keras()
    layer = (EmaResidualVectorQuantizer if ema else ResidualVectorQuantizer)(2, [6, 5], 4, name="rvq")
    inputs = keras.Input((1, 8, 4))
    model = keras.Model(inputs, layer(inputs))
    layer.set_codebooks([ONE, TWO[:5]])
    if ema:
        layer(RNG.normal(0, 1, (9, 1, 8, 4)).astype(np.float32), training=True)
    with quiet():
        model.save(tmp_path / f"m{suffix}")
    found = load_codebooks(tmp_path / f"m{suffix}")
    assert len(found) == 2
    for book, expected in zip(found, layer.codebooks, strict=True):
        assert np.array_equal(book, expected)


def test_npy_files_in_natural_order(tmp_path):
    books = [np.full((2, 3), float(level)) for level in range(11)]
    for level, book in enumerate(books):
        np.save(tmp_path / f"book_{level}.npy", book)
    for source in (tmp_path, tmp_path / "book_*.npy"):
        assert [book[0, 0] for book in load_codebooks(source)] == list(range(11))


@pytest.mark.parametrize(
    "arrays",
    [
        {"level_1": ONE, "level_2": TWO},
        {"arr_0": ONE, "arr_1": TWO},
        {"codebook_l1": ONE, "codebook_l2": TWO},
        {"codebooks": np.stack([ONE, TWO])},
        {"arr_0": np.stack([ONE, TWO])},
    ],
)
def test_names_of_arrays(tmp_path, arrays):
    np.savez(tmp_path / "cb.npz", **arrays)
    found = open_codebooks(tmp_path / "cb.npz")
    assert np.array_equal(found.levels, [ONE, TWO])
    assert found.notes == ()


def test_one_array_of_all_levels(tmp_path):
    np.save(tmp_path / "cb.npy", np.stack([ONE, TWO]))
    _is_one_two(load_codebooks(tmp_path / "cb.npy"))
    np.save(tmp_path / "one.npy", ONE)
    assert np.array_equal(load_codebooks(tmp_path / "one.npy"), [ONE])
    _is_one_two(open_codebooks(np.stack([ONE, TWO])).levels)


def test_whole_numbers_are_codes(tmp_path):
    np.savez(tmp_path / "cb.npz", level_0=np.array([[1, -2], [3, 4]], np.int8))
    (book,) = load_codebooks(tmp_path / "cb.npz")
    assert (book.dtype, book.tolist()) == (np.float64, [[1.0, -2.0], [3.0, 4.0]])


def test_other_arrays_are_left_out_and_named(tmp_path):
    np.savez(tmp_path / "cb.npz", level_0=ONE, level_1=TWO, ema_weight_1=SUMS[0], usage=COUNTS[0], version=np.array(3))
    found = open_codebooks(tmp_path / "cb.npz")
    _is_one_two(found.levels)
    assert found.notes == ("cb.npz: left out ema_weight_1 (6, 4), usage (6,), version ()",)


@pytest.mark.parametrize(
    ("levels", "out"),
    [
        # As an exporter writes them that takes every matrix of an EMA quantiser for a codebook.
        ([ONE, SUMS[0], TWO, SUMS[1]], "level_1, level_3"),
        ([ONE, TWO, SUMS[0], SUMS[1]], "level_2, level_3"),
        ([ONE, COUNTS[0], SUMS[0], TWO, COUNTS[1], SUMS[1]], "level_1, level_2, level_4, level_5"),
        # Never trained: sums are the codes themselves.
        ([ONE, ONE, TWO, TWO], "level_1, level_3"),
    ],
)
def test_moving_averages_are_taken_apart(tmp_path, levels, out):
    np.savez(tmp_path / "cb.npz", **{f"level_{level}": book for level, book in enumerate(levels)})
    found = open_codebooks(tmp_path / "cb.npz")
    _is_one_two(found.levels)
    assert found.notes == (f"{out}: left out, the moving averages of an EMA quantiser beside its codes",)
    _is_one_two(open_codebooks(levels).levels)


def test_levels_that_are_not_averages_stay():
    assert len(open_codebooks([ONE, TWO, SUMS[0], TWO + ONE]).levels) == 4
    assert len(open_codebooks([np.array([[1.0], [2.0]]), np.array([[2.0], [4.0]])]).levels) == 2


@pytest.mark.parametrize("names", [["a_0", "a_2"], ["a_2", "a_3"], ["a_0", "b_0"], ["a", "b"], []])
def test_npy_files_with_gaps(tmp_path, names):
    for name in names:
        np.save(tmp_path / f"{name}.npy", np.zeros((2, 3)))
    with pytest.raises(InputError, match=r"without a gap|no \.npy file"):
        load_codebooks(tmp_path)


@pytest.mark.parametrize(
    ("books", "levels", "message"),
    [
        ([ONE[:, :3]], None, "3 entries; the encoder's latent has 4"),
        ([ONE.T, TWO.T], None, r"6 entries; the encoder's latent has 4 channels; .*\[D, K\]: transpose"),
        ([ONE, TWO], 3, "2 codebooks; the model has 3 levels"),
        ([ONE, np.full((6, 4), np.inf)], None, "level_1 holds NaN or infinity"),
        ([np.zeros((6, 4)), TWO], None, "level_0: all 6 codes are equal"),
        ([ONE, TWO, SUMS[0]], None, "level_2 is level_0 with each code scaled"),
    ],
)
def test_codebooks_refused(books, levels, message):
    with pytest.raises(QuantizationError, match=message):
        check_codebooks(books, 4, levels)


def test_refit_by_hand():
    books = [np.array([[0.0], [10.0], [99.0]]), np.array([[-1.0], [1.0]])]
    first, second = refit(books, np.array([[1.0], [3.0], [9.0], [13.0]]))
    # Means of {1, 3} and {9, 13}; nothing chose 99. The rest is -1, 1, -2, 2.
    assert first.ravel() == pytest.approx([2.0, 11.0, 99.0])
    assert second.ravel() == pytest.approx([-1.5, 1.5])


@pytest.fixture
def frames(tmp_path):
    np.savez(tmp_path / "frames.npz", frames=ppg_frames(40, 64))
    return tmp_path / "frames.npz"


def _stack(keras):
    layers = keras.layers
    x = inputs = layers.Input((1, 64, 1))
    x = layers.Conv2D(6, (1, 5), strides=(1, 2), padding="same", use_bias=False)(x)
    x = layers.ReLU()(layers.BatchNormalization(name="norm")(x))
    x = layers.DepthwiseConv2D((1, 3), strides=(2, 2), padding="same", activation="relu")(x)
    model = keras.Model(inputs, layers.Conv2D(4, 1)(x))
    rng = np.random.default_rng(5)
    model.get_layer("norm").set_weights([rng.uniform(0.2, 3, 6), rng.normal(0, 1, 6), rng.normal(0, 1, 6), np.ones(6)])
    return model


def test_rewrites_keep_the_function():
    require("module:tensorflow")
    from edgecodec.nn.backend import import_keras
    from edgecodec.quantization.convert import predict
    from edgecodec.quantization.fold import equalize, fold, keras_model, rotate, spreading_rotation

    model = _stack(import_keras())
    x = np.random.default_rng(0).normal(0, 1, (5, 1, 64, 1)).astype(np.float32)
    expected = predict(model, x)
    convolutions = fold(model)
    assert [conv.activation for conv in convolutions] == ["relu", "relu", "linear"]
    even = equalize(convolutions, [np.array([1.0, 2, 4, 8, 1, 1]), np.array([3.0, 1, 1, 1, 9, 1]), np.ones(4)])
    assert not np.allclose(even[0].kernel, convolutions[0].kernel)
    assert predict(keras_model(even, (64, 1)), x) == pytest.approx(expected, abs=1e-4)
    rotation = spreading_rotation(expected.reshape(-1, 4))
    assert rotation @ rotation.T == pytest.approx(np.eye(4), abs=1e-9)
    turned = predict(keras_model(rotate(even, rotation), (64, 1)), x)
    assert turned @ rotation.T == pytest.approx(expected, abs=1e-4)
    spread = turned.reshape(-1, 4).var(axis=0)
    assert spread.max() < 1.01 * spread.min()


@pytest.mark.parametrize("export", ["export", "tensorflow"])
def test_saved_model_gives_the_encoder_of_the_keras_file(tmp_path, frames, export):
    require("module:tensorflow")
    from edgecodec.nn.backend import import_keras, import_tensorflow, quiet

    model = _stack(import_keras())
    with quiet():
        if export == "export":
            model.export(str(tmp_path / "saved"), verbose=False)
        else:
            import_tensorflow().saved_model.save(model, str(tmp_path / "saved"))
        model.save(tmp_path / "enc.keras")
    np.savez(tmp_path / "cb.npz", level_0=ONE, level_1=TWO)
    first = []
    for encoder in ("saved", "enc.keras"):
        quantized = quantize(tmp_path / encoder, tmp_path / "cb.npz", frames)
        first.append(quantized.report.candidates[0].figures)
        assert quantized.report.criterion == "latent_error"
        assert quantized.codec.positions == 16
        # Of a SavedModel only a function is known, which is nothing to keep unless it was rewritten.
        rewritten = "latent rotated" in quantized.report.chosen
        assert (quantized.keras_encoder is not None) == (encoder == "enc.keras" or rewritten)
    assert first[0] == pytest.approx(first[1], abs=2e-2)


def test_folder_that_is_no_saved_model(tmp_path, frames):
    require("module:tensorflow")
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "saved_model.pb").write_bytes(b"nothing")
    np.savez(tmp_path / "cb.npz", level_0=ONE)
    with pytest.raises(InputError, match="cannot be loaded as a SavedModel"):
        quantize(tmp_path / "saved", tmp_path / "cb.npz", frames)


def test_folder_of_artefacts(tmp_path, frames):
    export = tmp_path / "export"
    export.mkdir()
    with pytest.raises(InputError, match=r"holds no encoder\.keras or encoder\.tflite"):
        quantize_folder(export, frames)
    (export / "encoder.tflite").write_bytes(small_encoder())
    with pytest.raises(InputError, match=r"holds no codebook\.npz"):
        quantize_folder(export, frames)
    np.savez(export / "codebook.npz", level_0=RNG.normal(0, 1, (7, 6)))
    bundle = quantize_folder(export, frames).write(tmp_path / "bundle")
    assert bundle.encoder_bytes == small_encoder()
    assert bundle.name == "export"
    with pytest.raises(InputError, match="no such folder"):
        quantize_folder(tmp_path / "nowhere", frames)


def test_fine_tuning(trained_run, tmp_path):
    from edgecodec.host.oracles import KerasExecutor
    from edgecodec.quantization import quantize_run

    np.save(tmp_path / "train.npy", ppg_frames(60, 64, 7))
    np.save(tmp_path / "val.npy", ppg_frames(20, 64, 8))
    tuning = Tuning(tmp_path / "train.npy", FineTuning(steps=60, batch_size=16))
    said = Reading(rate_hz=64.0)
    quantized = quantize_run(trained_run, validation=tmp_path / "val.npy", tuning=tuning, reading=said)
    assert {role: found.frames for role, found in quantized.report.recordings.items()} == {
        "validation": 20,
        "training": 60,
    }
    last = quantized.report.candidates[-1]
    assert last.name.endswith("fine-tuned")
    # Six steps of training leave much to learn.
    assert last.kept
    assert quantized.report.validation == Validation(20, "val.npy")
    assert quantized.report.fine_tuning == FineTuningReport(frames=60, steps=60, batch_size=16)
    assert quantized.figures["prdn_float"] < quantized.figures["prdn_given"]
    # The bundle's Keras encoder is the float side of what was tuned.
    bundle = quantized.write(tmp_path / "bundle")
    assert KerasExecutor(bundle).encode(bundle.frames()[:20]).shape == (20, 8, 2)
    again = Tuning(tmp_path / "val.npy")
    with pytest.raises(QuantizationError, match="20 of the 20 validation frames are among"):
        quantize_run(trained_run, validation=tmp_path / "val.npy", tuning=again, reading=said)
    with pytest.raises(InputError, match=r"val\.npy: does not say its sampling rate; the codec's is 64 Hz"):
        quantize_run(trained_run, validation=tmp_path / "val.npy")


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"batch_size": 0}, {"learning_rate": -1.0}])
def test_fine_tuning_settings_out_of_range_are_refused(wrong):
    with pytest.raises(InputError, match=rf"fine-tuning {next(iter(wrong))} is .*; expected"):
        FineTuning(**wrong)


def test_fine_tuning_needs_keras_models(tmp_path, frames):
    (tmp_path / "enc.tflite").write_bytes(small_encoder())
    np.savez(tmp_path / "cb.npz", level_0=RNG.normal(0, 1, (7, 6)))
    np.save(tmp_path / "train.npy", ppg_frames(20, 64, 7))
    with pytest.raises(QuantizationError, match="fine-tuning needs"):
        quantize(tmp_path / "enc.tflite", tmp_path / "cb.npz", frames, tuning=Tuning(train=tmp_path / "train.npy"))


def test_biases_beside_levels(tmp_path):
    costs = [np.linspace(0, 1, 6), np.arange(6)]
    np.savez(tmp_path / "cb.npz", level_0=ONE, level_1=TWO, bias_0=costs[0], bias_1=costs[1])
    found = open_codebooks(tmp_path / "cb.npz")
    _is_one_two(found.levels)
    assert (np.array(found.biases).tolist(), found.notes) == (np.array(costs).tolist(), ())
    np.savez(tmp_path / "cb.npz", level_0=ONE, level_1=TWO)
    assert open_codebooks(tmp_path / "cb.npz").biases is None


@pytest.mark.parametrize(
    ("biases", "message"),
    [
        ({"bias_0": np.zeros(6)}, "biases of 1 levels; the quantiser has 2"),
        ({"bias_0": np.zeros(6), "bias_1": np.zeros(5)}, r"bias_1 has shape \(5,\); expected \[6\]"),
        ({"bias_0": np.zeros(6), "bias_1": np.array(["x"] * 6)}, "bias_1 is <U1; expected numbers"),
    ],
)
def test_biases_that_do_not_fit(tmp_path, biases, message):
    np.savez(tmp_path / "cb.npz", level_0=ONE, level_1=TWO, **biases)
    with pytest.raises(InputError, match=message):
        open_codebooks(tmp_path / "cb.npz")
