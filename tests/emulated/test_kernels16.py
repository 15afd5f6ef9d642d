"""The kernels of 16-bit activations as cores run them: instructions of their own, on emulated ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgecodec.codec.numerics import INT16X8
from edgecodec.compile.plan import make_plan
from edgecodec.compile.target import Target
from tests.tflite_builder import CONV, DEPTHWISE, LayerSpec, build_encoder, bundle_of, ppg_frames
from tests.tools import EMULATOR, require
from tools.kernel_counts import count_calls

ENCODERS = {
    "light": ([LayerSpec(CONV, 8, 31, 8)], 320),
    # Odd numbers of channels and of columns, windows beyond both edges, channels that are no block, a large shift.
    "odd": (
        [
            LayerSpec(CONV, 7, 7, 2, activation="RELU"),
            LayerSpec(CONV, 10, 3, 1, "VALID", vanishing_channel=True),
            LayerSpec(DEPTHWISE, 0, 5, 2),
            LayerSpec(CONV, 5, 1, activation="RELU"),
            LayerSpec(CONV, 6, 8, 3),
        ],
        101,
    ),
    "blocks": (
        [
            LayerSpec(CONV, 16, 7, 2, activation="RELU"),
            LayerSpec(CONV, 20, 7, 2),
            LayerSpec(DEPTHWISE, 0, 7, 2, activation="RELU"),
            LayerSpec(CONV, 12, 1),
        ],
        160,
    ),
}
RUNS = [
    *(("light", core, "speed") for core in ("cortex-m0", "cortex-m4")),
    *(("odd", *target) for target in (("cortex-m0", "speed"), ("cortex-m3", "balanced"), ("cortex-m4", "flash"))),
    *(("odd", *target) for target in (("cortex-m4", "speed"), ("cortex-m33", "balanced"))),
    *(("blocks", core, "speed") for core in ("cortex-m0", "cortex-m3", "cortex-m4", "cortex-m55")),
    ("blocks", "cortex-m4", "balanced"),
]


@pytest.mark.emulated
@pytest.mark.parametrize(("name", "core", "optimize"), RUNS)
def test_equal_and_short(name: str, core: str, optimize: str, tmp_path: Path) -> None:
    """Every latent is the reference's, and no call of a kernel takes longer than a step may."""
    require("cc", *EMULATOR)
    layers, width = ENCODERS[name]
    bundle = bundle_of(tmp_path / "bundle", build_encoder(layers, width, seed=2, numerics=INT16X8))
    frames = ppg_frames(3, width, 1)
    frames[1] = np.random.default_rng(1).integers(-32768, 32768, width)
    plan = make_plan(bundle.codec, Target.of_core(core, optimize))
    for calls in count_calls(bundle, plan, frames, core):
        assert max(call.instructions for call in calls) < 50_000
        counted, modelled = sum(call.instructions for call in calls), sum(call.modelled for call in calls)
        assert modelled == pytest.approx(counted, rel=0.25)
