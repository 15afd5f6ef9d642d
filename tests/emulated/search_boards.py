"""Codebook search on emulated boards, of latents that are given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgecodec.boards.load import load_board
from edgecodec.bundle import Bundle
from edgecodec.compile.plan import Plan
from edgecodec.compile.render import byte_rows
from edgecodec.device.emulator import Emulator
from edgecodec.engines.native import NativeEngine
from edgecodec.firmware.build import cached_firmware
from edgecodec.firmware.project import make_project
from edgecodec.link.client import BoardExecutor

_INFER = "void edc_model_infer(edc_model_state *state) {\n"


@dataclass(frozen=True)
class LatentEngine(NativeEngine):
    """In place of the encoder: the n-th frame's latent is the n-th of a table, which starts anew at its end."""

    latents: bytes
    """int8 ``[N, P, D]``."""

    def files(self, bundle: Bundle, plan: Plan) -> dict[str, str]:
        files = super().files(bundle, plan)
        name = "codec/edc_model.c"
        latent = plan.buffers[-1]
        size = bundle.codec.graph.latent.size_bytes
        before, start, after = files[name].partition(_INFER)
        assert start
        table = f"static const int8_t given[{len(self.latents)}] = {{\n{byte_rows(self.latents)}\n}};\n"
        table = table.replace("0x", "(int8_t)0x")
        copy = (
            "  static uint32_t next;\n"
            f"  for (uint32_t i = 0; i < {size}; i++) {{\n"
            f"    state->arena[{latent.offset_bytes} + i] = given[next++];\n"
            "  }\n"
            "  if (next == sizeof given) {\n"
            "    next = 0;\n"
            "  }\n"
            "  return;\n"
        )
        return files | {name: before + table + start + copy + after}


@dataclass(frozen=True)
class Searched:
    """What a board found, and what it took."""

    indices: npt.NDArray[np.uint16]
    """``[N, P, L]``."""
    instructions: npt.NDArray[np.float64]
    """``[N]``, of the search."""


def search_on_board(
    bundle: Bundle,
    board: str,
    latents: npt.NDArray[np.int8],
    *,
    optimize: str = "speed",
    change: Callable[[Plan], Plan] = lambda plan: plan,
) -> Searched:
    """Search for latents int8 ``[N, P, D]`` on an emulated board, with the bundle's plan or a changed one."""
    engine = LatentEngine(latents.tobytes())
    target = load_board(board)
    project = make_project(bundle, target, engine=engine, optimize=optimize)
    project = make_project(bundle, target, engine=engine, optimize=optimize, plan=change(project.plan))
    frame = np.zeros((1, bundle.codec.samples), np.int16)
    indices, costs = [], [0.0]
    with Emulator(target, cached_firmware(project).elf) as running, BoardExecutor(bundle, running.url) as device:
        for done in range(1, len(latents) + 1):
            indices.append(device.encode(frame)[0])
            assert device.costs is not None
            costs.append(device.costs.rvq * done)
    return Searched(np.array(indices), np.diff(costs))
