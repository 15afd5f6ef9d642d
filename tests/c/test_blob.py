"""Models as files that a program opens: equal to the linked ones, and refused whatever is wrong with them."""

from __future__ import annotations

import shutil
import struct
import subprocess
import zlib
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from edgecodec.bundle import Bundle
from edgecodec.codec.numerics import NUMERICS, Numerics
from edgecodec.codec.reference import ReferenceExecutor
from edgecodec.compile import blob as blob_module
from edgecodec.compile.blob import Blob, blob_files, kernel_number, kernel_set, target_kernels
from edgecodec.compile.blob_header import BlobFacts
from edgecodec.compile.kernels import KERNELS
from edgecodec.compile.library import codec_files, write_sources
from edgecodec.compile.plan import Plan, make_plan
from edgecodec.compile.target import DEFAULT_TARGET, Optimize, Target
from edgecodec.errors import BuildError
from edgecodec.host.extension import STRICT_FLAGS
from edgecodec.host.shim import HostShim
from tests.c.test_encoder import make
from tests.c.test_generated_c import SANITIZERS, VECTORS, _in_stripes
from tests.cli.run import assert_one_error, edgecodec
from tests.random_encoders import random_encoder
from tests.tflite_builder import bundle_of, ppg_frames, small_bundle
from tests.tools import lack, require

MAIN = Path(__file__).with_name("blob_main.c")
HOST = ("cc",)
OK, SIZE, BLOB, VERSION, KERNEL = 0, -2, -4, -5, -6
CORES = ("cortex-m0", "cortex-m4", "cortex-m55")
HEADER = struct.Struct("<4sII4B3IHH32s")


def host_blob(bundle: Bundle, plan: Plan | None = None) -> Blob:
    return blob_files(bundle, plan or make_plan(bundle.codec), compiler=HOST)[1]


def seal(data: bytes) -> bytes:
    """A blob with a check that is right."""
    return data[:4] + struct.pack("<I", zlib.crc32(data[8:])) + data[8:]


class Program:
    """Opens and runs any blob."""

    def __init__(self, bundles: Mapping[Numerics, Bundle], folder: Path) -> None:
        require("gcc")
        self.folder = folder
        files: dict[str, str] = {}
        names: set[str] = set()
        for target, (numerics, bundle) in product((DEFAULT_TARGET, VECTORS), bundles.items()):
            plan = make_plan(bundle.codec, target)
            files |= blob_files(bundle, plan, "any", all_kernels=True, compiler=HOST)[0]
            names |= {*target_kernels(target, numerics)}
        files["any_kernels.c"] = kernel_set("any", sorted(names))
        for name, text in files.items():
            (folder / name).write_text(text, encoding="utf-8")
        shutil.copy(MAIN, folder)
        sources = sorted(name for name in files if name.endswith(".c"))
        command = ["gcc", *STRICT_FLAGS, "-D_POSIX_C_SOURCE=200112L", *SANITIZERS, *sources, MAIN.name, "-o", "blob"]
        built = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        if "asan" in built.stderr and built.returncode:
            lack("gcc has no AddressSanitizer library (libasan)")
        assert (built.returncode, built.stderr) == (0, "")

    def run(self, *arguments: str) -> str:
        done = subprocess.run(["./blob", *arguments], cwd=self.folder, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    def encode(self, *models: tuple[Blob, np.ndarray]) -> list[bytes]:
        arguments = []
        for number, (blob, frames) in enumerate(models):
            names = [f"{number}.edcm", f"{number}.raw", f"{number}.out"]
            (self.folder / names[0]).write_bytes(blob.data)
            (self.folder / names[1]).write_bytes(frames.astype("<i2").tobytes())
            arguments += names
        self.run("encode", *arguments)
        return [(self.folder / name).read_bytes() for name in arguments[2::3]]

    def statuses(self, blobs: Sequence[bytes]) -> list[int]:
        (self.folder / "blobs").write_bytes(b"".join(struct.pack("<I", len(blob)) + blob for blob in blobs))
        return [int(line) for line in self.run("try", "blobs").split()]

    def status(self, blob: bytes) -> int:
        return self.statuses([blob])[0]


def expected(bundle: Bundle, frames: np.ndarray) -> bytes:
    """What the program says of a bundle's frames, by the reference."""
    stages, packets = ReferenceExecutor(bundle.codec).stages(frames), bundle.packets()
    assert stages.offset is not None
    assert stages.spread is not None
    found = b""
    for number, indices in enumerate(stages.indices):
        found += indices.astype("<u2").tobytes()
        if packets is not None:
            packet = packets.encode(indices, int(stages.offset[number]), int(stages.spread[number]), number)
            found += bytes([len(packet)]) + packet
    return found


@pytest.fixture(scope="module")
def program(bundles: Mapping[Numerics, Bundle], tmp_path_factory: pytest.TempPathFactory) -> Program:
    return Program(bundles, tmp_path_factory.mktemp("program"))


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Blob:
    """Of a bundle without packets."""
    require("cc")
    return host_blob(small_bundle(tmp_path_factory.mktemp("small") / "bundle"))


def mid_range(bundle: Bundle, count: int) -> np.ndarray:
    """Frames that reach no end of int16, so that no packet is marked."""
    return np.clip(ppg_frames(count, bundle.codec.samples, 5), -32767, 32766)


@pytest.mark.parametrize("kind", ["tables", "network", "cascade", "minmax", "fixed", "random 3", "random 17", "wide"])
def test_as_the_linked_model_with_packets(program: Program, kind: str, tmp_path: Path) -> None:
    bundle, plan = make(kind, tmp_path)
    frames = mid_range(bundle, 8)
    (found,) = program.encode((host_blob(bundle, plan), frames))
    assert found == expected(bundle, frames)


def test_as_the_linked_model_without_packets(program: Program, tmp_path: Path) -> None:
    bundle = bundle_of(tmp_path / "bundle", random_encoder(11).data, (40,), 11)
    frames = mid_range(bundle, 8)
    (found,) = program.encode((host_blob(bundle), frames))
    assert found == HostShim(bundle).encode(frames).astype("<u2").tobytes() == expected(bundle, frames)


def test_kernels_for_vectors(program: Program, tmp_path: Path) -> None:
    """As on cores with them, without the vectors."""
    bundle = small_bundle(tmp_path / "bundle")
    frames = mid_range(bundle, 4)
    plan = _in_stripes(bundle, VECTORS)
    (found,) = program.encode((host_blob(bundle, plan), frames))
    assert found == expected(bundle, frames)


def test_made_by_another_compiler(program: Program, tmp_path: Path) -> None:
    require("clang")
    bundle, plan = make("network", tmp_path)
    frames = mid_range(bundle, 4)
    blob = blob_files(bundle, plan, compiler=("clang",))[1]
    assert blob.data != host_blob(bundle, plan).data
    (found,) = program.encode((blob, frames))
    assert found == expected(bundle, frames)


def test_models_are_open_at_once(program: Program, tmp_path: Path) -> None:
    given = []
    for kind in ("network", "minmax", "random 5"):
        (tmp_path / kind).mkdir()
        bundle, plan = make(kind, tmp_path / kind)
        given.append((bundle, host_blob(bundle, plan), mid_range(bundle, 6)))
    given.append(given[0])
    found = program.encode(*((blob, frames) for _, blob, frames in given))
    assert found == [expected(bundle, frames) for bundle, _, frames in given]


def test_damage_is_refused(program: Program, small: Blob) -> None:
    """Cut at every length, and each byte changed."""
    (program.folder / "small.edcm").write_bytes(small.data)
    program.run("damage", "small.edcm")


def test_arguments(program: Program, small: Blob) -> None:
    (program.folder / "small.edcm").write_bytes(small.data)
    program.run("refuse", "small.edcm")


FIELDS = {
    "format": (12, "B"),
    "pointer_bytes": (13, "B"),
    "major": (14, "B"),
    "minor": (15, "B"),
    "bytes": (8, "I"),
    "table_bytes": (16, "I"),
    "memory_bytes": (20, "I"),
    "model": (24, "I"),
    "kernels": (28, "H"),
    "alignment": (30, "H"),
}


def with_field(data: bytes, name: str, change: Callable[[int], int]) -> bytes:
    at, kind = FIELDS[name]
    (value,) = struct.unpack_from(f"<{kind}", data, at)
    size = struct.calcsize(kind)
    changed = change(value) % (1 << 8 * size)
    return seal(data[:at] + changed.to_bytes(size, "little") + data[at + size :])


@pytest.mark.parametrize(
    ("name", "change", "status"),
    [
        ("format", lambda value: value + 1, VERSION),
        ("format", lambda value: 0, VERSION),
        ("pointer_bytes", lambda value: 4, VERSION),
        ("pointer_bytes", lambda value: 0, VERSION),
        ("major", lambda value: value + 1, VERSION),
        ("minor", lambda value: value + 1, VERSION),
        ("bytes", lambda value: value + 1, BLOB),
        ("bytes", lambda value: value - 1, BLOB),
        ("bytes", lambda value: 0, BLOB),
        ("bytes", lambda value: 63, BLOB),
        ("bytes", lambda value: -1, BLOB),
        *(
            (name, change, BLOB)
            for name in ("table_bytes", "memory_bytes")
            for change in (
                lambda value: value + 8,
                lambda value: value - 8,
                lambda value: value + 4,
                lambda value: 0,
                lambda value: -8,
                lambda value: 2**31,
            )
        ),
        ("model", lambda value: value + 4, BLOB),
        ("model", lambda value: -8, BLOB),
        ("model", lambda value: 2**31, BLOB),
        ("kernels", lambda value: value + 1, BLOB),
        ("kernels", lambda value: value - 1, BLOB),
        ("kernels", lambda value: 65535, BLOB),
        *(("alignment", lambda value, to=to: to, BLOB) for to in (0, 1, 4, 12, 48, 65, 128, 32768, 65535)),
    ],
)
def test_header_that_lies_with_a_right_check(
    program: Program, small: Blob, name: str, change: Callable[[int], int], status: int
) -> None:
    assert program.status(with_field(small.data, name, change)) == status


def test_model_at_the_memorys_end(program: Program, small: Blob) -> None:
    """The last place that it fits, and the first that it does not."""
    fits = [
        program.status(with_field(small.data, "model", lambda _, at=at: at)) for at in range(0, small.memory_bytes, 8)
    ]
    assert set(fits) == {OK, BLOB}
    assert fits == sorted(fits, reverse=True)


def test_foreign_magic(program: Program, small: Blob) -> None:
    for at in range(4):
        changed = bytearray(small.data)
        changed[at] ^= 0x20
        assert program.status(seal(bytes(changed))) == BLOB


def words_of(data: bytes) -> tuple[int, int, int, int]:
    """Where structures, kernels' numbers and kinds begin, and the number of words."""
    _, _, _, _, word, _, _, tables, memory, _, kernels, _, _ = HEADER.unpack_from(data)
    image = HEADER.size + tables
    return image, image + memory, image + memory + 4 * kernels, memory // word


def test_pointers_that_leave_with_a_right_check(program: Program, small: Blob) -> None:
    """Of each word that points somewhere, values at and beyond the ends."""
    image, numbers, kinds, count = words_of(small.data)
    header = HEADER.unpack_from(small.data)
    ends = {1: header[7], 2: header[8], 3: header[10]}
    seen = set()
    inside, outside = [], []
    for number in range(count):
        kind = small.data[kinds + number // 4] >> 2 * (number % 4) & 3
        seen.add(kind)
        if kind == 0:
            continue
        at = image + 8 * number
        for value in (0, ends[kind] - (kind == 3), ends[kind] + (kind != 3), 2**31, 2**32, 2**63, 2**64 - 1):
            changed = seal(small.data[:at] + value.to_bytes(8, "little") + small.data[at + 8 :])
            (inside if value <= ends[kind] - (kind == 3) else outside).append(changed)
    assert seen == {0, 1, 2, 3}
    assert set(program.statuses(inside)) == {OK}
    assert set(program.statuses(outside)) == {BLOB}
    unknown = [bytearray(small.data) for _ in range(header[10])]
    for number, data in enumerate(unknown):
        data[numbers + 4 * number] ^= 1
    assert program.statuses([seal(bytes(data)) for data in unknown]) == [KERNEL] * len(unknown)


def test_numbers_are_pointers_by_their_kind_alone(program: Program, small: Blob) -> None:
    """All words made pointers of each kind: whatever they hold then, opening stays inside."""
    _, _, kinds, count = words_of(small.data)
    given = [seal(small.data[:kinds] + bytes([85 * kind]) * -(-count // 4)) for kind in (0, 1, 2, 3)]
    assert program.statuses(given) == [OK, BLOB, BLOB, BLOB]


def test_number_of_a_kernel_follows_its_types(monkeypatch: pytest.MonkeyPatch) -> None:
    names = sorted({name for target in (DEFAULT_TARGET, VECTORS) for name in target_kernels(target)})
    before = {name: kernel_number(name) for name in names}
    assert len(set(before.values())) == len(names)
    headers = dict(blob_module._headers())

    def after(header: str, old: str, new: str) -> set[str]:
        assert old in headers[header]
        monkeypatch.setattr(blob_module, "_headers", lambda: headers | {header: headers[header].replace(old, new)})
        return {name for name in names if kernel_number(name) != before[name]}

    assert after("edc_conv.h", "uint16_t kernel;", "uint32_t kernel;") == {"edc_conv_run", "edc_depthwise_run"}
    assert after("edc_rvq_mve.h", "EDC_MVE_CODES 8", "EDC_MVE_CODES 16") == {"edc_rvq_quantize_mve"}
    assert after("edc_zscore.h", "uint64_t epsilon;", "uint64_t  epsilon;\n\n") == set()
    assert after("edc.h", "EDC_VERSION_PATCH 0", "EDC_VERSION_PATCH 9") == set()
    assert after("edc.h", "EDC_ERROR_SIZE = -2,", "EDC_ERROR_SIZE = -2, EDC_ERROR_NEW = -9,") == set()
    changed = after("edc_model.h", "uint8_t resumes;", "uint16_t resumes;")
    assert {"edc_conv_run", "edc_conv_mve_run", "edc_next_layer", "edc_next_chunk"} <= changed


def test_all_kernels_open_every_model_of_the_target(tmp_path: Path) -> None:
    bundles = [
        bundle_of(tmp_path / f"{numerics.name}-{seed}", random_encoder(seed, numerics).data, (40,), seed)
        for seed in (3, 5, 11, 17)
        for numerics in NUMERICS.values()
    ]
    for core, optimize in product(CORES, Optimize):
        target = Target.of_core(core, optimize)
        for bundle in bundles:
            there = set(target_kernels(target, bundle.codec.numerics))
            plan = make_plan(bundle.codec, target)
            assert {f"{step.kernel}_run" for step in plan.steps} | {plan.search} <= there
    assert {f"{kernel}_run" for kernel in KERNELS} <= {
        name
        for target in (Target(simd=True), Target(long_multiply=False), VECTORS)
        for numerics in NUMERICS.values()
        for name in target_kernels(target, numerics)
    }


@pytest.mark.parametrize(
    "compiler",
    [
        *(("gcc", f"-std={standard}") for standard in ("c99", "c11", "c17")),
        ("clang", "-std=c11"),
        *(("arm-none-eabi-gcc", "-mthumb", f"-mcpu={core}", "-std=c11") for core in CORES),
        ("clang", "--target=arm-none-eabi", "-mcpu=cortex-m4", "-mthumb", "-ffreestanding", "-std=c99"),
    ],
    ids=" ".join,
)
def test_no_warnings(compiler: tuple[str, ...], tmp_path: Path) -> None:
    require(compiler[0], "arm-none-eabi-gcc")
    for kind, core in (("network", "cortex-m0"), ("tables", "cortex-m55")):
        bundle, _ = make(kind, _folder(tmp_path / kind))
        out = tmp_path / f"{kind} C"
        write_sources(bundle, out, target=Target.of_core(core), blob=True, all_kernels=kind == "tables")
        strict = [flag for flag in STRICT_FLAGS if not flag.startswith("-std")]
        command = [*compiler, *strict, "-pedantic", "-Wmissing-prototypes", "-c", "edc_blob.c", "ppg_kernels.c"]
        done = subprocess.run(command, cwd=out, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


def test_header_in_cpp(tmp_path: Path) -> None:
    require("g++", "arm-none-eabi-gcc")
    bundle, _ = make("tables", tmp_path)
    write_sources(bundle, tmp_path / "out", blob=True)
    text = '#include "ppg_model.h"\nppg_model_memory memory; const edc_kernel_set *kernels() { return &ppg_kernels; }\n'
    (tmp_path / "out" / "main.cc").write_text(text)
    command = ["g++", "-std=c++11", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-c", "main.cc"]
    done = subprocess.run(command, cwd=tmp_path / "out", capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_one_file(tmp_path: Path) -> None:
    require("gcc", "arm-none-eabi-gcc")
    bundle, _ = make("tables", tmp_path)
    out = tmp_path / "out"
    write_sources(bundle, out, blob=True, single_file=True)
    assert sorted(path.name for path in out.glob("ppg*")) == ["ppg.edcm", "ppg_codec.c", "ppg_codec.h"]
    command = ["gcc", *STRICT_FLAGS, "-pedantic", "-c", "ppg_codec.c"]
    done = subprocess.run(command, cwd=out, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_command(tmp_path: Path) -> None:
    require("arm-none-eabi-gcc")
    bundle, _ = make("tables", tmp_path)
    done = edgecodec("generate", bundle.path, "-o", tmp_path / "out", "--blob", "--prefix", "wrist")
    assert done.returncode == 0
    facts = BlobFacts.read(tmp_path / "out" / "wrist.edcm")
    assert f"wrist.edcm, {facts.bytes:,} bytes; opening it takes {facts.memory_bytes:,} bytes of RAM" in done.stdout
    assert facts.bytes == (tmp_path / "out" / "wrist.edcm").stat().st_size
    assert not (tmp_path / "out" / "wrist_model.c").exists()
    header = (tmp_path / "out" / "wrist_model.h").read_text()
    assert f"#define WRIST_MODEL_MEMORY_BYTES {facts.memory_bytes} " in header
    assert "extern const edc_model" not in header
    write_sources(bundle, tmp_path / "again", blob=True, prefix="wrist")
    for path in (tmp_path / "out").iterdir():
        assert (tmp_path / "again" / path.name).read_bytes() == path.read_bytes()
    # What is linked has no part of it.
    assert not {"edc_blob.c", "edc_blob.h"} & set(codec_files(bundle, make_plan(bundle.codec)))
    for options, words in ((["--library", "--blob"], "--blob"), (["--all-kernels"], "--blob")):
        assert_one_error(edgecodec("generate", bundle.path, "-o", tmp_path / "no", *options), words)
    assert not (tmp_path / "no").exists()


def test_compilers_that_do_not(tmp_path: Path) -> None:
    bundle = small_bundle(tmp_path / "bundle")
    broken = tmp_path / "broken-cc"
    broken.write_text("#!/bin/sh\necho 'model.c: error: no' >&2\nexit 3\n")
    foreign = tmp_path / "foreign-cc"
    foreign.write_text("#!/bin/sh\necho no object > model.o\n")
    for path in (broken, foreign):
        path.chmod(0o755)
    for command, message in (
        ([str(tmp_path / "none")], "cannot be run"),
        ([str(broken)], r"broken-cc failed on the model \(exit 3\): model.c: error: no"),
        ([str(foreign)], "foreign-cc makes no ELF objects"),
    ):
        with pytest.raises(BuildError, match=message):
            write_sources(bundle, tmp_path / "out", blob=True, compiler=command)
        assert not (tmp_path / "out").exists()
    # Code in the way of constants.
    require("cc")
    with pytest.raises(BuildError, match="leaves a relocation of type"):
        blob_module.make_blob(
            {
                "x_model.c": "extern int a; const short x_model[4] = {1}; int *f(void) { return &a; }"
                '\n__asm__(".section .rodata\\n.long a - .\\n");'
            },
            "x_model",
            64 * "0",
            HOST,
        )


def test_without_a_compiler(tmp_path: Path) -> None:
    bundle = small_bundle(tmp_path / "bundle")
    done = edgecodec("generate", bundle.path, "-o", tmp_path / "out", "--blob", env={"PATH": str(tmp_path)})
    assert_one_error(done, "arm-none-eabi-gcc not found")
    assert not (tmp_path / "out").exists()
