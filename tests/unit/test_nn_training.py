import csv
import json
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from edgecodec.errors import InputError
from edgecodec.quantization import quantize_run
from edgecodec.signal.sources import Recording
from edgecodec.training.config import DataConfig, parse_config
from edgecodec.training.data import CropSampler, load_data
from edgecodec.training.run import TrainingRun, train
from edgecodec.training.trainer import Trainer, learning_rate
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


SMALL = {"num_stages": 1, "base_filters": 4}
"""A model that TensorFlow traces in half the time, for tests that train again and again."""


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


def test_run_is_loaded(trained_run, smoke_config):
    run = TrainingRun.load(trained_run)
    document = json.loads((trained_run / "run.json").read_text())
    assert run.config == _config(smoke_config)
    assert run.provenance == {key: document[key] for key in run.provenance}
    assert set(run.provenance) == {"config", "seed", "versions", "split", "recordings", "steps", "metrics"}
    assert run.seconds == document["training_seconds"]
    # Two files of four rows of 640 samples each.
    assert (run.recordings.files, run.recordings.recordings, run.recordings.rate_hz) == (2, 8, 64.0)
    assert run.recordings.used_s + run.recordings.dropped_s == 80.0
    with np.load(trained_run / "test.npz") as test:
        assert float(test["rate_hz"]) == 64.0
    assert (run.calibration().shape, run.test().shape, run.verify().shape) == ((40, 64), (40, 64), (1000, 64))
    assert (run.validation(), run.train()) == (None, None)
    assert all(path.is_file() for path in (run.encoder, run.decoder, run.codebooks))
    assert repr(run).startswith(f"TrainingRun('smoke' in {trained_run}, 6 steps, test PRDN ")


def test_light_run_with_biased_codes(smoke_config, tmp_path):
    model = {"encoder": "linear", "encoder_kernel": 15, "decoder_base_filters": 8, "rate_bias": 0.5}
    run = train(_config(smoke_config, model=model), tmp_path / "run")
    with np.load(run.codebooks) as archive:
        assert set(archive.files) == {"level_0", "level_1", "bias_0", "bias_1"}
        biases = [archive["bias_0"], archive["bias_1"]]
    for bias in biases:
        assert (bias.shape, bias.dtype, bias.min()) == ((16,), np.float32, 0.0)
        assert bias.max() > 0
    codec = quantize_run(run).codec
    assert len(codec.graph.layers) == 1
    for level, bias in enumerate(biases):
        assert codec.rvq.biases[level] * codec.rvq.step**2 == pytest.approx(bias, abs=codec.rvq.step**2)


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
    config = _config(smoke_config, model=SMALL, training={"max_seconds": 1e-6, "kmeans_start_steps": 3})
    summary = train(config, tmp_path / "run")
    assert summary.steps == 1
    assert np.isfinite(summary.metrics["test_prdn_mean"])
    assert {path.name for path in (tmp_path / "run").iterdir()} == FILES


def test_constant_test_frames_have_no_prdn(smoke_config):
    require("module:tensorflow", "module:scipy")
    config = _config(smoke_config, model=SMALL)
    data = replace(load_data(config), test=np.full((3, 64), 7, np.int16))
    metrics = Trainer(config, data).evaluate()
    assert all(np.isfinite(value) for value in metrics.values())
    assert not [name for name in metrics if name.startswith("test_")]


def test_interruption_leaves_nothing(smoke_config, tmp_path):
    require("module:tensorflow", "module:scipy")

    def stop(done, total, metrics):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(_config(smoke_config, model=SMALL), tmp_path / "run", progress=stop)
    assert list(tmp_path.iterdir()) == []


def test_interruption_after_an_epoch_leaves_a_checkpoint(smoke_config, tmp_path):
    require("module:tensorflow", "module:scipy")
    whole = tmp_path / "whole"
    train(_resumable(smoke_config), whole)
    run = tmp_path / "run"
    for last in (7, 10):
        with pytest.raises(KeyboardInterrupt):
            train(_resumable(smoke_config), run, progress=_stop_after(last), resume=True)
    assert [path.name for path in tmp_path.iterdir() if path != whole] == ["run.checkpoint.npz"]
    seen = []
    summary = train(_resumable(smoke_config), run, progress=lambda *call: seen.append(call[0]), resume=True)
    assert seen == [10, 11, 12], "two of three epochs were done"
    assert summary.steps == 12
    for name in FILES - {"run.json"}:
        assert (run / name).read_bytes() == (whole / name).read_bytes(), name
    assert not (tmp_path / "run.checkpoint.npz").exists()


def _resumable(smoke_config):
    training = {"rate_loss": {"weight": 1e-3, "channels": 4}, "derivative_loss": {"enabled": True}}
    return _config(smoke_config, data={"epochs": 4}, model=SMALL, training=training)


def _stop_after(last):
    def stop(done, total, metrics):
        if done >= last:
            raise KeyboardInterrupt

    return stop


def test_killed_process_resumes_to_the_same_result(trained_run, smoke_config, tmp_path):
    config = tmp_path / "config.json"  # JSON is YAML
    config.write_text(json.dumps(smoke_config), encoding="utf-8")
    program = (
        "import os, signal, sys\n"
        "from edgecodec.training.run import train\n"
        "def kill(done, total, metrics):\n"
        "    if done == 5: os.kill(os.getpid(), signal.SIGKILL)\n"
        "train(sys.argv[1], sys.argv[2], progress=kill)\n"
    )
    killed = subprocess.run([sys.executable, "-c", program, config, tmp_path / "run"], check=False, timeout=120)
    assert killed.returncode == -signal.SIGKILL
    assert {path.name for path in tmp_path.iterdir()} == {"config.json", "run.checkpoint.npz"}
    train(config, tmp_path / "run", resume=True)
    assert {path.name for path in tmp_path.iterdir()} == {"config.json", "run"}
    for name in FILES - {"run.json"}:
        assert (tmp_path / "run" / name).read_bytes() == (trained_run / name).read_bytes(), name


def test_checkpoints_of_other_runs_and_damaged_ones_are_refused(smoke_config, tmp_path):
    require("module:tensorflow", "module:scipy")
    run, checkpoint = tmp_path / "run", tmp_path / "run.checkpoint.npz"
    config = _config(smoke_config, model=SMALL)
    with pytest.raises(KeyboardInterrupt):
        train(config, run, progress=_stop_after(4))
    good = checkpoint.read_bytes()
    with pytest.raises(InputError, match="another configuration"):
        train(_config(smoke_config, model=SMALL, training={"learning_rate": 2e-3}), run, resume=True)
    for bad in (b"", good[:1000], b"x" * 100):
        checkpoint.write_bytes(bad)
        with pytest.raises(InputError, match=r"no readable checkpoint|not a readable \.npz of a checkpoint"):
            train(config, run, resume=True)
    assert not run.exists()
    assert checkpoint.read_bytes() == b"x" * 100
    train(config, run)
    assert not checkpoint.exists()


def test_early_stop(smoke_config, tmp_path):
    require("module:tensorflow", "module:scipy")
    # Without learning nothing gets better after the first epoch: it and two more.
    config = _config(
        smoke_config,
        data={"epochs": 9},
        model={"use_ema": False},
        training={"learning_rate": 1e-30, "kmeans_start_steps": 0, "early_stop_patience": 2},
    )
    assert train(config, tmp_path / "run").steps in (9, 12)


def test_divergence_is_said(smoke_config, tmp_path):
    require("module:tensorflow", "module:scipy")
    config = _config(smoke_config, data={"epochs": 200}, model=SMALL, training={"learning_rate": 1e38})
    with pytest.raises(InputError, match=r"training diverged: the loss is .* lower training\.learning_rate"):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_logs(smoke_config, tmp_path):
    require("module:tensorflow", "module:scipy")
    config = _config(smoke_config, model=SMALL, output={"tensorboard": str(tmp_path / "logs")})
    train(config, tmp_path / "run")
    (events,) = (tmp_path / "logs" / "smoke").iterdir()
    import tensorflow as tf

    tags = {}
    for record in tf.data.TFRecordDataset(str(events)).as_numpy_iterator():
        event = tf.compat.v1.Event.FromString(record)
        for value in event.summary.value:
            tags.setdefault(value.tag, []).append((event.step, float(tf.make_ndarray(value.tensor))))
    with (tmp_path / "run" / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert set(tags) == set(rows[0]) - {"step"} == {"learning_rate", "mse", "val_mse"}
    assert tags["mse"] == [(int(row["step"]), pytest.approx(float(row["mse"]))) for row in rows]


def test_split_by_person_keeps_their_frames(tmp_path):
    require("module:tensorflow", "module:scipy")
    document = {
        "data": {
            "source": "synthetic",
            "synthetic": {"people": 5, "seconds": 20},
            "frame_size": 64,
            "batch_size": 4,
            "steps_per_epoch": 2,
            "epochs": 2,
            "split": {"validation": "last 1", "test": "last 2"},
        },
        "model": {"embedding_dim": 4, "latent_width": 8, "num_stages": 2, "base_filters": 8},
        "output": {"calibration_frames": 10, "train_frames": 30},
    }
    run = train(parse_config(document, "test"), tmp_path / "run")
    assert {path.name for path in (tmp_path / "run").iterdir()} == FILES | {"validation.npz", "train.npz"}
    assert (run.validation().shape, run.train().shape) == ((20, 64), (30, 64))
    split = json.loads((tmp_path / "run" / "run.json").read_text())["split"]
    assert split == {
        "train": ["synthetic0", "synthetic1"],
        "validation": ["synthetic2"],
        "test": ["synthetic3", "synthetic4"],
    }
    shapes = {name: np.load(tmp_path / "run" / f"{name}.npz")["frames"].shape for name in ("validation", "train")}
    assert shapes == {"validation": (20, 64), "train": (30, 64)}


def test_schedule():
    config = parse_config({"training": {"learning_rate": 2.0, "lr_schedule": {"alpha": 0.1}}}, "test")
    assert learning_rate(config, 0.0, 49) == pytest.approx(1.0)
    assert learning_rate(config, 0.5, 1000) == pytest.approx(2 * (0.1 + 0.9 / 2))
    assert learning_rate(config, 1.0, 2000) == pytest.approx(0.2)
    restarts = {"type": "cosine_restarts", "first_decay_steps": 1000, "t_mul": 2, "m_mul": 0.5, "alpha": 0.0}
    config = parse_config({"training": {"learning_rate": 2.0, "lr_schedule": restarts}}, "test")
    # Periods begin at 0, 1000 and 3000, of heights 2, 1 and a half.
    assert [learning_rate(config, 0.0, step) for step in (500, 1000, 2000, 3000)] == pytest.approx([1, 1, 0.5, 0.5])
    config = parse_config({"training": {"learning_rate": 2.0, "lr_schedule": {"enabled": False}}}, "test")
    assert learning_rate(config, 0.9, 2000) == 2.0


def test_validation_and_test_stay_apart_from_training(smoke_config):
    config = _config(smoke_config)
    data = load_data(config)
    assert [len(part.samples) for part in data.train_recordings()] == [512] * 4
    assert not data.by_person
    rows = np.load(config.data.train[0])
    windows = {row[start : start + 64].tobytes() for row in rows for start in range(512, 577)}
    assert len(data.validation) > 0
    assert all(frame.tobytes() in windows for frame in data.validation)


def test_too_little_data(smoke_config, tmp_path):
    np.save(tmp_path / "short.npy", np.arange(50))
    short = str(tmp_path / "short.npy")
    with pytest.raises(InputError, match=r"data\.train"):
        load_data(_config(smoke_config, data={"train": [short]}))
    with pytest.raises(InputError, match=r"data\.test"):
        load_data(_config(smoke_config, data={"test": [short]}))
    with pytest.raises(InputError, match="validation_fraction"):
        load_data(_config(smoke_config, data={"validation_fraction": 0.01}))


def test_unknown_heartpy_recording():
    with pytest.raises(InputError, match="'data4'"):
        load_data(parse_config({"data": {"train": ["data4"]}}, "test"))


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
