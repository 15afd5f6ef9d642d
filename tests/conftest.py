"""Fixtures that every area uses, a codec trained in a few seconds among them, and the markers' meaning."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

from edgecodec.bundle import Bundle
from edgecodec.codec.numerics import INT8, INT16X8, Numerics
from tests import tools
from tests.tflite_builder import ppg_frames, small_bundle

_CACHE = Path(__file__).resolve().parent.parent / ".cache"
# One place for every run, so that host shims and firmware are built once and reused.
os.environ.setdefault("EDGECODEC_CACHE", str(_CACHE / "tests"))
# Codecs differ in their tables alone: most of what is compiled has been compiled before, in another temporary folder.
if tools.available("ccache"):
    os.environ.setdefault("CMAKE_C_COMPILER_LAUNCHER", "ccache")
    os.environ.setdefault("CC", "ccache cc")
    os.environ.setdefault("CCACHE_DIR", str(_CACHE / "ccache"))
    os.environ.setdefault("CCACHE_BASEDIR", tempfile.gettempdir())
    os.environ.setdefault("CCACHE_NOHASHDIR", "1")

# A shell's background ignores Ctrl-C, and what it starts would, too.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Tests do not time: what a busy machine takes longer for is no fault of the example's.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

_SAMPLES = 64


def pytest_xdist_auto_num_workers() -> int:
    """Half as many processes again as CPUs: tests wait for boards and for what they start."""
    return (os.cpu_count() or 1) * 3 // 2


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start what takes long first, so that processes that run tests side by side end together."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.fixture(autouse=True)
def _tools_of_markers(request: pytest.FixtureRequest) -> None:
    """``@pytest.mark.emulated`` asks for the tools of an emulated board."""
    if request.node.get_closest_marker("emulated") is not None:
        tools.require(*tools.EMULATOR)


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A small bundle with 16 frames, made without TensorFlow. Tests that edit it copy it first."""
    return small_bundle(tmp_path_factory.mktemp("bundle") / "small")


@pytest.fixture(scope="session")
def bundles(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Mapping[Numerics, Bundle]:
    """A small bundle of each numerics; of int8 it is ``bundle``."""
    wide = small_bundle(tmp_path_factory.mktemp("bundle") / "wide", numerics=INT16X8)
    return {INT8: bundle, INT16X8: wide}


@pytest.fixture(scope="session")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``a.npy`` and ``b.npy``: rows of synthetic PPG, int16 ``[4, 640]``."""
    folder = tmp_path_factory.mktemp("recordings")
    for seed, name in enumerate("ab"):
        np.save(folder / f"{name}.npy", ppg_frames(4, 640, seed))
    return folder


@pytest.fixture(scope="session")
def smoke_config(recordings: Path) -> dict[str, object]:
    """A configuration of six steps."""
    return {
        "run_name": "smoke",
        "seed": 3,
        "data": {
            "source": "files",
            "train": [str(recordings / "a.npy")],
            "test": [str(recordings / "b.npy")],
            "rate_hz": 64.0,
            "frame_size": _SAMPLES,
            "validation_fraction": 0.2,
            "batch_size": 8,
            "steps_per_epoch": 3,
            "epochs": 2,
            "gaussian_noise": [0.0, 0.1],
            "time_warp": 0.2,
            "mix": 0.5,
        },
        "model": {
            "embedding_dim": 4,
            "latent_width": 16,
            "num_stages": 3,
            "base_filters": 8,
            "use_ema": True,
        },
        "training": {"learning_rate": 1e-3, "kmeans_start_steps": 2},
        "output": {"calibration_frames": 40},
    }


@pytest.fixture(scope="session")
def trained_run(smoke_config: dict[str, object], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder of ``edgecodec train``."""
    tools.require("module:tensorflow", "module:scipy")
    from edgecodec.training.config import parse_config
    from edgecodec.training.run import train

    folder = tmp_path_factory.mktemp("run") / "run"
    train(parse_config(smoke_config, "smoke"), folder)
    return folder


@pytest.fixture(scope="session")
def trained_bundle(trained_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The bundle of :func:`trained_run`, with decoder, Keras encoder and frames."""
    from edgecodec.quantization import quantize_run

    return quantize_run(trained_run).write(tmp_path_factory.mktemp("quantized") / "bundle")
