"""Fixtures that every area uses, and the markers' meaning."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edgecodec.bundle import Bundle
from tests import tools

# One place for every run, so that host shims and firmware are built once and reused.
os.environ.setdefault("EDGECODEC_CACHE", str(Path(__file__).resolve().parent.parent / ".cache" / "tests"))


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
    from tests.tflite_builder import small_bundle

    return small_bundle(tmp_path_factory.mktemp("bundle") / "small")
