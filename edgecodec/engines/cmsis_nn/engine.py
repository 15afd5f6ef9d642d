"""CMSIS-NN as the engine of ``make bench``: the same firmware, its layers run by Arm's kernels.

The C sources are those that the installed package ``bakenn`` carries (the extra ``bench``); they are copied into the
project that is built and nowhere else. It is no engine of the command line: what it computes is known, and what it
costs is what it is here for.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from edgecodec.compile.plan import make_plan
from edgecodec.compile.render import DEFAULT_PREFIX
from edgecodec.compile.target import Target
from edgecodec.engines.base import MapRules
from edgecodec.engines.cmsis_nn.layers import layers_source
from edgecodec.engines.native import NativeEngine
from edgecodec.errors import BuildError, install_extra

if TYPE_CHECKING:
    from edgecodec.bundle import Bundle
    from edgecodec.codec.codec import Codec
    from edgecodec.compile.plan import LongestCall, Plan, Step

PACKAGE = "bakenn"
_PART = "CMSIS-NN"
_PLAIN_CORE = "cortex-m0"
"""The least of cores: its plan runs on all of them."""
_FOLDER = "cmsis"
_FOLDERS = ("ConvolutionFunctions", "NNSupportFunctions")
_NOT_OURS = {"bakenn_cmsis_memory.c"}
"""Copies byte by byte, which would be unfair: with a C library the compiler copies words in place."""
_HEADERS = {
    f"{_FOLDER}/hosted/string.h": "#include <stddef.h>\nvoid *memcpy(void *, const void *, size_t);\n"
    "void *memmove(void *, const void *, size_t);\nvoid *memset(void *, int, size_t);\n",
    f"{_FOLDER}/hosted/math.h": "\n",
}
"""The firmware has no C library; CMSIS-NN includes these two and needs three functions, which our port has."""


@dataclass(frozen=True)
class CmsisNnEngine(NativeEngine):
    """The native engine with the generated encoder put aside for calls of CMSIS-NN.

    The server and its HELLO are the native engine's.
    """

    vectors: bool
    """Whether the core has the M-profile Vector Extension."""

    name = "cmsis-nn"
    sources_apart = (_FOLDER,)
    templates: ClassVar[Mapping[str, str]] = {"CMakeLists.txt": "cmsis_nn_firmware_CMakeLists.txt.j2"}

    def plan(self, codec: Codec, target: Target) -> Plan:
        """The plan for any core, whatever ``target``: that of the codec around the encoder.

        Raises PlanError for 16-bit activations, for which the layers here have no calls.
        """
        codec.refuse_wide("the engine cmsis-nn runs")
        return make_plan(codec, Target.of_core(_PLAIN_CORE))

    def files(self, bundle: Bundle, plan: Plan) -> dict[str, str]:
        """The native engine's files, and CMSIS-NN with the layers that call it in the folder ``cmsis``.

        Raises BuildError without the package.
        """
        return super().files(bundle, plan) | self._library(bundle)

    def longest_call(self, plan: Plan) -> LongestCall | None:
        """That of whole layers, which nobody has measured."""
        return None

    def kernel(self, step: Step) -> str:
        """The engine's name: the wrappers choose among several functions."""
        return _PART

    @property
    def map_rules(self) -> MapRules:
        """The tables of the layers, and the library of the kernels."""
        return MapRules(
            weights=r"\.rodata\.(weights|bias|multiplier|shift)\d+",
            part=_PART,
            libraries=frozenset({"libcmsis_nn.a"}),
        )

    def template_values(self, bundle: Bundle, plan: Plan) -> dict[str, object]:
        """The sources that make its library, and the generated one that calls its layers."""
        return {
            "cmsis_nn_sources": sorted(path for path in self._library(bundle) if path.endswith(".c")),
            "model_source": f"codec/{DEFAULT_PREFIX}_model.c",
        }

    def _library(self, bundle: Bundle) -> dict[str, str]:
        vendor = _vendor_folder()
        added = dict(_HEADERS)
        for folder in (vendor / "cmsis_nn" / "Include", vendor / "cmsis_core" / "Include"):
            added |= _texts(folder.glob("*.h"))
        for name in _FOLDERS:
            paths = (vendor / "cmsis_nn" / "Source" / name).glob("*.c")
            added |= _texts(path for path in paths if path.name not in _NOT_OURS)
        return added | {f"{_FOLDER}/layers.c": layers_source(bundle.codec.graph, vectors=self.vectors)}


def _texts(paths: Iterable[Path]) -> dict[str, str]:
    return {f"{_FOLDER}/{path.name}": path.read_text(encoding="utf-8") for path in paths}


def _vendor_folder() -> Path:
    """The package's copy of CMSIS-NN. Raises BuildError without the package."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise BuildError(f"the package {PACKAGE} is not installed", hint=install_extra("bench"))
    return Path(spec.origin).parent / "backend" / "cmsis_nn" / "vendor"
