"""What each part of a codec costs on a board: the document of ``edgecodec profile``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edgecodec.boards.schema import Board
from edgecodec.bundle import Bundle
from edgecodec.codec.arrays import Frames
from edgecodec.device.connect import AUTO, Attachment, check, connected
from edgecodec.documents import Document
from edgecodec.engines.base import Engine
from edgecodec.engines.native import NATIVE_ENGINE
from edgecodec.errors import DeviceError, InputError
from edgecodec.firmware.project import FirmwareProject, make_project
from edgecodec.firmware.report import MemoryUse
from edgecodec.link.costs import LayerCosts

Progress = Callable[[int, int, str], None]
"""``progress(done, total, what)``, frames on the board and what runs now."""


@dataclass(frozen=True)
class Part:
    """A part of the codec, and what it was measured to cost."""

    name: str
    """Name of the layer in the model, or of the part."""
    kind: str
    """``layer``, ``normaliser``, ``rvq`` or ``packet``."""
    op: str
    """What it does: of a layer, the model's operator."""
    kernel: str
    """C function that runs it, or the engine's name where that is all that is known, such as ``TFLM``."""
    macs: int
    """Multiply-accumulates of a frame as the model defines them, whatever the kernel spares; 0 where there are none."""
    cost: float
    """Mean instructions or CPU cycles of a frame, as the document's ``unit`` says."""


@dataclass(frozen=True)
class ProfileRow(Part):
    """A part of the codec beside the others."""

    per_mac: float | None
    """Cost over multiply-accumulates; null where there are none."""
    share: float
    """Cost over the cost of all parts, from 0 to 1."""


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
    layers: tuple[ProfileRow, ...]
    """Normaliser, layers, codebook search and packet, in the order in which they run."""
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
    optimize: str = "speed",
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
        device.stages(
            frames, want=("layers",), progress=lambda done, total: report(done, total, f"streaming to {device.name}")
        )
        costs, running = device.layer_costs, device.hello.engine
    steps = len(project.plan.steps)
    if costs is None or len(costs.layers) != steps:
        found = "none" if costs is None else len(costs.layers)
        raise DeviceError(
            f"{board.name}: the firmware timed {found} layers; the bundle has {steps}", hint="build and flash it again"
        )
    rows = rows_of(_parts(project, costs, running))
    total = sum(row.cost for row in rows)
    return ProfileDocument(
        bundle_digest=bundle.digest,
        board=board.name,
        core=board.core,
        engine=running,
        optimize=optimize,
        unit=costs.unit,
        frames=len(frames),
        instructions_per_frame=total if costs.unit == "instructions" else None,
        cycles_per_frame=total if costs.unit == "cycles" else None,
        layers=rows,
        memory=None if firmware is None else firmware.report.memory,
    )


def _parts(project: FirmwareProject, costs: LayerCosts, running: str) -> tuple[Part, ...]:
    """The parts of a codec whose encoder the engine named ``running`` runs, which may not be the project's."""
    codec, plan, engine = project.bundle.codec, project.plan, project.engine
    sizes, kind = codec.rvq.codebook_sizes, codec.normalizer.kind
    rvq_macs = codec.positions * codec.rvq.dimension * sum(sizes)
    search = f"{len(sizes)} level{'s' if len(sizes) > 1 else ''} of {', '.join(map(str, sorted(set(sizes))))} codes"
    return (
        Part("normaliser", "normaliser", kind, f"edc_{kind}_normalize", 0, costs.normalize),
        *(
            Part(
                step.layer.name,
                "layer",
                str(step.layer.op),
                engine.kernel(step) if running == engine.hello_name else running,
                step.layer.macs,
                cost,
            )
            for step, cost in zip(plan.steps, costs.layers, strict=True)
        ),
        Part("rvq", "rvq", search, str(plan.search), rvq_macs, costs.rvq),
        Part("packet", "packet", "reply with indices, CRC-32", "edc_link_seal", 0, costs.packet),
    )
