"""The firmware project on TensorFlow Lite Micro for a fixed bundle, byte for byte where it is not the native one."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from edgecodec.boards.load import load_board
from edgecodec.bundle import Bundle
from edgecodec.engines.tflm.codec_files import ops_of
from edgecodec.engines.tflm.engine import TflmEngine
from edgecodec.engines.tflm.library import TflmLibrary, TflmSource
from edgecodec.errors import InputError
from edgecodec.firmware.project import make_project
from tests.tflite_builder import CONV, LayerSpec, build_encoder, bundle_of

GOLDEN = Path(__file__).parent / "tflm"
ARENA_BYTES = 4096
LIBRARY = TflmLibrary(TflmSource(Path("tree"), Path("libtflm.a")), (), (), (), (), digest="")
"""None of its files goes into the project."""
ENGINE = TflmEngine(LIBRARY, ARENA_BYTES)
COMPARED = (
    "CMakeLists.txt",
    "README.md",
    "board.ld",
    "codec/ppg_model.c",
    "codec/ppg_model.h",
    "tflm/edc_tflm.cc",
    "tflm/edc_tflm_model.h",
    "toolchain.cmake",
)


@pytest.fixture(scope="module")
def files(bundle: Bundle) -> dict[str, str]:
    return dict(make_project(bundle, load_board("mps2-an386"), engine=ENGINE).files)


@pytest.mark.parametrize("name", COMPARED)
def test_rendered_as_before(files: dict[str, str], name: str) -> None:
    golden = GOLDEN / name.replace("/", "_")
    if os.environ.get("EDGECODEC_UPDATE_GOLDEN"):
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(files[name])
    assert files[name] == golden.read_text()


def test_model_is_the_bundles_byte_for_byte(bundle: Bundle, files: dict[str, str]) -> None:
    text = files["tflm/edc_tflm_model.c"]
    assert "_Alignas(16) const uint8_t edc_tflm_model" in text
    numbers = [int(digits, 16) for digits in re.findall(r"0x([0-9a-f]{2})\b", text)]
    assert bytes(numbers) == (bundle.path / "encoder.tflite").read_bytes()


def test_nothing_of_the_native_encoder_is_there(files: dict[str, str]) -> None:
    assert {name for name in files if name.startswith("codec/")} == {
        "codec/edc.c",
        "codec/edc.h",
        "codec/edc_activation.h",
        "codec/edc_config.h",
        "codec/edc_divide.c",
        "codec/edc_divide.h",
        "codec/edc_model.c",
        "codec/edc_model.h",
        "codec/edc_served_model.h",
        "codec/edc_rvq.c",
        "codec/edc_rvq.h",
        "codec/edc_zscore.c",
        "codec/edc_zscore.h",
        "codec/edc_zscore_frame.h",
        "codec/ppg_model.c",
        "codec/ppg_model.h",
    }
    assert "link/edc_engine.c" not in files
    assert "port/cortex_m/memory.c" not in files
    assert [name for name in files if name.endswith(".cc")] == ["tflm/edc_tflm.cc"]


def test_resolver_has_exactly_the_ops_used(bundle: Bundle, files: dict[str, str], tmp_path: Path) -> None:
    assert [op.name for op in ops_of(bundle.codec.graph)] == ["CONV_2D", "DEPTHWISE_CONV_2D"]
    assert "MicroMutableOpResolver<2>" in files["tflm/edc_tflm.cc"]
    encoder = build_encoder((LayerSpec(CONV, 4, 3, 2),), 16, seed=1)
    plain = bundle_of(tmp_path / "plain", encoder, sizes=(4,))
    source = make_project(plain, load_board("microbit"), engine=ENGINE).files["tflm/edc_tflm.cc"]
    assert "MicroMutableOpResolver<1>" in source
    assert "epthwise" not in source


def test_state_is_arena_and_residual(bundle: Bundle) -> None:
    # Six channels: 4096 + 6 * 2 = 4108, rounded up to 16.
    assert bundle.codec.rvq.dimension == 6
    assert make_project(bundle, load_board("mps2-an386"), engine=ENGINE).state_bytes == 4112


def test_codec_alone_is_native(bundle: Bundle) -> None:
    with pytest.raises(InputError, match="--codec-only"):
        make_project(bundle, load_board("mps2-an386"), engine=ENGINE, codec_only=True)
