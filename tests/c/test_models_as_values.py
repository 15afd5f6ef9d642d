"""Models are constants: several in one program, in C and in C++, with nothing emitted that they do not use."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

from edgecodec.bundle import Bundle
from edgecodec.codec.reference import ReferenceExecutor
from edgecodec.compile.library import codec_files, write_sources
from edgecodec.compile.plan import make_plan
from edgecodec.compile.render import codec_sources
from edgecodec.compile.single_file import join_sources
from edgecodec.compile.target import Target
from edgecodec.entropy.packet_file import PacketConstants
from edgecodec.entropy.side_information import SideInformation
from edgecodec.host.extension import STRICT_FLAGS
from tests.cli.run import assert_one_error, edgecodec
from tests.packets import network, tables
from tests.tflite_builder import CONV, LayerSpec, build_encoder, bundle_of, ppg_frames, small_encoder
from tests.tools import require

PROGRAM = """
#include <cstdio>
#include "wrist_model.h"
#include "finger_model.h"

static wrist_state wrist;
static finger_state finger;

template <unsigned samples, unsigned count>
static int encode(const edc_model &model, void *state) {
  int16_t frame[samples];
  uint16_t indices[count];
  edc_frame_stats stats;
  if (std::fread(frame, sizeof frame, 1, stdin) != 1) return 1;
  if (edc_encode(&model, state, frame, indices, &stats) != EDC_OK) return 1;
  return std::fwrite(indices, sizeof indices, 1, stdout) != 1;
}

static wrist_encoder_memory wrist_memory;
static finger_encoder_memory finger_memory;

template <unsigned samples>
static int stream(const edc_model &model, void *memory, size_t bytes) {
  static edc_encoder encoder;
  int16_t frame[samples];
  size_t taken, size;
  if (std::fread(frame, sizeof frame, 1, stdin) != 1) return 1;
  if (edc_init(&encoder, memory, bytes, &model) != EDC_OK) return 1;
  if (edc_push(&encoder, frame, samples, 1, &taken) != EDC_OK || taken != samples) return 1;
  while (edc_step(&encoder) == EDC_MORE) continue;
  const uint8_t *packet = edc_packet(&encoder, &size);
  return packet == nullptr || std::fwrite(packet, size, 1, stdout) != 1;
}

int main() {
  const edc_info *info = edc_model_info(&finger_model);
  if (info->codes[0] != 11 || info->bits[0] != 4 || info->rate_mhz != 64000 || info->levels != 1) return 1;
  return encode<WRIST_MODEL_SAMPLES, WRIST_MODEL_INDEX_COUNT>(wrist_model, &wrist) ||
         encode<FINGER_MODEL_SAMPLES, FINGER_MODEL_INDEX_COUNT>(finger_model, &finger) ||
         stream<WRIST_MODEL_SAMPLES>(wrist_model, &wrist_memory, sizeof wrist_memory) ||
         stream<FINGER_MODEL_SAMPLES>(finger_model, &finger_memory, sizeof finger_memory);
}
"""


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle with packets."""
    packets = PacketConstants(SideInformation(64, 8, 8, 2048), tables(1, 8, (29, 13)))
    return bundle_of(tmp_path_factory.mktemp("one") / "bundle", small_encoder(), packets=packets)


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle of another shape, whose packets have another model."""
    encoder = build_encoder([LayerSpec(CONV, 4, 5, 2), LayerSpec(CONV, 3, 3, 2)], 40, seed=3)
    packets = PacketConstants(SideInformation(40, 8, 8, 2048), network(2, (11,)))
    return bundle_of(tmp_path_factory.mktemp("other") / "bundle", encoder, (11,), 3, packets=packets)


@pytest.mark.parametrize("standard", ["c++11", "c++20"])
def test_two_models_in_one_program_of_cpp(one: Bundle, other: Bundle, standard: str, tmp_path: Path) -> None:
    require("gcc", "g++")
    files = codec_files(one, make_plan(one.codec), "wrist") | codec_files(other, make_plan(other.codec), "finger")
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "main.cc").write_text(PROGRAM)
    sources = sorted(name for name in files if name.endswith(".c"))
    strict = ("-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Werror")
    for command in (
        ("gcc", *STRICT_FLAGS, "-c", *sources),
        (
            "g++",
            f"-std={standard}",
            *strict,
            "-Wpedantic",
            "main.cc",
            *(name[:-2] + ".o" for name in sources),
            "-o",
            "two",
        ),
    ):
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
    frames = [ppg_frames(1, each.codec.samples, 7) for each in (one, other)]
    given = 2 * b"".join(frame.tobytes() for frame in frames)
    done = subprocess.run(["./two"], cwd=tmp_path, input=given, capture_output=True, check=True)
    stages = [ReferenceExecutor(each.codec).stages(frame) for each, frame in zip((one, other), frames, strict=True)]
    indices = b"".join(each.indices.astype("<u2").tobytes() for each in stages)
    packets = b"".join(
        each.packets().encode(found.indices[0], int(found.offset[0]), int(found.spread[0]), 0)
        for each, found in zip((one, other), stages, strict=True)
    )
    assert done.stdout == indices + packets


@pytest.mark.parametrize("standard", ["c99", "c11", "c17"])
@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_public_headers_are_of_every_standard(
    one: Bundle, other: Bundle, compiler: str, standard: str, tmp_path: Path
) -> None:
    require(compiler)
    write_sources(one, tmp_path / "codec")
    write_sources(other, tmp_path / "other", prefix="finger")
    (tmp_path / "main.c").write_text(
        '#include "ppg_model.h"\n#include "finger_model.h"\n'
        "int main(void) { return edc_model_info(&ppg_model) == edc_model_info(&finger_model); }\n"
    )
    strict = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"]
    command = [compiler, f"-std={standard}", *strict, "-Icodec", "-Iother", "-c", "main.c"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_only_what_the_plan_uses_is_there(bundle: Bundle, one: Bundle, other: Bundle) -> None:
    parts = {f"edc_{part}.{end}" for part in ("encoder", "packet", "range", "side") for end in ("c", "h")}
    assert not (parts | {"edc_context.c", "edc_causal.c"}) & set(codec_files(bundle, make_plan(bundle.codec)))
    for each, model in ((one, "edc_context"), (other, "edc_causal")):
        there = set(codec_files(each, make_plan(each.codec)))
        assert parts | {f"{model}.c"} <= there
        assert len({"edc_context.c", "edc_causal.c"} & there) == 1
    everything = {path.name for path in codec_sources()}
    for core in ("cortex-m0", "cortex-m4", "cortex-m55"):
        plan = make_plan(bundle.codec, Target.of_core(core))
        files = codec_files(bundle, plan)
        used = {step.kernel.header for step in plan.steps}
        kernels = {name for name in files if name.startswith(("edc_conv", "edc_pointwise")) and name.endswith(".h")}
        assert kernels == used, core
        assert ("edc_chain.c" in files) == bool(plan.cascades)
        assert not {"edc_minmax.c", "edc_fixed.c"} & set(files)
        assert len(everything - set(files)) >= 8


def test_prefix_of_the_command(bundle: Bundle, tmp_path: Path) -> None:
    assert edgecodec("generate", bundle.path, "-o", tmp_path / "out", "--prefix", "wrist").returncode == 0
    assert (tmp_path / "out" / "wrist_model.c").is_file()
    for prefix in ("edc", "a-b", "", "x" * 33, "../up"):
        assert_one_error(
            edgecodec("generate", bundle.path, "-o", tmp_path / "no", "--prefix", prefix),
            "prefix",
            "expected at most 32",
        )
        assert not (tmp_path / "no").exists()
    np.testing.assert_equal(sorted(path.name for path in tmp_path.iterdir()), ["out"])


STREAM = """
#include <stdio.h>
#include "ppg_codec.h"
int main(void) {
  static ppg_state state;
  int16_t frame[PPG_MODEL_SAMPLES];
  uint16_t indices[PPG_MODEL_INDEX_COUNT];
  edc_frame_stats stats;
  while (fread(frame, sizeof frame, 1, stdin) == 1) {
    if (edc_encode(&ppg_model, &state, frame, indices, &stats) != EDC_OK) return 1;
    fwrite(indices, sizeof indices, 1, stdout);
  }
  return 0;
}
"""


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_single_file(bundle: Bundle, compiler: str, tmp_path: Path) -> None:
    require(compiler)
    folder = tmp_path / "codec"
    assert edgecodec("generate", bundle.path, "-o", folder, "--single-file").returncode == 0
    assert sorted(path.name for path in folder.glob("*.[ch]")) == ["ppg_codec.c", "ppg_codec.h"]
    (folder / "main.c").write_text(STREAM)
    command = [compiler, *STRICT_FLAGS, "-pedantic", "ppg_codec.c", "main.c", "-o", "stream"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    frames = ppg_frames(9, bundle.codec.samples, 3)
    done = subprocess.run(["./stream"], cwd=folder, input=frames.tobytes(), capture_output=True, check=True)
    assert done.stdout == ReferenceExecutor(bundle.codec).encode(frames).astype("<u2").tobytes()


@pytest.mark.parametrize(
    "compiler",
    [
        *(("gcc",), ("clang",)),
        *(
            ("arm-none-eabi-gcc", "-mthumb", f"-mcpu={core}", "-ffreestanding")
            for core in ("cortex-m0", "cortex-m4", "cortex-m55")
        ),
    ],
    ids=" ".join,
)
def test_every_source_joins(bundle: Bundle, compiler: tuple[str, ...], tmp_path: Path) -> None:
    """Whatever a model uses: all hand-written sources in one file, as strict as apart."""
    require(compiler[0])
    sources = {path.name: path.read_text(encoding="utf-8") for path in codec_sources()}
    (tmp_path / "all.c").write_text(join_sources(sources | codec_files(bundle, make_plan(bundle.codec))))
    command = [*compiler, *STRICT_FLAGS, "-O2", "-c", "all.c"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_other_build_systems_and_the_licence(bundle: Bundle, tmp_path: Path) -> None:
    write_sources(bundle, tmp_path / "codec")
    said = json.loads((tmp_path / "codec" / "library.json").read_text())
    assert (said["name"], said["license"], said["headers"]) == ("ppg_codec", "Apache-2.0", "ppg_model.h")
    lines = (tmp_path / "codec" / "library.properties").read_text().splitlines()
    assert {"name=ppg_codec", "includes=ppg_model.h", f"version={said['version']}"} <= set(lines)
    assert "Apache License" in (tmp_path / "codec" / "LICENSE").read_text()
    assert "-Werror" not in (tmp_path / "codec" / "CMakeLists.txt").read_text()
    result = edgecodec("generate", bundle.path, "-o", tmp_path / "no", "--library", "--single-file")
    assert_one_error(result, "--single-file")
