"""The encoder object under sanitizers: samples in any pieces, gaps, overruns, and packets equal to the reference."""

from __future__ import annotations

import shutil
import struct
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from edgecodec.bundle import Bundle
from edgecodec.codec.numerics import INT8, INT16X8
from edgecodec.codec.reference import ReferenceExecutor
from edgecodec.codec.tflite_reader import read_graph
from edgecodec.compile.library import codec_files
from edgecodec.compile.plan import Plan, make_plan
from edgecodec.compile.target import DEFAULT_TARGET
from edgecodec.entropy.packet import Form
from edgecodec.entropy.packet_file import PacketConstants
from edgecodec.entropy.side_information import SideInformation
from edgecodec.host.extension import STRICT_FLAGS
from edgecodec.signal.normalize import Fixed, MinMax
from tests.c.test_generated_c import SANITIZERS, _each_in_stripes, _in_stripes
from tests.packets import network, tables
from tests.random_encoders import random_encoder
from tests.tflite_builder import bundle_of, ppg_frames, small_encoder
from tests.tools import lack, require

MAIN = Path(__file__).with_name("encoder_main.c")
MTU = 23
KINDS = ("tables", "network", "cascade", "stripes", "minmax", "fixed", "random 3", "random 5", "random 17", "wide")
FRAGMENTS = 16
LAST = 100


class Op(IntEnum):
    """Of encoder_main.c."""

    PUSH = 0
    PUSH32 = 1
    GAP = 2
    STEPS = 3
    COUNTS = 4
    ENDS = 5
    INTERRUPTS = 6
    THREAD = 7


class Status(IntEnum):
    """Of edc.h."""

    OK = 0
    IDLE = 1
    MORE = 2
    PACKET = 3
    BUSY = 4


@dataclass
class Sent:
    """A packet, and the fragments that it was cut into."""

    number: int
    packet: bytes
    fragments: list[bytes]


@dataclass
class Script:
    """What an encoder is to do, and what it shall have said: a grid of samples, of which some are lost."""

    samples: int
    words: bytes = b""
    calls: list[Op] = field(default_factory=list)
    place: int = 0
    grid: dict[int, int] = field(default_factory=dict)

    def push(self, given: npt.NDArray[np.int16], stride: int = 1) -> None:
        """Samples that will be taken."""
        spread = np.full(max(0, (len(given) - 1) * stride + 1), 9, np.int16)
        spread[::stride] = given
        data = spread.tobytes()
        self._call(Op.PUSH, len(given), stride, data + bytes(-len(data) % 4))
        self.took(given)

    def push32(self, counts: npt.NDArray[np.int32], given: npt.NDArray[np.int16], stride: int = 1) -> None:
        """Counts that will be taken, and the samples that they are."""
        spread = np.full(max(0, (len(counts) - 1) * stride + 1), -1, np.int32)
        spread[::stride] = counts
        self._call(Op.PUSH32, len(counts), stride, spread.tobytes())
        self.took(given)

    def took(self, given: npt.NDArray[np.int16]) -> None:
        """Put samples where they belong."""
        self.grid |= {self.place + number: int(value) for number, value in enumerate(given)}
        self.place += len(given)

    def gap(self, lost: int) -> None:
        self._call(Op.GAP, lost, 0)
        self.place += lost

    def steps(self, most: int = 2**32 - 1, mtu: int = MTU) -> None:
        self._call(Op.STEPS, most, mtu)

    def counts(self, shift: int, offset: int) -> None:
        self._call(Op.COUNTS, shift, offset & 0xFFFFFFFF)

    def ends(self, least: int, most: int) -> None:
        self._call(Op.ENDS, least & 0xFFFFFFFF, most & 0xFFFFFFFF)

    def expected(self, bundle: Bundle, least: int = -32768, most: int = 32767) -> list[bytes]:
        """The packets of all frames of the grid of which no sample is missing."""
        packets = bundle.packets()
        assert packets is not None
        whole = [
            number
            for number in range(self.place // self.samples)
            if all(number * self.samples + i in self.grid for i in range(self.samples))
        ]
        if not whole:
            return []
        frames = np.array(
            [[self.grid[number * self.samples + i] for i in range(self.samples)] for number in whole], np.int16
        )
        stages = ReferenceExecutor(bundle.codec).stages(frames)
        assert stages.offset is not None
        assert stages.spread is not None
        return [
            packets.encode(
                stages.indices[row],
                int(stages.offset[row]),
                int(stages.spread[row]),
                number,
                clipped=bool(np.any((frames[row] <= least) | (frames[row] >= most))),
                gap=number > 0 and number - 1 not in whole,
            )
            for row, number in enumerate(whole)
        ]

    def stream(self, op: Op, given: npt.NDArray[np.int16], piece: int) -> None:
        """All samples amid the steps, or from a thread."""
        data = given.tobytes()
        self._call(op, len(given), piece, data + bytes(-len(data) % 4))
        self.took(given)

    def _call(self, op: Op, first: int, second: int, data: bytes = b"") -> None:
        self.words += struct.pack("<3I", op, first, second) + data
        self.calls.append(op)


@dataclass(frozen=True)
class Done:
    """What an encoder said to each call: status and samples taken, or the last status; and its packets."""

    said: list[tuple[int, ...]]
    sent: list[Sent]


class Program:
    """A bundle's encoder, built with encoder_main.c."""

    def __init__(self, bundle: Bundle, plan: Plan, folder: Path) -> None:
        require("gcc")
        self._folder = folder
        files = codec_files(bundle, plan)
        for name, text in files.items():
            (folder / name).write_text(text, encoding="utf-8")
        shutil.copy(MAIN, folder)
        sources = sorted(name for name in files if name.endswith(".c"))
        command = ["gcc", *STRICT_FLAGS, *SANITIZERS, "-pthread", *sources, MAIN.name, "-o", "encoder"]
        built = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        if "asan" in built.stderr and built.returncode:
            lack("gcc has no AddressSanitizer library (libasan)")
        assert (built.returncode, built.stderr) == (0, "")

    def run(self, script: Script) -> Done:
        """Follow a script from the start."""
        (self._folder / "script").write_bytes(script.words)
        done = subprocess.run(
            ["./encoder", "script", "results"], cwd=self._folder, capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, "")
        data = (self._folder / "results").read_bytes()
        words, sent = iter(range(0, len(data), 4)), []
        said: list[tuple[int, ...]] = []

        def word() -> int:
            return int(struct.unpack_from("<i", data, next(words))[0])

        def content() -> bytes:
            size = word()
            parts = [struct.pack("<i", word()) for _ in range(-(-size // 4))]
            return b"".join(parts)[:size]

        for op in script.calls:
            status = word()
            while op in (Op.STEPS, Op.INTERRUPTS, Op.THREAD) and status == Status.PACKET:
                sent.append(Sent(word() & 0xFFFFFFFF, content(), [content() for _ in range(word())]))
                status = word()
            said.append((status, word()) if op in (Op.PUSH, Op.PUSH32) else (status,))
        assert next(words, None) is None
        return Done(said, sent)


def reassemble(fragments: list[bytes]) -> Iterator[bytes]:
    """Packets of SPEC 5 (fragments), as a receiver joins them."""
    joined, next_number = b"", 0
    for fragment in fragments:
        assert fragment[0] & 0x0F == next_number
        joined, next_number = joined + fragment[1:], next_number + 1
        if fragment[0] & 0x80:
            assert fragment[0] >> 4 & 7 == joined[1] & 7
            yield joined
            joined, next_number = b"", 0
    assert joined == b""


def make(kind: str, path: Path) -> tuple[Bundle, Plan]:
    """A bundle with packets, and how it runs."""
    seed = int(kind.split()[1]) if kind.startswith("random") else 3
    numerics = INT16X8 if kind == "wide" else INT8
    encoder = random_encoder(seed).data if kind.startswith("random") else small_encoder(seed, numerics=numerics)
    sizes = (40,) if kind == "random 5" else (3, 17, 2) if kind == "random 17" else (29, 13)
    graph = read_graph(encoder)
    models = {"random 3": None, "network": network(4, sizes), "random 17": network(5, sizes, gain=2)}
    model = models.get(kind, tables(3, graph.latent.width, sizes))
    side = SideInformation(graph.input.width, 8, 8, 2048, squared=kind != "minmax")
    normalization = {"minmax": MinMax(-1.0, 1.0), "fixed": Fixed(100.0, 2000.0)}.get(kind)
    constants = PacketConstants(None if kind == "fixed" else side, model)
    more = {} if normalization is None else {"normalization": normalization}
    bundle = bundle_of(path / "bundle", encoder, sizes, seed, packets=constants, **more)
    makers = {"cascade": _in_stripes, "stripes": _each_in_stripes}
    plan = makers[kind](bundle, DEFAULT_TARGET) if kind in makers else make_plan(bundle.codec)
    return bundle, plan


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Bundle, Program]]:
    """By kind, as they are asked for."""
    found: dict[str, tuple[Bundle, Program]] = {}

    class Kinds(dict[str, tuple[Bundle, Program]]):
        def __missing__(self, kind: str) -> tuple[Bundle, Program]:
            folder = tmp_path_factory.mktemp("encoder")
            bundle, plan = make(kind, folder)
            found[kind] = bundle, Program(bundle, plan, folder)
            self[kind] = found[kind]
            return found[kind]

    return Kinds()


def signal(seed: int, samples: int, frames: int) -> npt.NDArray[np.int16]:
    """Frames one behind the other: PPG, noise, flat ones, and such that reach an end of int16."""
    rng = np.random.default_rng([seed, 90])
    rows = ppg_frames(frames, samples, seed)
    for row in rows[rng.random(frames) < 0.3]:
        row[:] = rng.integers(-32768, 32768, samples)
    for number, kind in enumerate(rng.integers(0, 6, frames)):
        if kind == 0:
            rows[number] = rng.integers(-32768, 32768)
        if kind == 1:
            rows[number, rng.integers(samples)] = rng.choice([-32768, 32767])
        if kind == 2:
            rows[number] = rng.integers(-32768, 32768, samples)
    return rows.reshape(-1)


def check(bundle: Bundle, script: Script, done: Done, **ends: int) -> None:
    """Every packet is the reference's, and its fragments are it."""
    assert [each.packet for each in done.sent] == script.expected(bundle, **ends)
    for each in done.sent:
        assert list(reassemble(each.fragments)) == [each.packet]


@pytest.mark.parametrize("kind", KINDS)
def test_samples_in_odd_pieces_with_gaps(built: dict[str, tuple[Bundle, Program]], kind: str) -> None:
    bundle, program = built[kind]
    samples = bundle.codec.samples
    rng = np.random.default_rng([len(kind), 91])
    source = signal(1, samples, 210)
    script = Script(samples)
    mtu = 1 + -(-(bundle.packets().plain_bytes() + 10) // FRAGMENTS)
    waiting = 0
    while script.place < 200 * samples:
        at = script.place % samples
        count = min(int(rng.integers(0, rng.choice([3, samples + 2, 2 * samples + 1]))), 2 * samples - at)
        if waiting + -(-(at + count) // samples) > 2:
            script.steps(mtu=int(rng.integers(mtu, mtu + 30)))
            waiting = 0
        script.push(source[script.place : script.place + count], int(rng.integers(1, 4)))
        waiting += (at + count) // samples
        if rng.random() < 0.05:
            script.gap(int(rng.integers(0, rng.choice([2, samples + 2, 5 * samples]))))
        if rng.random() < 0.5:
            script.steps(int(rng.integers(0, 50)), mtu)
    script.steps(mtu=mtu)
    done = program.run(script)
    check(bundle, script, done)
    packets = bundle.packets()
    read = [packets.decode(each.packet) for each in done.sent]
    assert {each.clipped for each in read} == {each.gap for each in read} == {False, True}
    assert (Form.FLAT in {each.form for each in read}) == (packets.side is not None)
    assert len(read) > 100
    pushed = [said for op, said in zip(script.calls, done.said, strict=True) if op is Op.PUSH]
    assert {status for status, _ in pushed} == {Status.OK}
    assert {said for op, said in zip(script.calls, done.said, strict=True) if op is Op.GAP} == {(Status.OK,)}


@pytest.mark.parametrize("kind", ["tables", "random 3"])
def test_gap_at_every_place(built: dict[str, tuple[Bundle, Program]], kind: str) -> None:
    bundle, program = built[kind]
    samples = bundle.codec.samples
    source = signal(2, samples, 4)
    for lost in (1, samples - 1, samples, samples + 1, 3 * samples):
        script = Script(samples)
        for place in range(0, samples + 1, max(1, samples // 16)):
            script.push(source[:place])
            script.steps()
            script.gap(lost)
            # To the end of a frame, and one more behind it.
            script.push(source[place : place + -script.place % samples])
            script.steps()
            script.push(source[:samples])
            script.steps()
        check(bundle, script, program.run(script))


def test_time_stays_exact_over_many_lost_frames(built: dict[str, tuple[Bundle, Program]]) -> None:
    bundle, program = built["random 3"]
    samples = bundle.codec.samples
    source = signal(3, samples, 1)
    script = Script(samples)
    for lost in (1000 * samples, 2**32 - 1, 5):
        script.push(source)
        script.gap(lost)
        script.push(source[: -script.place % samples])
        script.push(source)
        script.steps()
    done = program.run(script)
    packets = bundle.packets()
    first = [0, 1001, 1002, 1003 + -(-(2**32 - 1) // samples)]
    numbers = [*first, first[-1] + 1, first[-1] + 3]
    assert [each.number for each in done.sent] == numbers
    assert [packets.decode(each.packet).sequence for each in done.sent] == [number & 0xFF for number in numbers]


def test_overrun_says_so_and_loses_nothing_by_itself(built: dict[str, tuple[Bundle, Program]]) -> None:
    bundle, program = built["tables"]
    samples = bundle.codec.samples
    source = signal(4, samples, 8)

    def push(script: Script, count: int, taken: int) -> None:
        given = source[script.place : script.place + count]
        place = script.place
        script.push(given)
        script.place = place + taken
        for beyond in range(place + taken, place + count):
            script.grid.pop(beyond)

    script = Script(samples)
    push(script, 3 * samples, 2 * samples)
    push(script, 1, 0)
    script.steps(1)  # takes the first frame up
    push(script, samples + 3, samples)
    push(script, 0, 0)
    # The caller gives up what was not taken, and goes on in the grid although both frames wait.
    script.gap(3)
    push(script, samples - 3, samples - 3)
    push(script, 2, 0)
    script.steps()
    push(script, samples + 1, samples + 1)
    script.steps()
    done = program.run(script)
    check(bundle, script, done)
    pushed = [said for op, said in zip(script.calls, done.said, strict=True) if op is Op.PUSH]
    assert pushed == [
        (Status.BUSY, 2 * samples),
        (Status.BUSY, 0),
        (Status.BUSY, samples),
        (Status.OK, 0),
        (Status.OK, samples - 3),
        (Status.BUSY, 0),
        (Status.OK, samples + 1),
    ]
    assert [bundle.packets().decode(each.packet).gap for each in done.sent] == [False, False, False, True]


@pytest.mark.parametrize(("shift", "offset"), [(0, 0), (2, 131072), (8, -(2**31)), (31, 2**31 - 1), (0, 32768)])
def test_counts_of_wide_converters(built: dict[str, tuple[Bundle, Program]], shift: int, offset: int) -> None:
    bundle, program = built["tables"]
    samples = bundle.codec.samples
    rng = np.random.default_rng([shift, 92])
    script = Script(samples)
    script.counts(shift, offset)
    wanted = signal(5, samples, 12).astype(np.int64)
    wanted[:samples] = rng.integers(-(2**40), 2**40, samples)  # saturates
    counts = np.clip((wanted << shift) + offset + rng.integers(0, 1 << shift, wanted.size), -(2**31), 2**31 - 1)
    given = np.clip((counts - offset) >> shift, -32768, 32767).astype(np.int16)
    for start in range(0, len(counts), samples):
        part = slice(start, start + samples)
        script.push32(counts[part].astype(np.int32), given[part], 1 + start % 3)
        script.steps()
    done = program.run(script)
    check(bundle, script, done)
    assert len(done.sent) == 12
    assert all(said[0] == Status.OK for op, said in zip(script.calls, done.said, strict=True) if op is Op.PUSH32)


def test_ends_of_the_converter(built: dict[str, tuple[Bundle, Program]]) -> None:
    bundle, program = built["tables"]
    samples = bundle.codec.samples
    script = Script(samples)
    script.ends(0, 4095)
    frames = np.full((6, samples), 2000, np.int16) + np.arange(samples, dtype=np.int16) % 50
    for row, value in enumerate((0, 1, 4094, 4095, -3, 5000)):
        frames[row, row * samples // 6] = value
    for frame in frames:
        script.push(frame)
        script.steps()
    done = program.run(script)
    check(bundle, script, done, least=0, most=4095)
    clipped = [bundle.packets().decode(each.packet).clipped for each in done.sent]
    assert clipped == [True, False, False, True, True, True]


@pytest.mark.parametrize("op", [Op.INTERRUPTS, Op.THREAD])
@pytest.mark.parametrize("kind", ["tables", "cascade"])
def test_pushing_amid_the_steps_changes_no_packet(built: dict[str, tuple[Bundle, Program]], kind: str, op: Op) -> None:
    bundle, program = built[kind]
    samples = bundle.codec.samples
    for piece in (1, samples - 1, 2 * samples + 1):
        script = Script(samples)
        script.stream(op, signal(6 + piece, samples, 20), piece)
        done = program.run(script)
        check(bundle, script, done)
        assert len(done.sent) == 20


@pytest.mark.parametrize("compiler", ["gcc", "clang", "arm-none-eabi-gcc"])
def test_no_warnings(compiler: str, tmp_path: Path) -> None:
    require(compiler)
    bundle, plan = make("tables", tmp_path)
    for name, text in codec_files(bundle, plan).items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    cores = ["cortex-m0", "cortex-m4", "cortex-m55"] if compiler.startswith("arm") else [None]
    for core in cores:
        target = ["-ffreestanding"] if core is None else [f"-mcpu={core}", "-mthumb", "-ffreestanding"]
        for level in ("-O0", "-Os", "-O3"):
            command = [compiler, *STRICT_FLAGS, *target, level, "-c", "edc_encoder.c", "ppg_model.c"]
            done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
            assert (done.returncode, done.stderr) == (0, ""), command
