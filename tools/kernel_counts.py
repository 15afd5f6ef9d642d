"""Instructions of each call of a kernel on an emulated core, by QEMU: ``python -m tools.kernel_counts BUNDLE``.

A bundle's normaliser and layers run without firmware around them, and its latents are compared with the reference's
there.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgecodec.bundle import Bundle
from edgecodec.codec.arrays import Frames
from edgecodec.codec.reference import ReferenceExecutor
from edgecodec.compile.library import OPTIMIZE_FLAGS, codec_files
from edgecodec.compile.plan import Plan, make_plan
from edgecodec.compile.target import DEFAULT_OPTIMIZE, Target
from tools.packet_counts import CORE, MACHINES, VECTORS, count_between_marks

_MAIN = """
#include "edc_model.h"
#include "ppg_model.h"
#include "frames.h"
static uint32_t state[(PPG_MODEL_STATE_BYTES + 3) / 4];
__attribute__((noinline)) void mark(void) { __asm volatile("nop"); }
__attribute__((noinline)) void right(void) { __asm volatile("nop"); }
__attribute__((noinline)) void start(void) {
  for (uint32_t i = 0; i < FRAMES; i++) {
    edc_frame_stats stats;
    mark();
    edc_model_normalize(&ppg_model, state, frames[i], &stats);
    edc_progress progress = {0, 0};
    for (uint32_t call = 0; call < CALLS; call++) {
      mark();
      (void)edc_model_next(&ppg_model, state, &progress);
    }
    mark();
    const uint8_t *const latent = (const uint8_t *)edc_model_latent(&ppg_model, state);
    uint32_t same = 1;
    for (uint32_t at = 0; at < LATENT_BYTES; at++) same &= latent[at] == latents[i][at];
    if (same) right();
  }
  mark();
  for (;;) {}
}
"""


@dataclass(frozen=True)
class KernelCall:
    """A call of a kernel."""

    layer: int
    """The layer, counted from 0 within the graph."""
    positions: int
    """Positions that it ran for."""
    modelled: float
    """Instructions by the plan's model."""
    functions: Counter[str]
    """Instructions by function."""

    @property
    def instructions(self) -> int:
        """All of it."""
        return self.functions.total()


def count_calls(bundle: Bundle, plan: Plan, frames: Frames, core: str = CORE) -> list[list[KernelCall]]:
    """The calls of kernels for each of ``frames`` int16 ``[N, T]``.

    Raises AssertionError when a latent is not the reference's.
    """
    latents = ReferenceExecutor(bundle.codec).stages(frames)["latent"]
    calls = plan.calls
    files = codec_files(bundle, plan) | {"main.c": _MAIN + VECTORS, "frames.h": _header(frames, latents, len(calls))}
    marks = len(frames) * (2 + len(calls)) + 1
    found = count_between_marks(files, marks, OPTIMIZE_FLAGS[plan.target.optimize], core)
    counted = []
    for number in range(len(frames)):
        # Before it what is compared of the frame before, the normaliser, and then the calls.
        blocks = found[number * (2 + len(calls)) + 2 : (number + 1) * (2 + len(calls))]
        assert found[(number + 1) * (2 + len(calls))]["right"], f"latent {number} differs on the emulated core"
        for block in blocks:
            for function in ("start", "mark"):
                block.pop(function, None)
        counted.append(
            [
                KernelCall(call.layer, call.positions, call.instructions, block)
                for call, block in zip(calls, blocks, strict=True)
            ]
        )
    return counted


def _header(frames: Frames, latents: np.ndarray, calls: int) -> str:
    def rows(values: Sequence[Sequence[int]]) -> str:
        return ",\n".join("{" + ", ".join(map(str, row)) + "}" for row in values)

    flat = [list(latent.tobytes()) for latent in latents]
    return f"""
enum {{ FRAMES = {len(frames)}, CALLS = {calls}, LATENT_BYTES = {len(flat[0])} }};
static const int16_t frames[FRAMES][{frames.shape[1]}] = {{ {rows(frames.tolist())} }};
static const uint8_t latents[FRAMES][LATENT_BYTES] = {{ {rows(flat)} }};
"""


def main() -> None:
    """Print the layers of a bundle's first frame: kernel, tables, calls, instructions counted and modelled."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--optimize", default=DEFAULT_OPTIMIZE, choices=OPTIMIZE_FLAGS)
    parser.add_argument("--core", default=CORE, choices=MACHINES)
    options = parser.parse_args()
    bundle = Bundle.load(options.bundle)
    frames = bundle.frames()
    if frames is None:
        parser.error(f"{options.bundle} ships no frames")
    plan = make_plan(bundle.codec, Target.of_core(options.core, options.optimize))
    (calls,) = count_calls(bundle, plan, frames[:1], options.core)
    for index, step in enumerate(plan.steps):
        own = [call for call in calls if call.layer == index]
        counted, modelled = sum(call.instructions for call in own), sum(call.modelled for call in own)
        print(
            f"{step.layer.name:32} {step.packed.kernel!s:20} {step.packed.table_bytes:7,} bytes "
            f"{len(own):3} calls {counted:10,} instructions, {counted / step.layer.macs:6.2f} a MAC, "
            f"modelled {modelled:12,.0f}, longest {max(call.instructions for call in own):8,}"
        )
        for function, instructions in sum((call.functions for call in own), Counter()).most_common():
            print(f"    {function:28} {instructions:10,}")
    total = sum(call.instructions for call in calls)
    tables = sum(step.packed.table_bytes for step in plan.steps)
    print(f"encoder: {total:,} instructions, {tables:,} bytes of tables, {plan.state_bytes:,} bytes of state")


if __name__ == "__main__":
    main()
