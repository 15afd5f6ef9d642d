"""The generated C under sanitizers and guard bytes, and under strict warnings of every compiler at hand."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from edgecodec.bundle import Bundle
from edgecodec.codec.numerics import INT16X8
from edgecodec.codec.reference import ReferenceExecutor
from edgecodec.compile.cascade import make_cascade
from edgecodec.compile.library import codec_files
from edgecodec.compile.plan import Plan, make_plan
from edgecodec.compile.target import DEFAULT_TARGET, Target
from edgecodec.host.extension import STRICT_FLAGS
from edgecodec.host.shim import HostShim
from tests.random_encoders import random_encoder
from tests.tflite_builder import (
    CONV,
    DEPTHWISE,
    LayerSpec,
    build_encoder,
    bundle_of,
    ppg_frames,
    small_bundle,
    small_encoder,
)
from tests.tools import lack, require

SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer", "-g", "-O1")
GUARD = Path(__file__).with_name("guard_main.c")


VECTORS = Target(vectors=True)


def _longest_frame(path: Path) -> Bundle:
    """16,384 samples: the normaliser's widest sums."""
    layers = [
        LayerSpec(CONV, 3, 9, 3, activation="RELU"),
        LayerSpec(DEPTHWISE, 0, 9, 3, padding="VALID"),
        LayerSpec(CONV, 4, 9, 3),
        LayerSpec(DEPTHWISE, 0, 8, 3),
    ]
    return bundle_of(path, build_encoder(layers, 16384, seed=1), (7, 5))


def _kernel_wider_than_frame(path: Path) -> Bundle:
    layers = [LayerSpec(CONV, 5, 9), LayerSpec(DEPTHWISE, 0, 8, 2, depth_multiplier=3)]
    return bundle_of(path, build_encoder(layers, 3, seed=2), (1, 300))


BUNDLES: dict[str, Callable[[Path], Bundle]] = {
    "family": small_bundle,
    "longest frame": _longest_frame,
    "kernel wider than frame": _kernel_wider_than_frame,
    "random 5": lambda path: bundle_of(path, random_encoder(5).data, (3, 17, 2), 5),
    "random 11": lambda path: bundle_of(path, random_encoder(11).data, (40,), 11),
    "random 17": lambda path: bundle_of(path, random_encoder(17).data, (5, 5), 17),
}


STRIPED = ["family", "kernel wider than frame", "random 11"]


def _as_chosen(bundle: Bundle, target: Target) -> Plan:
    return make_plan(bundle.codec, target)


def _in_stripes(bundle: Bundle, target: Target) -> Plan:
    """All layers of a bundle in a cascade, a few positions at a time."""
    packed = [step.packed for step in make_plan(bundle.codec, target, []).steps]
    stripes = [2 + index % 3 for index in range(len(packed))]
    return make_plan(bundle.codec, target, [make_cascade(packed, 0, len(packed) - 1, stripes)])


def _each_in_stripes(bundle: Bundle, target: Target) -> Plan:
    """Each layer of a bundle alone, a few positions at a time."""
    packed = [step.packed for step in make_plan(bundle.codec, target, []).steps]
    alone = [make_cascade(packed, index, index, [2 + index % 3]) for index in range(len(packed))]
    return make_plan(bundle.codec, target, alone)


def _write_sources(bundle: Bundle, folder: Path, plan: Plan | None = None) -> list[str]:
    """Write every C file of the codec and return the names of the sources."""
    files = codec_files(bundle, plan or make_plan(bundle.codec))
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    return sorted(name for name in files if name.endswith(".c"))


def _run(command: list[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stderr == ""


@pytest.mark.parametrize("target", [DEFAULT_TARGET, VECTORS], ids=["default", "vectors"])
@pytest.mark.parametrize(
    ("kind", "plan"), [*((kind, _as_chosen) for kind in BUNDLES), *product(STRIPED, [_in_stripes, _each_in_stripes])]
)
def test_clean_under_sanitizers(
    kind: str, plan: Callable[[Bundle, Target], Plan], target: Target, tmp_path: Path
) -> None:
    bundle = BUNDLES[kind](tmp_path / "bundle")
    _check_under_sanitizers(bundle, plan(bundle, target), tmp_path)


@pytest.mark.parametrize(
    ("kind", "plan"),
    [
        ("wide sums", _as_chosen),
        ("kernel wider than frame", _as_chosen),
        *(("family", plan) for plan in (_as_chosen, _in_stripes, _each_in_stripes)),
    ],
)
def test_int16_clean_under_sanitizers(kind: str, plan: Callable[[Bundle, Target], Plan], tmp_path: Path) -> None:
    encoders = {
        "family": small_encoder(numerics=INT16X8),
        "wide sums": build_encoder(
            [LayerSpec(CONV, 5, 9, bias_spread=1e4), LayerSpec(DEPTHWISE, 0, 8, 2, bias_spread=1e4)],
            65,
            numerics=INT16X8,
        ),
        "kernel wider than frame": build_encoder(
            [LayerSpec(CONV, 5, 9), LayerSpec(DEPTHWISE, 0, 8, 2, depth_multiplier=3)], 3, numerics=INT16X8
        ),
    }
    bundle = bundle_of(tmp_path / "bundle", encoders[kind])
    _check_under_sanitizers(bundle, plan(bundle, DEFAULT_TARGET), tmp_path)


def _check_under_sanitizers(bundle: Bundle, plan: Plan, tmp_path: Path) -> None:
    """The C of a plan gives what the reference does and touches nothing else."""
    require("gcc", "Python.h")
    sources = _write_sources(bundle, tmp_path, plan)
    shutil.copy(GUARD, tmp_path)
    program = tmp_path / "guard"
    command = ["gcc", *STRICT_FLAGS, *SANITIZERS, *sources, GUARD.name, "-o", str(program)]
    built = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    if "asan" in built.stderr and built.returncode:
        lack("gcc has no AddressSanitizer library (libasan)")
    assert built.returncode == 0, built.stderr
    rng = np.random.default_rng(0)
    samples = bundle.codec.samples
    frames = np.concatenate(
        [
            ppg_frames(20, samples, 1),
            rng.integers(-32768, 32768, (6, samples)),
            np.where(rng.random((4, samples)) < 0.5, -32768, 32767),
            [np.full(samples, -32768), np.full(samples, 32767), np.zeros(samples, int), np.arange(samples) == 0],
        ]
    ).astype(np.int16)
    (tmp_path / "frames.raw").write_bytes(frames.astype("<i2").tobytes())
    _run([str(program), "frames.raw", "indices.raw"], tmp_path)
    indices = np.fromfile(tmp_path / "indices.raw", "<u2").reshape(
        len(frames), bundle.codec.positions, bundle.codec.levels
    )
    np.testing.assert_array_equal(indices, HostShim(bundle).encode(frames))
    np.testing.assert_array_equal(indices, ReferenceExecutor(bundle.codec).encode(frames))


def test_guards_notice_a_write_behind_the_indices(tmp_path: Path) -> None:
    """The guards can fail: the codec is told that a frame has one position more than the caller's memory."""
    require("gcc")
    sources = _write_sources(small_bundle(tmp_path / "bundle"), tmp_path)
    shutil.copy(GUARD, tmp_path)
    model = tmp_path / "ppg_model.c"
    text = model.read_text(encoding="utf-8")
    broken = text.replace(".positions = PPG_MODEL_POSITIONS", ".positions = PPG_MODEL_POSITIONS + 1")
    assert broken != text
    model.write_text(broken, encoding="utf-8")
    _run(["gcc", "-std=c11", "-O1", *sources, GUARD.name, "-o", "guard"], tmp_path)
    (tmp_path / "frames.raw").write_bytes(ppg_frames(1, 64).tobytes())
    command = [str(tmp_path / "guard"), "frames.raw", "indices.raw"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "after the indices" in done.stderr


@pytest.mark.parametrize("kind", BUNDLES)
@pytest.mark.parametrize(
    "compiler",
    [
        ["gcc"],
        ["gcc", "-O3"],
        ["clang"],
        ["arm-none-eabi-gcc", "-mcpu=cortex-m0", "-mthumb"],
        ["arm-none-eabi-gcc", "-mcpu=cortex-m4", "-mthumb", "-O2"],
        ["arm-none-eabi-gcc", "-mcpu=cortex-m55", "-mthumb", "-mfloat-abi=hard", "-O2"],
        ["clang", "--target=arm-none-eabi", "-mcpu=cortex-m55", "-mthumb", "-mfloat-abi=hard", "-ffreestanding"],
    ],
    ids=" ".join,
)
def test_no_warnings(kind: str, compiler: list[str], tmp_path: Path) -> None:
    require(compiler[0])
    bundle = BUNDLES[kind](tmp_path / "bundle")
    sources = _write_sources(bundle, tmp_path, _in_stripes(bundle, DEFAULT_TARGET) if kind in STRIPED else None)
    _run([*compiler, *STRICT_FLAGS, "-pedantic", "-Wmissing-prototypes", "-c", *sources], tmp_path)
