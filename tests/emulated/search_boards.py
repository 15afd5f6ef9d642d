"""Codebook search on emulated boards, of latents that are given."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgecodec.boards.load import load_board
from edgecodec.bundle import Bundle
from edgecodec.codec.arrays import Activations
from edgecodec.compile.plan import Plan
from edgecodec.compile.render import byte_rows
from edgecodec.device.emulator import Emulator
from edgecodec.engines.native import NativeEngine
from edgecodec.firmware.build import cached_firmware
from edgecodec.firmware.project import make_project
from edgecodec.link.client import BoardExecutor

_MODEL = "const edc_model ppg_model = {\n"
_NEXT = re.compile(r"\.next = \w+,")


@dataclass(frozen=True)
class LatentEngine(NativeEngine):
    """In place of the encoder: the n-th frame's latent is the n-th of a table, which starts anew at its end."""

    latents: bytes
    """Bytes of activations ``[N, P, D]``."""

    def files(self, bundle: Bundle, plan: Plan) -> dict[str, str]:
        files = super().files(bundle, plan)
        name = "codec/ppg_model.c"
        latent = plan.buffers[-1]
        size = bundle.codec.graph.latent.size_bytes
        before, start, after = files[name].partition(_MODEL)
        assert start
        table = f"static const int8_t given[{len(self.latents)}] = {{\n{byte_rows(self.latents)}\n}};\n"
        table = table.replace("0x", "(int8_t)0x")
        copy = (
            "static uint32_t give(const edc_model *model, void *state, edc_progress *progress) {\n"
            "  static uint32_t next;\n"
            f"  for (uint32_t i = 0; i < {size}; i++) {{\n"
            f"    ((int8_t *)state)[{latent.offset_bytes} + i] = given[next++];\n"
            "  }\n"
            "  if (next == sizeof given) {\n"
            "    next = 0;\n"
            "  }\n"
            "  progress->layer = model->info.layers;\n"
            "  return 0;\n"
            "}\n"
        )
        after, count = _NEXT.subn(".next = give,", after)
        assert count == 1
        return files | {name: before + table + copy + start + after}


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
    latents: Activations,
    *,
    optimize: str = "speed",
    change: Callable[[Plan], Plan] = lambda plan: plan,
) -> Searched:
    """Search for latents ``[N, P, D]`` on an emulated board, with the bundle's plan or a changed one."""
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
