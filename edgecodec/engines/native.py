"""The engine that edgecodec brings: C generated for the bundle, and hand-written kernels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgecodec.compile.library import served_files
from edgecodec.engines.base import Engine, MapRules
from edgecodec.link.protocol import ENGINES, NATIVE

if TYPE_CHECKING:
    from edgecodec.bundle import Bundle
    from edgecodec.compile.plan import LongestCall, Plan, Step


@dataclass(frozen=True)
class NativeEngine(Engine):
    """Generated C, as the plan has it."""

    name = NATIVE
    hello_id = ENGINES.index(NATIVE)
    server_files = ("link/edc_*.[ch]", "port/edc_*.h", "port/cortex_m/*.[ch]")
    runs_alone = True

    def files(self, bundle: Bundle, plan: Plan) -> dict[str, str]:
        """The library of ``edgecodec generate``, in the folder ``codec``."""
        return {f"codec/{name}": text for name, text in served_files(bundle, plan).items()}

    def longest_call(self, plan: Plan) -> LongestCall | None:
        """The plan's."""
        return plan.longest_call

    def arena_bytes(self, plan: Plan) -> int:
        """The plan's arena."""
        return plan.arena_bytes

    def state_bytes(self, plan: Plan) -> int:
        """The plan's arena, scratch memory and residual."""
        return plan.state_bytes

    def kernel(self, step: Step) -> str:
        """The C function."""
        return str(step.kernel)

    @property
    def map_rules(self) -> MapRules:
        """The tables of the generated layers; kernels are part of the codec."""
        return MapRules(weights=r"\.rodata\.edc_layer\d+_.*")

    def accepts(self, running: str) -> bool:
        """Any: nobody asked for another, and all give the same indices."""
        return True


NATIVE_ENGINE = NativeEngine()
"""The engine where no other is asked for."""
