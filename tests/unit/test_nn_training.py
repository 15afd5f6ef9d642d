import csv
import json

import numpy as np
import pytest

from edgecodec.errors import InputError
from edgecodec.nn.config import DataConfig, parse_config
from edgecodec.nn.training import CropSampler, load_data, train
from edgecodec.signal.sources import Recording
from tests.tools import require

FILES = {
    "run.json",
    "encoder.keras",
    "decoder.keras",
    "codebooks.npz",
    "calibration.npz",
    "test.npz",
    "verify.npz",
    "history.csv",
}


def _config(smoke_config, **sections):
    merged = {
        key: {**value, **sections.get(key, {})} if isinstance(value, dict) else value
        for key, value in smoke_config.items()
    }
    return parse_config(merged, "test")


def test_run_folder(trained_run):
    assert {path.name for path in trained_run.iterdir()} == FILES
    document = json.loads((trained_run / "run.json").read_text())
    assert document["format"] == "edgecodec.run"
    assert document["steps"] == 6
    assert {"val_mse", "test_prdn_mean", "val_rvq_l1_usage"} <= set(document["metrics"])
    with np.load(trained_run / "codebooks.npz") as books:
        assert {key: (books[key].shape, books[key].dtype) for key in books} == {
            "level_0": ((16, 4), np.float32),
            "level_1": ((16, 4), np.float32),
        }
    assert np.load(trained_run / "calibration.npz")["frames"].shape == (40, 64)
    assert np.load(trained_run / "verify.npz")["frames"].shape == (1000, 64)
    assert np.load(trained_run / "test.npz")["frames"].shape == (40, 64)
    with (trained_run / "history.csv").open() as file:
        assert [row["step"] for row in csv.DictReader(file)] == ["3", "6"]


def test_same_seed_gives_the_same_codec(trained_run, smoke_config, tmp_path):
    seen = []
    summary = train(_config(smoke_config), tmp_path / "again", progress=lambda *call: seen.append(call))
    assert summary.steps == 6
    assert [(done, total) for done, total, _ in seen] == [(step, 6) for step in range(1, 7)]
    assert set(seen[-1][2]) == {"mse", "val_mse"}
    for name in FILES - {"run.json"}:
        assert (trained_run / name).read_bytes() == (tmp_path / "again" / name).read_bytes(), name


def test_time_budget_ends_cleanly(smoke_config, tmp_path):
    require("module:tensorflow", "module:scipy")
    config = _config(smoke_config, training={"max_seconds": 1e-6, "kmeans_start_steps": 3})
    summary = train(config, tmp_path / "run")
    assert summary.steps == 1
    assert np.isfinite(summary.metrics["test_prdn_mean"])
    assert {path.name for path in (tmp_path / "run").iterdir()} == FILES


def test_interruption_leaves_nothing(smoke_config, tmp_path):
    require("module:tensorflow", "module:scipy")

    def stop(done, total, metrics):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(_config(smoke_config), tmp_path / "run", progress=stop)
    assert list(tmp_path.iterdir()) == []


def test_validation_and_test_stay_apart_from_training(smoke_config):
    config = _config(smoke_config).data
    data = load_data(config)
    assert [len(part.samples) for part in data.train] == [512] * 4
    rows = np.load(config.train[0])
    windows = {row[start : start + 64].tobytes() for row in rows for start in range(512, 577)}
    assert len(data.validation) > 0
    assert all(frame.tobytes() in windows for frame in data.validation)


def test_too_little_data(smoke_config, tmp_path):
    np.save(tmp_path / "short.npy", np.arange(50))
    short = str(tmp_path / "short.npy")
    with pytest.raises(InputError, match=r"data\.train"):
        load_data(_config(smoke_config, data={"train": [short]}).data)
    with pytest.raises(InputError, match=r"data\.test"):
        load_data(_config(smoke_config, data={"test": [short]}).data)
    with pytest.raises(InputError, match="validation_fraction"):
        load_data(_config(smoke_config, data={"validation_fraction": 0.01}).data)


def test_unknown_heartpy_recording():
    with pytest.raises(InputError, match="'data4'"):
        load_data(DataConfig(train=["data4"]))


def _sampler(**settings):
    ramp = np.arange(300, dtype=np.int16)
    valid = np.ones(300, bool)
    valid[150] = False
    config = DataConfig(frame_size=32, batch_size=64, **settings)
    return CropSampler([Recording("ramp", ramp, valid, 64.0)], config, np.random.default_rng(0))


def test_crops_are_normalised_and_plain_without_augmentation():
    inputs, targets = _sampler().batch()
    assert inputs is targets
    assert inputs.dtype == np.float32
    expected = (np.arange(32) - 15.5) / np.sqrt((32**2 - 1) / 12 + 1e-3)
    assert targets == pytest.approx(np.broadcast_to(expected, (64, 32)), abs=1e-5)


def test_noise_goes_to_the_input_only():
    inputs, targets = _sampler(gaussian_noise=(0.1, 0.1)).batch()
    assert np.std(inputs - targets) == pytest.approx(0.1, rel=0.1)


def test_warped_and_mixed_crops_stay_normalised():
    _, targets = _sampler(time_warp=0.4, mix=1.0).batch()
    assert np.abs(targets.mean(axis=1)).max() < 1e-5
    assert targets.std(axis=1) == pytest.approx(np.ones(64), abs=1e-3)
