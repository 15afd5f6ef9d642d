"""A model that lies in the flash of an emulated Cortex-M4, opened there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgecodec.codec.numerics import NUMERICS, Numerics
from edgecodec.codec.reference import ReferenceExecutor
from edgecodec.compile.blob import blob_files
from edgecodec.compile.plan import make_plan
from edgecodec.compile.target import Target
from edgecodec.entropy.packet_file import PacketConstants
from edgecodec.entropy.side_information import SideInformation
from tests.packets import network
from tests.tflite_builder import bundle_of, ppg_frames, small_encoder
from tests.tools import EMULATOR, require
from tools.packet_counts import CORE, count_between_marks

FRAMES = 3
MAIN = """
#include "ppg_model.h"
#include "given.h"
static ppg_model_memory memory;
static ppg_encoder_memory encoder_memory;
static edc_encoder encoder;
__attribute__((noinline)) void mark(void) { __asm volatile("nop"); }
__attribute__((noinline)) void opened(void) { __asm volatile("nop"); }
__attribute__((noinline)) void refused(void) { __asm volatile("nop"); }
__attribute__((noinline)) void right(void) { __asm volatile("nop"); }
__attribute__((noinline)) void start(void) {
  const edc_model *model;
  mark();
  const int status = edc_model_open(blob, sizeof blob, &memory, sizeof memory, &ppg_kernels, &model);
  mark();
  if (status == EDC_OK) opened();
  if (edc_model_open(blob, sizeof blob - 1, &memory, sizeof memory, &ppg_kernels, &model) == EDC_ERROR_BLOB) refused();
  (void)edc_model_open(blob, sizeof blob, &memory, sizeof memory, &ppg_kernels, &model);
  (void)edc_init(&encoder, &encoder_memory, sizeof encoder_memory, model);
  for (uint32_t i = 0; i < FRAMES; i++) {
    size_t count;
    (void)edc_push(&encoder, frames[i], PPG_MODEL_SAMPLES, 1, &count);
    while (edc_step(&encoder) == EDC_MORE) continue;
    const uint8_t *packet = edc_packet(&encoder, &count);
    uint32_t same = count == sizes[i];
    for (uint32_t at = 0; at < count; at++) same &= packet[at] == packets[i][at];
    if (same) right();
    mark();
  }
  mark();
  for (;;) {}
}
__attribute__((section(".vectors"), used)) static const void *const vectors[2] = {(void *)0x20020000, start};
"""


def rows(values: list[list[int]]) -> str:
    return ",\n".join("{" + ", ".join(map(str, row)) + "}" for row in values)


@pytest.mark.emulated
@pytest.mark.parametrize("numerics", NUMERICS.values(), ids=lambda numerics: numerics.name)
def test_opened_from_flash_it_encodes_as_the_reference(tmp_path: Path, numerics: Numerics) -> None:
    require(*EMULATOR)
    constants = PacketConstants(SideInformation(64, 8, 8, 2048), network(1, (29, 13)))
    bundle = bundle_of(tmp_path / "bundle", small_encoder(numerics=numerics), packets=constants)
    files, blob = blob_files(bundle, make_plan(bundle.codec, Target.of_core(CORE)))
    frames = np.clip(ppg_frames(FRAMES, 64, 2), -32767, 32766)
    stages, packets = ReferenceExecutor(bundle.codec).stages(frames), bundle.packets()
    assert packets is not None
    assert stages.offset is not None
    assert stages.spread is not None
    sides = zip(stages.indices, stages.offset.tolist(), stages.spread.tolist(), strict=True)
    expected = [packets.encode(row, o, s, number) for number, (row, o, s) in enumerate(sides)]
    given = f"""
enum {{ FRAMES = {FRAMES} }};
EDC_ALIGNED(PPG_MODEL_ALIGNMENT) static const uint8_t blob[{len(blob.data)}] = {rows([list(blob.data)])};
static const int16_t frames[FRAMES][64] = {{ {rows(frames.tolist())} }};
static const uint32_t sizes[FRAMES] = {rows([[len(packet) for packet in expected]])};
static const uint8_t packets[FRAMES][{max(map(len, expected))}] = {{ {rows([list(each) for each in expected])} }};
"""
    found = count_between_marks(files | {"main.c": MAIN, "given.h": given}, 3 + FRAMES, "-Os")
    # 40 instructions a byte for the check, and a few for each word.
    opening = sum(count for function, count in found[1].items() if function not in ("start", "mark"))
    assert 8 * len(blob.data) < opening < 60 * len(blob.data)
    total = sum(found, start=type(found[0])())
    assert total["opened"] > 0
    assert total["refused"] > 0
    assert total["right"] >= FRAMES
    assert all(block["right"] for block in found[2 : 2 + FRAMES])
