"""Run a bundle through every executor and say whether they agree."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from itertools import combinations

from edgecodec.boards.schema import Board
from edgecodec.bundle import Bundle
from edgecodec.codec.arrays import Frames
from edgecodec.codec.reference import ReferenceExecutor
from edgecodec.codec.stages import Executor, Stages
from edgecodec.compile.target import DEFAULT_OPTIMIZE
from edgecodec.device.connect import AUTO, Attachment, check, connected
from edgecodec.engines.base import Engine
from edgecodec.engines.native import NATIVE_ENGINE
from edgecodec.errors import DeviceError, InputError, LinkError
from edgecodec.firmware.project import make_project
from edgecodec.firmware.report import Firmware
from edgecodec.host.oracles import KerasExecutor, OracleMissingError, TfliteReferenceExecutor, TflmExecutor
from edgecodec.host.shim import HostShim
from edgecodec.link.client import BoardExecutor, executor_name
from edgecodec.verify.attribution import LayerDivergence, locate
from edgecodec.verify.compare import Comparison, NamedStages, Pair, Verdict, compare, merge
from edgecodec.verify.documents import BitsOnAir, BoardRun, Breakdown, ReportedPair, VerificationDocument
from edgecodec.verify.packets import add_packets
from edgecodec.verify.profile import ProfileRow, time_parts
from edgecodec.verify.pushed import compare_board, compare_host

Progress = Callable[[int, int, str], None]
"""``progress(done, total, detail)``, frames over all executors."""

EXIT_CODES = {Verdict.EQUAL: 0, Verdict.DIFFERENT: 1, Verdict.UNDECIDED: 2}
_PART = 50
"""Frames between two signs of progress."""
_TIMED = 8
"""Frames on which the parts of the codec are timed, at most."""
_HOST_BUILD = "building the C for this machine"


@dataclass(frozen=True)
class VerifyResult:
    """The outcome of a verification."""

    bundle_digest: str
    """Digest of the bundle, in hex."""
    frames: int
    """Frames that every executor encoded."""
    comparison: Comparison
    """Comparison of the exact executors, the ground of the verdict."""
    float_pairs: tuple[Pair, ...]
    """Comparison of the float Keras encoder with the integer ones: tells, never decides."""
    stages: dict[str, Stages]
    """What each executor made of the frames, by its name."""
    runs: tuple[BoardRun, ...] = ()
    """What each firmware cost; the last is under test."""
    layer_divergences: tuple[LayerDivergence, ...] = ()
    """Where a board's encoder goes wrong, one for each that does."""
    parts: tuple[ProfileRow, ...] = ()
    """What each part of the codec cost on the board under test; empty when that was not asked for, or not told."""

    @property
    def run(self) -> BoardRun | None:
        """The run under test; None without a board."""
        return self.runs[-1] if self.runs else None

    @property
    def verdict(self) -> Verdict:
        """``equal`` when every exact comparison compared something and nothing differs."""
        return self.comparison.verdict

    @property
    def exit_code(self) -> int:
        """0 equal, 1 different, 2 undecided."""
        return EXIT_CODES[self.verdict]

    @property
    def indices_compared(self) -> int:
        """Indices of one executor, each compared in every pair."""
        return max((pair.compared for pair in self.comparison.pairs if pair.stage == "indices"), default=0)

    @property
    def executor(self) -> Stages:
        """The stages of the executor under test: the board, or the host shim without one."""
        if self.run is None:
            return self.stages[HostShim.name]
        return self.stages[executor_name(self.run.engine)]

    @property
    def bits_on_air(self) -> BitsOnAir | None:
        """Bits of a packet of the executor under test; None when the bundle has no packets."""
        made = [stages.packet for stages in self.stages.values() if stages.packet is not None]
        if not made:
            return None
        bits = [8 * len(packet) for packet in made[-1]]  # the executor under test is the last that makes packets
        return BitsOnAir(sum(bits) / len(bits), max(bits))

    @property
    def document(self) -> VerificationDocument:
        """The verification as ``--json`` prints it."""
        nothing = dict.fromkeys(field.name for field in fields(BoardRun)) | {"engine": NATIVE_ENGINE.name}
        return VerificationDocument(
            verdict=self.verdict,
            bundle_digest=self.bundle_digest,
            frames=self.frames,
            indices_compared=self.indices_compared,
            bits_on_air=self.bits_on_air,
            pairs=(*_reported(self.comparison.pairs, exact=True), *_reported(self.float_pairs, exact=False)),
            statistics=self.comparison.statistics,
            first_divergence=self.comparison.first_divergence,
            layer_divergences=self.layer_divergences,
            **(nothing if self.run is None else vars(self.run)),
            runs=self.runs,
        )

    def __repr__(self) -> str:
        return (
            f"VerifyResult({self.verdict}, {self.frames:,} frames, {self.indices_compared:,} indices by "
            f"{', '.join(self.stages)})"
        )


def _reported(pairs: Iterable[Pair], *, exact: bool) -> tuple[ReportedPair, ...]:
    return tuple(ReportedPair(**vars(pair), exact=exact) for pair in pairs)


def verify_host(
    bundle: Bundle, frames: Frames, *, keras: bool = False, progress: Progress | None = None
) -> VerifyResult:
    """Compare host shim, numpy reference and oracle over ``frames`` int16 ``[N, T]``.

    The oracle is TFLM (package ``tflite-micro``), or TFLite's reference kernels where that package has no build. Of a
    bundle with packets, an encoder object of the C (``host-encoder``) also gets the frames as one stream, in odd pieces
    and with lost samples, and its packets are compared with the reference's. ``keras`` also compares with the float
    encoder, which tells and never decides.

    Raises InputError without frames and for frames of another shape or type, BuildError when the shim cannot be built,
    OracleMissingError when no oracle is installed.
    """
    _say(progress, _HOST_BUILD)
    shim = HostShim(bundle)
    executors = [*_exact_executors(bundle, shim), *_float_executors(bundle, keras)]
    count = _Count(progress, len(frames), len(executors))
    stages = _run(executors, frames, count)
    add_packets(bundle, stages, count.say)
    pushed = compare_host(bundle, shim, frames, stages[ReferenceExecutor.name])
    return _result(bundle, frames, stages, (pushed,))


def verify_board(
    bundle: Bundle,
    board: Board,
    frames: Frames,
    *,
    attachment: Attachment = AUTO,
    optimize: str = DEFAULT_OPTIMIZE,
    engine: Engine = NATIVE_ENGINE,
    keras: bool = False,
    by_part: bool = False,
    progress: Progress | None = None,
) -> VerifyResult:
    """Compare a board with host shim, numpy reference and oracle over ``frames`` int16 ``[N, T]``.

    Builds (or takes from the cache) the bundle's firmware, and starts the emulated board or finds and flashes the
    real one, as ``attachment`` says. Firmware of another ``engine`` than the native one follows on firmware of that,
    and each is compared with the other. Of a bundle with packets, an encoder object on the board (``board-encoder``)
    also gets one frame in nine, but at least eight, in pieces; firmware without one (``encoder_bytes`` of the run is 0)
    is left out. Where a board's latent is wrong, its layers are read back to find the one that is. ``keras`` also
    compares with the float encoder, which tells and never decides. ``by_part`` also has the firmware under test time
    each part of the codec, on 8 frames; where that fails :attr:`VerifyResult.parts` is empty, and the verdict stays.

    Raises InputError without frames and for goals that contradict each other, BuildError when shim or firmware cannot
    be built, LinkError and DeviceError when the board is missing, silent, of another bundle or ends mid-run.
    """
    check(board, attachment)
    reached = attachment.checked(board)
    # Firmware that runs there already is one.
    engines = [*dict.fromkeys([NATIVE_ENGINE, engine])] if attachment.builds(board) else [engine]
    projects = [make_project(bundle, reached, engine=each, optimize=optimize) for each in engines]
    _say(progress, _HOST_BUILD)
    # The host runs the very kernels that the board does.
    shim = HostShim(bundle, projects[0].plan)
    executors = [*_exact_executors(bundle, shim), *_float_executors(bundle, keras)]
    count = _Count(progress, len(frames), len(executors) + len(projects))
    stages = _run(executors, frames, count)
    add_packets(bundle, stages, count.say)
    reference = stages[ReferenceExecutor.name]
    pushed = [compare_host(bundle, shim, frames, reference)]
    runs, divergences = [], []
    parts: tuple[ProfileRow, ...] = ()
    for project in projects:
        with connected(project, attachment, count.say) as (device, firmware):
            found = device.stages(frames, progress=count.executor(f"streaming to {device.name}"))
            stages[device.name] = found
            runs.append(_board_run(device, firmware))
            divergences.append(locate(device, bundle.codec.graph, frames, found, reference))
            count.say(f"pushing samples to {device.name}")
            pushed.append(compare_board(bundle, device, frames, reference))
            if by_part and project is projects[-1]:
                count.say(f"timing the parts on {device.name}")
                with suppress(LinkError, DeviceError):
                    parts = time_parts(project, device, frames[:_TIMED])
    wrong = tuple(each for each in divergences if each is not None)
    return replace(_result(bundle, frames, stages, pushed, tuple(runs), wrong), parts=parts)


def _board_run(device: BoardExecutor, firmware: Firmware | None) -> BoardRun:
    costs = device.costs
    if costs is None:
        raise DeviceError("the board ran no frame, so nothing was measured")
    instructions = costs.unit == "instructions"
    return BoardRun(
        board=device.hello.board,
        engine=device.hello.engine,
        encoder_bytes=device.hello.encoder_bytes,
        arena_bytes=device.hello.arena_bytes,
        flash_bytes=firmware.report.flash_bytes if firmware else None,
        ram_bytes=firmware.report.ram_bytes if firmware else None,
        instructions_per_frame=costs.total if instructions else None,
        cycles_per_frame=None if instructions else costs.total,
        breakdown=Breakdown(costs.normalize, costs.encoder, costs.rvq, costs.packet),
        link=replace(device.statistics),
    )


def _exact_executors(bundle: Bundle, shim: HostShim) -> list[Executor]:
    try:
        oracle: Executor = TflmExecutor(bundle)
    except OracleMissingError:
        oracle = TfliteReferenceExecutor(bundle)
    return [oracle, ReferenceExecutor(bundle.codec), shim]


def _float_executors(bundle: Bundle, keras: bool) -> list[Executor]:
    return [KerasExecutor(bundle)] if keras else []


def _say(progress: Progress | None, what: str) -> None:
    """Name what runs before frames are counted."""
    if progress:
        progress(0, 0, what)


class _Count:
    """Turns the frames of one executor into frames of all."""

    def __init__(self, progress: Progress | None, frames: int, executors: int) -> None:
        self._progress = progress
        self._total = frames * executors
        self._before = 0
        self._frames = frames

    def executor(self, name: str) -> Callable[[int, int], None]:
        """The progress of the next executor."""
        before = self._before
        self._before += self._frames

        def report(done: int, _: int) -> None:
            self._report(before + done, name)

        report(0, 0)
        return report

    def say(self, what: str) -> None:
        """Name what runs before the next executor does."""
        self._report(self._before, what)

    def _report(self, done: int, what: str) -> None:
        if self._progress:
            self._progress(done, self._total, what)


def _run(executors: Sequence[Executor], frames: Frames, count: _Count) -> dict[str, Stages]:
    if len(frames) == 0:
        raise InputError("no frames to verify with; expected at least one")
    return {executor.name: _run_in_parts(executor, frames, count.executor(executor.name)) for executor in executors}


def _run_in_parts(executor: Executor, frames: Frames, progress: Callable[[int, int], None]) -> Stages:
    parts = []
    for start in range(0, len(frames), _PART):
        parts.append(executor.stages(frames[start : start + _PART]))
        progress(min(start + _PART, len(frames)), len(frames))
    return Stages.join(parts)


def _result(
    bundle: Bundle,
    frames: Frames,
    stages: dict[str, Stages],
    pushed: Iterable[Comparison] = (),
    runs: tuple[BoardRun, ...] = (),
    layer_divergences: tuple[LayerDivergence, ...] = (),
) -> VerifyResult:
    exact = [NamedStages(name, found) for name, found in stages.items() if name != KerasExecutor.name]
    comparison = merge([*(compare(a, b, bundle.codec.rvq) for a, b in combinations(exact, 2)), *pushed])
    floats: tuple[Pair, ...] = ()
    if KerasExecutor.name in stages:
        keras = NamedStages(KerasExecutor.name, stages[KerasExecutor.name])
        floats = merge(compare(keras, other) for other in exact).pairs
    return VerifyResult(bundle.digest, len(frames), comparison, floats, stages, runs, layer_divergences)
