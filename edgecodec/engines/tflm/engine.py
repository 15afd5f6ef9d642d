"""TensorFlow Lite Micro (TFLM) as the engine: the bundle's model file, run by the interpreter that a user brings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from edgecodec.engines.base import Engine, MapRules
from edgecodec.engines.tflm.codec_files import ARENA_ALIGNMENT_BYTES, ops_of, state_bytes, tflm_codec_files
from edgecodec.engines.tflm.library import TflmLibrary
from edgecodec.errors import BuildError
from edgecodec.link.protocol import ENGINES, TFLM

if TYPE_CHECKING:
    from edgecodec.boards.toolchain import Toolchain
    from edgecodec.bundle import Bundle
    from edgecodec.compile.plan import Plan, Step

_PART = "TFLM"


@dataclass(frozen=True)
class TflmEngine(Engine):
    """A user's TensorFlow Lite Micro, which has passed the checks for a board.

    Of the native plan it uses the codebook search alone. :func:`edgecodec.device.tflm_arena.open_tflm` makes one.
    """

    library: TflmLibrary
    """Headers and static library."""
    interpreter_bytes: int
    """Size of the interpreter's arena, a multiple of 16."""

    name = TFLM
    hello_id = ENGINES.index(TFLM)
    alignment_bytes = ARENA_ALIGNMENT_BYTES
    # What calls through pointers take is not known from the code: 1,152 bytes were enough for release builds of
    # TensorFlow Lite Micro, 1,576 for a default one.
    least_stack_bytes = 2048
    languages = ("C", "CXX")
    link_options = ("-nostartfiles",)
    # The kernels are others, and newlib has what GCC calls on its own.
    server_files = (
        "link/edc_*.h",
        "link/edc_link.c",
        "link/edc_server.c",
        "tflm/*.[ch]",
        "port/edc_*.h",
        "port/cortex_m/*.h",
        "port/cortex_m/main.c",
        "port/cortex_m/startup.c",
    )
    templates: ClassVar[Mapping[str, str]] = {
        "CMakeLists.txt": "tflm_firmware_CMakeLists.txt.j2",
        "README.md": "tflm_firmware_README.md.j2",
        "board.ld": "tflm_firmware_board.ld.j2",
        "toolchain.cmake": "tflm_firmware_toolchain.cmake.j2",
    }

    def files(self, bundle: Bundle, plan: Plan) -> dict[str, str]:
        """Normaliser and codebook search in ``codec``, model file and interpreter in ``tflm``."""
        return tflm_codec_files(bundle, plan, self.interpreter_bytes)

    def arena_bytes(self, plan: Plan) -> int:
        """The interpreter's arena."""
        return self.interpreter_bytes

    def state_bytes(self, plan: Plan) -> int:
        """The interpreter's arena, two pointers and the residual."""
        return state_bytes(plan, self.interpreter_bytes)

    def kernel(self, step: Step) -> str:
        """The engine's name: which function of the library runs a layer is not known."""
        return _PART

    @property
    def map_rules(self) -> MapRules:
        """The model file; interpreter, kernels and what ties them to the server."""
        return MapRules(
            weights=r"\.rodata\.edc_tflm_model",
            part=_PART,
            folders=frozenset({"tflm"}),
            libraries=frozenset({self.library.source.library.name}),
        )

    @property
    def digest(self) -> str:
        """SHA-256 over library and headers, in hex."""
        return self.library.digest

    def template_values(self, bundle: Bundle, plan: Plan) -> dict[str, object]:
        """The ops that the resolver is given, and the arena's size."""
        return {"ops": ops_of(bundle.codec.graph), "arena_bytes": self.interpreter_bytes}

    def cmake_arguments(self, toolchain: Toolchain) -> tuple[str, ...]:
        """The C++ compiler, and where library and headers are. Raises BuildError when there is no C++ compiler."""
        if not toolchain.cxx_compiler.exists():
            raise BuildError(
                f"{toolchain.cxx_compiler.name} not found beside {toolchain.compiler.name}; "
                "TensorFlow Lite Micro is C++",
                hint="install the Debian packages gcc-arm-none-eabi and libstdc++-arm-none-eabi-newlib, or Arm's GNU "
                "toolchain",
            )
        return (f"-DCMAKE_CXX_COMPILER={toolchain.cxx_compiler}", *self.library.cmake_arguments)
