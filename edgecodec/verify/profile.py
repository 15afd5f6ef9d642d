"""What each part of a codec costs on a board: the document of ``edgecodec profile``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edgecodec.boards.schema import Board
from edgecodec.bundle import Bundle
from edgecodec.codec.arrays import Frames
from edgecodec.compile.plan import LongestCall, Plan
from edgecodec.compile.search_bound import bound_search
from edgecodec.compile.target import DEFAULT_OPTIMIZE
from edgecodec.device.connect import AUTO, Attachment, check, connected
from edgecodec.documents import Document
from edgecodec.engines.base import Engine
from edgecodec.engines.native import NATIVE_ENGINE
from edgecodec.entropy.context_tables import ContextTables
from edgecodec.entropy.packet import PacketFormat
from edgecodec.errors import DeviceError, InputError
from edgecodec.firmware.project import FirmwareProject, make_project
from edgecodec.firmware.report import MemoryUse
from edgecodec.link.client import BoardExecutor
from edgecodec.link.costs import LayerCosts

Progress = Callable[[int, int, str], None]
"""``progress(done, total, what)``, frames on the board and what runs now."""


@dataclass(frozen=True)
class PartHead:
    """A part of the codec."""

    name: str
    """Name of the layer in the model, or of the part."""
    kind: str
    """``layer``, ``normaliser``, ``rvq``, ``packet`` (entropy coding) or ``reply``."""
    op: str
    """What it does: of a layer, the model's operator."""
    kernel: str
    """C function that runs it, or the engine's name where that is all that is known, such as ``TFLM``."""
    macs: int
    """Multiply-accumulates of a frame as the model defines them, whatever the kernel spares; 0 where there are none."""


@dataclass(frozen=True)
class Part(PartHead):
    """A part of the codec, and what it was measured to cost."""

    cost: float
    """Mean instructions or CPU cycles of a frame, as the document's ``unit`` says."""
    least: float
    """Cost of the frame that it cost least."""
    most: float
    """Cost of the frame that it cost most."""
    bound: float | None
    """What it costs at most, whatever the frame: of the codebook search, in instructions; null of other parts."""


@dataclass(frozen=True)
class ProfileRow(Part):
    """A part of the codec beside the others."""

    per_mac: float | None
    """Cost over multiply-accumulates; null where there are none."""
    share: float
    """Cost over the cost of all parts, from 0 to 1."""


@dataclass(frozen=True)
class FrameCost:
    """Cost of a frame, all parts together, in the document's ``unit``."""

    least: float
    """The cheapest frame."""
    mean: float
    """The mean of all frames."""
    most: float
    """The dearest frame."""
    bound: float | None
    """The codebook search at its bound, and each other part at the most that was measured; null where the search's
    bound is not known."""


@dataclass(frozen=True)
class ProfileDocument(Document):
    """What a frame costs on a board, part by part."""

    SCHEMA = "edgecodec.profile"

    bundle_digest: str
    """Digest of the bundle, in hex."""
    board: str
    """Name of the board."""
    core: str
    """Core of the board, such as ``cortex-m4``."""
    engine: str
    """What runs the encoder: ``native`` or ``tflm``."""
    optimize: str
    """What kernels and compiler flags were chosen for: ``speed``, ``balanced`` or ``flash``."""
    unit: str
    """``instructions`` on emulated boards, ``cycles`` on real ones."""
    frames: int
    """Frames that costs are means of."""
    instructions_per_frame: float | None
    """Mean instructions of a frame on an emulated board, all parts together; null otherwise."""
    cycles_per_frame: float | None
    """Mean CPU cycles of a frame on a real board, all parts together; null otherwise."""
    frame: FrameCost
    """Least, mean and most cost of a frame, and the bound."""
    layers: tuple[ProfileRow, ...]
    """Normaliser, layers, codebook search, entropy coding if the bundle has packets, and the reply on the link, in the
    order in which they run."""
    longest_call: LongestCall | None
    """The call of a kernel that takes the most instructions; null where the engine's are not known."""
    memory: MemoryUse | None
    """What the firmware takes; null when it ran there already and is not ours to measure."""

    @property
    def cost_per_frame(self) -> float:
        """Cost of all parts in :attr:`unit`."""
        return sum(row.cost for row in self.layers)

    def __repr__(self) -> str:
        return (
            f"ProfileDocument({self.board}, engine {self.engine}: {self.cost_per_frame:,.0f} {self.unit} a frame in "
            f"{len(self.layers)} parts)"
        )


def rows_of(parts: Sequence[Part]) -> tuple[ProfileRow, ...]:
    """The parts of a codec with what each costs beside the others."""
    total = sum(part.cost for part in parts)
    return tuple(
        ProfileRow(
            **vars(part),
            per_mac=part.cost / part.macs if part.macs else None,
            share=part.cost / total if total else 0.0,
        )
        for part in parts
    )


def profile_board(
    bundle: Bundle,
    board: Board,
    frames: Frames,
    *,
    attachment: Attachment = AUTO,
    optimize: str = DEFAULT_OPTIMIZE,
    engine: Engine = NATIVE_ENGINE,
    progress: Progress | None = None,
) -> ProfileDocument:
    """Measure what each part of a bundle's codec costs on a board, as the mean over ``frames`` int16 ``[N, T]``.

    The firmware's own timer measures. Builds (or takes from the cache) the firmware and starts the emulated board, or
    finds and flashes the real one, as ``attachment`` says. Firmware that runs there already must have been built with
    the same ``optimize``. ``progress(done, total, what)`` counts frames.

    Raises InputError without frames and for goals that contradict each other, BuildError when the firmware cannot be
    built, LinkError and DeviceError when the board is missing, silent, of another bundle or ends mid-run.
    """
    if len(frames) == 0:
        raise InputError("no frames to profile with; expected at least one")
    check(board, attachment)
    project = make_project(bundle, attachment.checked(board), engine=engine, optimize=optimize)
    report = progress or (lambda done, total, what: None)
    with connected(project, attachment, lambda what: report(0, len(frames), what)) as (device, firmware):
        rows = time_parts(
            project, device, frames, lambda done, total: report(done, total, f"streaming to {device.name}")
        )
        costs, running = device.frame_costs, device.hello.engine
    unit = costs[0].unit
    frame = frame_cost(rows, [sum(each.parts) for each in costs])
    return ProfileDocument(
        bundle_digest=bundle.digest,
        board=board.name,
        core=board.core,
        engine=running,
        optimize=optimize,
        unit=unit,
        frames=len(frames),
        instructions_per_frame=frame.mean if unit == "instructions" else None,
        cycles_per_frame=frame.mean if unit == "cycles" else None,
        frame=frame,
        layers=rows,
        longest_call=engine.longest_call(project.plan) if running == engine.hello_name else None,
        memory=None if firmware is None else firmware.report.memory,
    )


def time_parts(
    project: FirmwareProject,
    device: BoardExecutor,
    frames: Frames,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[ProfileRow, ...]:
    """What each part of a codec costs on an open ``device``, as the mean over ``frames`` int16 ``[N, T]``.

    No frames may have been timed on it before. Raises DeviceError and LinkError as
    :meth:`edgecodec.link.client.BoardExecutor.stages` does, and DeviceError for another count of layers.
    """
    want = ("layers",) if project.bundle.packets() is None else ("layers", "packet")
    device.stages(frames, want=want, progress=progress)
    costs, steps = device.frame_costs, len(project.plan.steps)
    if not costs or len(costs[0].layers) != steps:
        found = len(costs[0].layers) if costs else "none"
        raise DeviceError(
            f"{project.board.name}: the firmware timed {found} layers; the bundle has {steps}",
            hint="build and flash it again",
        )
    return rows_of(_parts(project, costs, device.hello.engine))


def frame_cost(rows: Sequence[ProfileRow], totals: Sequence[float]) -> FrameCost:
    """The cost of a frame of these parts; ``totals`` are the frames', all parts together."""
    bounded = any(row.bound is not None for row in rows)
    bound = sum(row.most if row.bound is None else row.bound for row in rows) if bounded else None
    return FrameCost(min(totals), sum(row.cost for row in rows), max(totals), bound)


def _parts(project: FirmwareProject, costs: Sequence[LayerCosts], running: str) -> tuple[Part, ...]:
    """The parts of a codec whose encoder the engine named ``running`` runs, which may not be the project's."""
    plan, engine = project.plan, project.engine
    bound = bound_search(project.bundle.codec, plan).instructions if costs[0].unit == "instructions" else None
    kernels = [engine.kernel(step) if running == engine.hello_name else running for step in plan.steps]
    heads = (
        *codec_parts(project.bundle, plan, kernels),
        PartHead("reply", "reply", "reply with indices, CRC-32", "edc_link_seal", 0),
    )
    frames = zip(*(each.parts for each in costs), strict=True)
    return tuple(
        Part(
            **vars(head),
            cost=sum(each) / len(each),
            least=min(each),
            most=max(each),
            bound=bound if head.kind == "rvq" else None,
        )
        for head, each in zip(heads, frames, strict=True)
    )


def codec_parts(bundle: Bundle, plan: Plan, kernels: Sequence[str]) -> tuple[PartHead, ...]:
    """The parts of a codec in the order in which they run; ``kernels`` run the layers."""
    codec, packets = bundle.codec, bundle.packets()
    sizes = codec.rvq.codebook_sizes
    rvq_macs = codec.positions * codec.rvq.dimension * sum(sizes)
    search = f"{len(sizes)} level{'s' if len(sizes) > 1 else ''} of {', '.join(map(str, sorted(set(sizes))))} codes"
    return (
        PartHead("normaliser", "normaliser", codec.normalizer.kind, f"{codec.normalizer.function}_normalize", 0),
        *(
            PartHead(step.layer.name, "layer", str(step.layer.op), kernel, step.layer.macs)
            for step, kernel in zip(plan.steps, kernels, strict=True)
        ),
        PartHead("rvq", "rvq", search, str(plan.search), rvq_macs),
        *(PartHead("entropy coding", "packet", _model_of(each), "edc_packet_write", 0) for each in [packets] if each),
    )


def _model_of(packets: PacketFormat) -> str:
    """What packets code indices with, in words."""
    if packets.model is None:
        return "plain"
    return "context tables" if isinstance(packets.model, ContextTables) else "causal network"
