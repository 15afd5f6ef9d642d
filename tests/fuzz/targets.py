"""The fuzzers: what each is built of, and what it starts from."""

from __future__ import annotations

import base64
import functools
import random
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from edgecodec.codec.numerics import INT8, INT16X8
from edgecodec.compile.blob import blob_files
from edgecodec.compile.blob_header import with_header
from edgecodec.compile.library import codec_files
from edgecodec.compile.plan import make_plan
from edgecodec.compile.target import Target
from edgecodec.entropy.packet_file import PacketConstants
from edgecodec.entropy.side_information import SideInformation
from edgecodec.link.protocol import MessageType
from edgecodec.signal.normalize import MinMax
from tests.bitexact.test_unpack import _packets
from tests.c.test_generated_c import _in_stripes
from tests.fuzz import unpack_formats
from tests.fuzz.readers import READERS
from tests.link.device import activation_flag
from tests.packets import network, tables
from tests.tflite_builder import CONV, DEPTHWISE, LayerSpec, build_encoder, bundle_of, small_bundle

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
CORPUS = HERE / "corpus"
KEPT_BYTES = 4096
"""Of a file in it, as inputs."""
CODEC, LINK, HOST = ROOT / "firmware" / "codec", ROOT / "firmware" / "link", ROOT / "firmware" / "host"
KERNELS = 6
"""Of blob.c, whose numbers count from 0."""
_FLAGS = ("-std=c11", "-D_POSIX_C_SOURCE=200112L", "-g", "-O1", "-Wall", "-Wextra", "-Werror")
_SANITIZERS = ("-fsanitize=fuzzer,address,undefined", "-fno-sanitize-recover=all")
_VECTORS = ("-fwrapv", "-Wno-psabi")
"""As edgecodec.host.extension compiles them."""
_COVERAGE = ("-fprofile-instr-generate", "-fcoverage-mapping")


@dataclass(frozen=True)
class Fuzzer:
    """A fuzzer."""

    takes: ClassVar = {"clang": "Debian: apt install clang", "libFuzzer": "Debian: apt install libclang-rt-dev"}
    """Tools of :mod:`tests.tools`, and how to get them."""
    name: str
    files: Callable[[], dict[str, str]]
    """All of its C but ``source`` and fuzz.h, file name to text."""
    seeds: Callable[[], list[bytes]]
    fuzzed: tuple[str, ...]
    """Sources that it is for, whose coverage counts."""
    longest: int
    """Bytes of an input."""
    runs: int
    """Of a test: a few seconds."""
    flags: tuple[str, ...] = ()
    """More of the compiler's."""
    variant_of: str = ""
    """Name of the fuzzer whose ``<name>.c`` it has with other flags, if any."""

    @property
    def source(self) -> str:
        """File name of what libFuzzer calls."""
        return f"{self.variant_of or self.name}.c"

    def build(self, folder: Path, *, coverage: bool = False) -> Path:
        """The program, in ``folder``. Raises CalledProcessError when clang does not build it."""
        files = self.files() | {name: _text(HERE / name) for name in ("fuzz.h", self.source)}
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (folder / name).write_text(text, encoding="utf-8")
        sources = sorted(name for name in files if name.endswith(".c"))
        flags = (*_FLAGS, *_SANITIZERS, *self.flags, *(_COVERAGE if coverage else ()))
        command = ["clang", *flags, *sources, "-o", "fuzz"]
        subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
        return folder / "fuzz"

    def command(self, folder: Path) -> list[str]:
        """What starts libFuzzer, built in ``folder``."""
        return [str(self.build(folder))]


@dataclass(frozen=True)
class ReaderFuzzer:
    """A fuzzer of a reader in Python."""

    takes: ClassVar = {"module:atheris": "pip install atheris"}
    """Tools of :mod:`tests.tools`, and how to get them."""
    name: str
    seeds: Callable[[], list[bytes]]
    longest: int
    """Bytes of an input."""

    def command(self, folder: Path) -> list[str]:
        """What starts libFuzzer."""
        folder.mkdir(parents=True, exist_ok=True)
        return [sys.executable, "-m", "tests.fuzz.atheris_program", self.name]


def kept(name: str) -> list[bytes]:
    """What an earlier run of a fuzzer found worth keeping, in its file in ``corpus``, a line each."""
    path = CORPUS / f"{name}.txt"
    return [base64.b64decode(line) for line in path.read_text(encoding="ascii").splitlines()] if path.exists() else []


def keep(name: str, inputs: Iterable[bytes]) -> None:
    """Put the shortest of ``inputs`` into a fuzzer's file in ``corpus``, as many as its few kilobytes hold."""
    lines, left = [], KEPT_BYTES
    for data in sorted(inputs, key=lambda data: (len(data), data)):
        left -= len(data)
        if left >= 0:
            lines.append(base64.b64encode(data).decode("ascii") + "\n")
    CORPUS.mkdir(exist_ok=True)
    (CORPUS / f"{name}.txt").write_text("".join(lines), encoding="ascii")


def write_seeds(fuzzer: Fuzzer | ReaderFuzzer, corpus: Path) -> None:
    """Put what a fuzzer starts from into the folder ``corpus``: seeds that are made, and what was kept."""
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate([*fuzzer.seeds(), *kept(fuzzer.name)]):
        (corpus / f"seed-{number:03d}").write_bytes(seed)


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _texts(paths: Iterable[Path]) -> dict[str, str]:
    return {path.name: _text(path) for path in paths}


def _encoder_files() -> dict[str, str]:
    """Small codecs: z-scores, a cascade and tables, of either numerics; minimum and maximum and a network."""
    samples, sizes = 24, (29, 13)
    sides = [SideInformation(samples, 8, 8, 2048, squared=squared) for squared in (True, False)]
    models = (tables(3, 6, sizes), network(4, sizes))
    given = [PacketConstants(side, model) for side, model in zip(sides, models, strict=True)]
    layers = [LayerSpec(CONV, 4, 5, 2), LayerSpec(CONV, 3, 3, 2)]
    with tempfile.TemporaryDirectory(prefix="edgecodec-fuzz-") as name:
        one = bundle_of(Path(name) / "one", build_encoder(layers, samples, seed=1), sizes, packets=given[0])
        two = bundle_of(
            Path(name) / "two",
            build_encoder(layers, samples, seed=2),
            sizes,
            packets=given[1],
            normalization=MinMax(-1.0, 1.0),
        )
        encoder = build_encoder(layers, samples, seed=3, numerics=INT16X8)
        wide = bundle_of(Path(name) / "wide", encoder, sizes, packets=given[0])
        target = Target.of_core(None, "flash")
        return (
            codec_files(one, _in_stripes(one, target), "one")
            | codec_files(two, make_plan(two.codec, target), "two")
            | codec_files(wide, _in_stripes(wide, target), "wide")
        )


def _encoder_seeds() -> list[bytes]:
    rng = random.Random(1)
    found = [bytes([0, 0, 0, 24, 0x21, 9, 9, 4, 40]), bytes([1, 0, 2, 50, 0x86, 1, 2, 4, 30, 3, 30, 4, 30])]
    for number in range(60):
        script = bytes([number % 3, number >> 1 & 3]) + rng.randbytes(5 * bool(number & 2) + 4 * bool(number & 4))
        for _ in range(rng.randrange(1, 30)):
            op = rng.choice([0, 0, 0, 2, 3, 4, 4, 5])
            push = bytes([rng.choice([1, 7, 23, 24, 25, 48]), rng.randrange(256)]) + rng.randbytes(2)
            more = {0: push, 2: push, 3: bytes([rng.choice([0, 1, 11, 24, 72])]), 4: bytes([40, 20]), 5: b""}[op]
            script += bytes([op | (rng.randrange(32) << 3 if op == 5 else 0)]) + more
        found.append(script)
    return found


def _unpack_files() -> dict[str, str]:
    files = _texts([HOST / "edc_unpack.c", HOST / "edc_unpack.h"])
    return files | {"formats.h": unpack_formats.header(unpack_formats.formats())}


def _unpack_seeds() -> list[bytes]:
    found = []
    for number, packets in enumerate(unpack_formats.formats()):
        given = _packets(packets, 12)
        for first in range(0, 12, 4):
            body = b"".join(bytes([len(packet)]) + packet for packet in given[first : first + 4])
            found += [bytes([number]) + body, bytes([128 + number]) + body]
    return found


def packets_of(data: bytes) -> tuple[int, bool, list[bytes]]:
    """As unpack.c reads an input: which format, whether checks are made right, and packets."""
    what, rest, packets = data[0] if data else 0, data[1:], []
    while rest and len(packets) < 16:
        packets.append(rest[1 : 1 + rest[0]])
        rest = rest[1 + rest[0] :]
    return what & 0x7F, not what & 0x80, packets


def _blob_files() -> dict[str, str]:
    names = ("edc.h", "edc_blob.c", "edc_blob.h", "edc_config.h", "edc_model.h")
    return _texts(CODEC / name for name in names)


def _blob_seeds() -> list[bytes]:
    with tempfile.TemporaryDirectory(prefix="edgecodec-fuzz-") as name:
        bundle = small_bundle(Path(name) / "bundle")
        _, blob = blob_files(bundle, make_plan(bundle.codec), compiler=("cc",))
    tables_bytes, memory = struct.unpack_from("<II", blob.data, 16)
    at, count = 64 + tables_bytes + memory, len(blob.kernels)
    numbers = struct.pack(f"<{count}I", *(number % KERNELS for number in range(count)))
    whole = blob.data[:at] + numbers + blob.data[at + 4 * count :]
    rng, found = random.Random(2), [whole, whole[:64], whole[:400]]
    for _ in range(20):
        tables_bytes, words, count = 8 * rng.randrange(4), rng.randrange(24, 40), rng.randrange(1, 6)
        kinds = [rng.choice([0, 0, 1, 2, 3]) for _ in range(words)]
        values = [rng.randrange([1, tables_bytes + 1, 8 * words + 1, count][kind]) for kind in kinds]
        packed = bytes(sum(kind << 2 * i for i, kind in enumerate(kinds[j : j + 4])) for j in range(0, words, 4))
        parts = rng.randbytes(tables_bytes) + struct.pack(f"<{words}Q", *values)
        body = parts + struct.pack(f"<{count}I", *(rng.randrange(KERNELS + 1) for _ in range(count))) + packed
        found.append(with_header(8, tables_bytes, 8 * words, 0, count, 8, bytes(32), body))
    return found


def _server_files() -> dict[str, str]:
    stub = ROOT / "tests" / "link" / "host"
    paths = [path for path in LINK.glob("*.[ch]") if path.name != "edc_engine.c"]
    paths += [*stub.glob("[hs]*.[ch]"), stub / "edc_served_model.h", *(ROOT / "firmware" / "port").glob("*.h")]
    paths += [path for path in CODEC.glob("*.h") if path.name in _SERVED]
    return _texts([*paths, *(CODEC / f"edc_{name}.c" for name in _SERVED_SOURCES)])


_KERNEL_SOURCES = (
    *("edc_conv_paired.c", "edc_conv_twin.c", "edc_pointwise.c", "edc_conv_bytes.c", "edc_conv_mve.c"),
    *("edc_conv16_pairs.c", "edc_conv16_mve.c", "edc_rvq.c", "edc_rvq_mve.c"),
)
_SERVED_SOURCES = ("divide", "encoder", "model", "packet", "range", "side")
_SERVER = ("edc_server.c", "edc_link.c")
_WIDE = (activation_flag(INT16X8),)
_SERVED = ("edc.h", "edc_config.h", *(f"edc_{name}.h" for name in _SERVED_SOURCES))


def _server_seeds() -> list[bytes]:
    rng, found = random.Random(3), []
    for number in range(40):
        script = b""
        for _ in range(rng.randrange(1, 6)):
            kind = rng.choice([MessageType.HELLO, MessageType.ENCODE, MessageType.LAYER, 0x7F])
            payload = {
                MessageType.HELLO: b"",
                MessageType.ENCODE: bytes([rng.randrange(32)]) + rng.randbytes(32) + bytes([number]),
                MessageType.LAYER: bytes([rng.randrange(4)])
                + rng.randbytes(32)
                + struct.pack("<I", rng.randrange(320)),
            }.get(kind, rng.randbytes(9))
            message = bytes([kind]) + struct.pack("<H", rng.randrange(1 << 16)) + payload
            script += bytes([1, len(message), rng.randrange(256)]) + message
            script += bytes([0, 3, 1]) + rng.randbytes(3)
        found.append(script)
    return found


_CONV_RELU = functools.partial(LayerSpec, CONV, activation="RELU")
_MODELS = (
    # Packed taps, packed channels, pointwise, bytes and vectors for one; pairs of int16 for the other; Winograd's for
    # the third.
    (INT8, [_CONV_RELU(8, 7, 2), LayerSpec(DEPTHWISE, 8, 5), _CONV_RELU(12), LayerSpec(CONV, 8, 5)]),
    (INT16X8, [LayerSpec(CONV, 8, 5, 2), LayerSpec(DEPTHWISE, 8, 5), LayerSpec(CONV, 6), LayerSpec(CONV, 5, 3, 2)]),
    (INT8, [_CONV_RELU(4, 5, 2), LayerSpec(DEPTHWISE, 4, 3, activation="RELU"), _CONV_RELU(8, 5, 2)]),
)
_FAST = (
    ("cortex-m0", "speed"),
    ("cortex-m3", "speed"),
    ("cortex-m4", "speed"),
    ("cortex-m4", "balanced"),
    ("cortex-m55", "speed"),
)
FAST_KERNELS = {
    *("edc_conv_paired", "edc_conv_winograd", "edc_conv_twin", "edc_pointwise", "edc_conv_bytes", "edc_conv_mve"),
    *("edc_depthwise_mve", "edc_conv16_words", "edc_conv16_bytes", "edc_conv16_single", "edc_depthwise16_bytes"),
    *("edc_conv16_mve", "edc_depthwise16_mve"),
}
"""Kernels that kernels.c is for."""


def _kernels_files() -> dict[str, str]:
    """Codecs whose encoders have all that fast kernels are chosen for, each by plain kernels and by those of cores."""
    files: dict[str, str] = {}
    rows, names, kernels = [], [], set()
    with tempfile.TemporaryDirectory(prefix="edgecodec-fuzz-") as folder:
        for number, (numerics, layers) in enumerate(_MODELS):
            encoder = build_encoder(layers, 40, seed=number, numerics=numerics)
            bundle = bundle_of(Path(folder) / str(number), encoder, (40, 13))
            plain = Target.of_core(None, "flash")
            fast = [Target.of_core(*core) for core in _FAST]
            of_number = []
            for place, target in enumerate([plain, *fast]):
                plan = make_plan(bundle.codec, target)
                kernels |= {step.packed.kernel.function for step in plan.steps}
                of_number.append(f"m{number}_{place}")
                files |= codec_files(bundle, plan, of_number[-1])
            names += of_number
            addresses = [f"&{name}_model" for name in of_number]
            rows.append(f"{{{addresses[0]}, {{{', '.join(addresses[1:])}}}, {len(fast)}}}")
    assert kernels >= FAST_KERNELS, FAST_KERNELS - kernels
    header = [f'#include "{name}_model.h"' for name in names]
    header += [
        f"typedef struct {{ const edc_model *plain; const edc_model *fast[{len(_FAST)}]; size_t count; }} fuzz_models;",
        f"enum {{ MODELS = {len(rows)} }};",
        f"static const fuzz_models models[MODELS] = {{{', '.join(rows)}}};",
        "",
    ]
    return files | {"models.h": "\n".join(header)}


def _kernels_seeds() -> list[bytes]:
    rng, found = random.Random(4), []
    for number in range(40):
        ends = [rng.choice([b"\x80\x80", b"\x7f\x7f", b"\x80\x7f", b"\0\0"]) for _ in range(40)]
        walk, at = b"", 0
        for _ in range(40):
            at = max(-(2**15), min(2**15 - 1, at + rng.randint(-900, 900)))
            walk += struct.pack("<h", at)
        found.append(bytes([number % 3 | number % 2 << 7]) + (b"".join(ends) if number % 5 == 0 else walk))
        found.append(bytes([number % 3 | number % 2 << 7]) + rng.randbytes(80))
    return found


def _framing_files() -> dict[str, str]:
    return _texts(LINK / name for name in ("edc_link.c", "edc_link.h"))


def _framing_seeds() -> list[bytes]:
    rng, found = random.Random(5), []
    for _ in range(30):
        noise = bytes(rng.choice([0, 1, 2, 3, 254, 255]) for _ in range(rng.randrange(20)))
        message = bytes(rng.choice([0, 0, 1, 255]) for _ in range(rng.choice([0, 2, 3, 20, 253, 254, 255, 300, 600])))
        found.append(struct.pack("<HB", rng.randrange(1024), len(noise)) + noise + message)
    return found


@functools.cache
def fuzzers() -> dict[str, Fuzzer]:
    """All of them, by name."""
    found = (
        Fuzzer("encoder", _encoder_files, _encoder_seeds, ("edc_encoder.c", "edc_packet.c", "edc_range.c"), 512, 3000),
        Fuzzer("unpack", _unpack_files, _unpack_seeds, ("edc_unpack.c",), 512, 20000, _VECTORS),
        Fuzzer("blob", _blob_files, _blob_seeds, ("edc_blob.c",), 8192, 20000),
        Fuzzer("framing", _framing_files, _framing_seeds, ("edc_link.c",), 1024, 20000),
        Fuzzer("kernels", _kernels_files, _kernels_seeds, _KERNEL_SOURCES, 81, 200),
        Fuzzer("server", _server_files, _server_seeds, _SERVER, 1024, 10000),
        Fuzzer("server-wide", _server_files, _server_seeds, _SERVER, 1024, 4000, _WIDE, variant_of="server"),
    )
    return {target.name: target for target in found}


def all_fuzzers() -> dict[str, Fuzzer | ReaderFuzzer]:
    """Those of :func:`fuzzers` and of the readers."""
    readers = {name: ReaderFuzzer(name, reader.seeds, reader.longest) for name, reader in READERS.items()}
    return fuzzers() | readers
