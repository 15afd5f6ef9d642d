"""Fixtures of the emulated boards' tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from edgecodec.bundle import Bundle
from edgecodec.compile import plan
from edgecodec.engines import base
from tests.tflite_builder import CONV, DEPTHWISE, LayerSpec, build_encoder, bundle_of

ENCODER_08X = (
    LayerSpec(CONV, 32, 7, 2, activation="RELU", zero_point=-128),
    LayerSpec(CONV, 40, 7, 2, activation="RELU", zero_point=-128),
    LayerSpec(DEPTHWISE, 0, 7, 2, activation="RELU", zero_point=-128),
    LayerSpec(CONV, 48, 1, activation="RELU", zero_point=-128),
    LayerSpec(CONV, 16, 1, zero_point=5),
)
"""The shapes of the preset 08x_ds8_l2 with random weights: what is compared is arithmetic, not quality."""


@pytest.fixture(scope="session")
def codec(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A codec of full size: 320 samples become 40 positions of two levels of 256 codes."""
    encoder = build_encoder(ENCODER_08X, 320, seed=1, input_zero_point=-3)
    return bundle_of(tmp_path_factory.mktemp("codec") / "bundle", encoder, sizes=(256, 256))


@pytest.fixture
def plans(monkeypatch: pytest.MonkeyPatch) -> list[plan.Plan]:
    """Every plan that is made from now on."""
    made: list[plan.Plan] = []
    original: Callable[..., plan.Plan] = plan.make_plan

    def counted(*arguments: Any, **options: Any) -> plan.Plan:
        made.append(original(*arguments, **options))
        return made[-1]

    monkeypatch.setattr(plan, "make_plan", counted)
    monkeypatch.setattr(base, "make_plan", counted)
    return made
