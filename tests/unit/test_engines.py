"""What a firmware's project takes from its engine, shown by one that is made here: nothing else knows its name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest

from edgecodec.boards.load import load_board
from edgecodec.bundle import Bundle
from edgecodec.compile.plan import Plan
from edgecodec.engines.base import Engine, MapRules
from edgecodec.engines.cmsis_nn.engine import CmsisNnEngine
from edgecodec.engines.native import NATIVE_ENGINE, NativeEngine
from edgecodec.engines.tflm.engine import TflmEngine
from edgecodec.engines.tflm.library import TflmLibrary, TflmSource
from edgecodec.errors import BuildError, InputError
from edgecodec.firmware.project import make_project
from edgecodec.link.protocol import ENGINES
from tests.tools import require

TFLM_ENGINE = TflmEngine(TflmLibrary(TflmSource(Path("tree"), Path("lib.a")), (), (), (), (), digest="ab"), 4096)


@dataclass(frozen=True)
class Toy(NativeEngine):
    """Generated C beside a library of its own."""

    words: int

    name = "toy"
    alignment_bytes = 32
    least_stack_bytes = 8192
    runs_alone = False
    sources_apart = ("toy",)
    templates: ClassVar[Mapping[str, str]] = {"README.md": "firmware_toolchain.cmake.j2"}

    def files(self, bundle: Bundle, plan: Plan) -> dict[str, str]:
        return super().files(bundle, plan) | {
            "toy/toy.c": f"int toy[{self.words}];\n",
            "toy/toy.h": "extern int toy[];\n",
        }

    def state_bytes(self, plan: Plan) -> int:
        return plan.state_bytes + 4 * self.words

    @property
    def map_rules(self) -> MapRules:
        return MapRules(weights="none", part="Toy", folders=frozenset({"toy"}))


def test_a_project_takes_what_its_engine_gives(bundle: Bundle) -> None:
    board = load_board("mps2-an386")
    native, toy = make_project(bundle, board), make_project(bundle, board, engine=Toy(3))
    assert toy.files["toy/toy.c"] == "int toy[3];\n"
    assert "toy/" not in toy.files["CMakeLists.txt"]
    assert ". = ALIGN(32);" in toy.files["board.ld"]
    assert "edc_stack_bytes : 8192);" in toy.files["board.ld"]
    assert toy.files["README.md"] == toy.files["toolchain.cmake"] == native.files["toolchain.cmake"]
    assert toy.state_bytes == native.state_bytes + 12
    assert {name for name in toy.files if toy.files[name] != native.files.get(name)} == {
        *("toy/toy.c", "toy/toy.h", "README.md"),
        *("board.ld", "CMakeLists.txt", "CMakePresets.json"),  # the stack it needs
    }
    with pytest.raises(InputError, match=r"engine toy does not run without the link \(--codec-only\); use the engine"):
        make_project(bundle, board, engine=Toy(3), codec_only=True)


@pytest.mark.parametrize("engine", [NATIVE_ENGINE, TFLM_ENGINE, CmsisNnEngine(vectors=False)])
def test_engines_are_values_with_a_row_on_the_wire(engine: Engine) -> None:
    assert engine.hello_id in range(len(ENGINES))
    assert engine.accepts(engine.hello_name)
    assert len({engine, *[engine]}) == 1
    assert engine != Toy(3)


def test_which_running_firmware_will_do() -> None:
    assert NATIVE_ENGINE.accepts("tflm"), "nobody asked for another"
    assert not TFLM_ENGINE.accepts("native")


def test_engine_of_the_plan_gives_the_figures(bundle: Bundle) -> None:
    board = load_board("mps2-an386")
    native = make_project(bundle, board)
    assert (native.arena_bytes, native.state_bytes) == (native.plan.arena_bytes, native.plan.state_bytes)
    tflm = make_project(bundle, board, engine=TFLM_ENGINE, plan=native.plan)
    assert tflm.arena_bytes == 4096
    assert tflm.plan is native.plan
    assert [engine.digest for engine in (NATIVE_ENGINE, TFLM_ENGINE)] == ["", "ab"]


def test_cmsis_nn_plans_for_any_core(bundle: Bundle) -> None:
    require("module:bakenn")
    project = make_project(bundle, load_board("mps3-an547"), engine=CmsisNnEngine(vectors=True))
    assert {str(step.kernel) for step in project.plan.steps} <= {"edc_conv", "edc_depthwise", "edc_conv_twin"}
    assert "cmsis/layers.c" in project.files["CMakeLists.txt"]
    assert project.files["codec/ppg_model.h"] == make_project(bundle, load_board("microbit")).files["codec/ppg_model.h"]


def test_cmsis_nn_without_its_package(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(BuildError, match=r'bakenn is not installed; pip install "edgecodec\[bench\]"'):
        make_project(bundle, load_board("mps3-an547"), engine=CmsisNnEngine(vectors=True))
