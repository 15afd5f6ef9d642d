"""Instructions of each ``edc_step`` on an emulated core, counted by QEMU: ``python -m tools.step_counts BUNDLE``.

A bundle's encoder takes its frames without firmware around it, and its packets are compared with the reference's there.
"""

from __future__ import annotations

import argparse
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgecodec.bundle import Bundle
from edgecodec.codec.reference import ReferenceExecutor
from edgecodec.compile.library import OPTIMIZE_FLAGS, codec_files
from edgecodec.compile.plan import make_plan
from edgecodec.compile.target import Target
from tools.packet_counts import CORE, MACHINES, VECTORS, count_between_marks

_FRAMES = 4
_MAIN = """
#include "ppg_model.h"
#include "frames.h"
static ppg_encoder_memory memory;
static edc_encoder encoder;
__attribute__((noinline)) void mark(void) { __asm volatile("nop"); }
__attribute__((noinline)) void right(void) { __asm volatile("nop"); }
__attribute__((noinline)) void start(void) {
  uint32_t pushed = 0;
  uint32_t done = 0;
  int status = EDC_IDLE;
  (void)edc_init(&encoder, &memory, sizeof memory, &ppg_model);
  for (uint32_t i = 0; i < STEPS; i++) {
    size_t count;
    if (status == EDC_PACKET) {
      const uint8_t *packet = edc_packet(&encoder, &count);
      uint32_t same = count == sizes[done];
      for (uint32_t at = 0; at < count; at++) same &= packet[at] == packets[done][at];
      if (same) right();
      done++;
    }
    if (status != EDC_MORE && pushed < FRAMES) (void)edc_push(&encoder, frames[pushed++], PPG_MODEL_SAMPLES, 1, &count);
    mark();
    status = edc_step(&encoder);
    mark();
  }
  mark();
  for (;;) {}
}
"""


@dataclass(frozen=True)
class Step:
    """A call of ``edc_step``."""

    part: str
    """What it was: the normaliser, a kernel, the search of a position, or a piece of the packet."""
    functions: Counter[str]
    """Instructions by function."""

    @property
    def instructions(self) -> int:
        """All of it."""
        return self.functions.total()


def count_steps(
    bundle: Bundle, frames: npt.NDArray[np.int16], optimize: str = "balanced", core: str = CORE
) -> list[Step]:
    """The steps of frames ``[N, T]``, pushed whole. Raises AssertionError when a packet is not the reference's."""
    packets, plan = bundle.packets(), make_plan(bundle.codec, Target.of_core(core, optimize))
    assert packets is not None
    stages = ReferenceExecutor(bundle.codec).stages(frames)
    assert stages.offset is not None
    assert stages.spread is not None
    sides = zip(stages.indices, stages.offset.tolist(), stages.spread.tolist(), strict=True)
    expected = [packets.encode(row, o, s, number) for number, (row, o, s) in enumerate(sides)]
    most = len(frames) * (3 + len(plan.calls) + 2 * bundle.codec.positions)
    files = codec_files(bundle, plan) | {"main.c": _MAIN + VECTORS, "frames.h": _header(frames, expected, most)}
    found = count_between_marks(files, 2 * most + 1, OPTIMIZE_FLAGS[optimize], core)
    assert sum(block["right"] for block in found) >= len(frames), "a packet differs on the emulated core"
    steps = []
    for number in range(most):
        functions = found[2 * number + 1]
        for function in ("start", "mark"):
            functions.pop(function, None)
        steps.append(Step(_part(functions), functions))
    return [step for step in steps if step.part != "idle"]


def _part(functions: Counter[str]) -> str:
    for part, pattern in (
        ("normaliser", "_normalize"),
        ("search", "edc_rvq"),
        ("packet begins", "edc_packet_start"),
        ("packet ends", "edc_packet_end"),
        ("packet position", "edc_packet_step"),
    ):
        if any(pattern in function for function in functions):
            return part
    kernels = [function for function in functions if function.endswith("_run")]
    return kernels[0] if kernels else "idle"


def _header(frames: npt.NDArray[np.int16], expected: list[bytes], steps: int) -> str:
    longest = max(map(len, expected))

    def rows(values: list[list[int]]) -> str:
        return ",\n".join("{" + ", ".join(map(str, row)) + "}" for row in values)

    return f"""
enum {{ FRAMES = {len(frames)}, STEPS = {steps} }};
static const int16_t frames[FRAMES][{frames.shape[1]}] = {{ {rows(frames.tolist())} }};
static const uint32_t sizes[FRAMES] = {{ {", ".join(str(len(packet)) for packet in expected)} }};
static const uint8_t packets[FRAMES][{longest}] = {{ {rows([list(packet) for packet in expected])} }};
"""


def main() -> None:
    """Print the steps of a bundle's frames by what they are."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--optimize", default="balanced", choices=OPTIMIZE_FLAGS)
    parser.add_argument("--core", default=CORE, choices=MACHINES)
    options = parser.parse_args()
    bundle = Bundle.load(options.bundle)
    frames = bundle.frames()
    if bundle.packets() is None or frames is None:
        parser.error(f"{options.bundle} has no packets, or ships no frames")
    steps = count_steps(bundle, frames[:_FRAMES], options.optimize, options.core)
    print(
        f"{len(steps)} steps of {min(_FRAMES, len(frames))} frames: at most", max(step.instructions for step in steps)
    )
    for part in dict.fromkeys(step.part for step in steps):
        found = [step.instructions for step in steps if step.part == part]
        print(f"    {part:28} {len(found):6} steps of {min(found):9,} to {max(found):9,} instructions")


if __name__ == "__main__":
    main()
