"""What each part of a codec costs on a board: the document of ``edgecodec profile``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from edgecodec.device.connect import AUTO, Attachment, check, connected
from edgecodec.errors import DeviceError, InputError
from edgecodec.firmware.build import plan_for
from edgecodec.link.costs import LayerCosts
from edgecodec.link.protocol import NATIVE

if TYPE_CHECKING:
    from edgecodec.boards.schema import Board
    from edgecodec.bundle import Bundle
    from edgecodec.codec.arrays import Frames
    from edgecodec.compile.plan import Plan
    from edgecodec.engines.tflm.library import TflmEngine
    from edgecodec.firmware.build import Firmware


@dataclass(frozen=True)
class Part:
    """One row of a profile."""

    name: str
    """Of a layer, the model's."""
    kind: str
    """``layer``, ``normaliser``, ``rvq`` or ``packet``."""
    op: str
    kernel: str
    """The C function that runs it; ``TFLM`` of a layer that TensorFlow Lite Micro runs."""
    macs: int
    """Multiply-accumulates of a frame as the model defines them, whatever the kernel spares; 0 for the others."""
    cost: float
    """Mean instructions or cycles of a frame."""


@dataclass(frozen=True)
class Profile:
    """What a frame costs on a board, part by part."""

    bundle_digest: str
    board: str
    core: str
    engine: str
    """``native`` or ``tflm``."""
    optimize: str
    unit: str
    """``"instructions"`` on emulated boards, ``"cycles"`` on real ones."""
    frames: int
    parts: tuple[Part, ...]
    firmware: Firmware | None
    """None when the firmware is not ours to measure (``port``)."""

    @property
    def total(self) -> float:
        """Of all parts."""
        return sum(part.cost for part in self.parts)

    def to_json(self) -> dict[str, Any]:
        """The document that ``--json`` prints."""
        return {
            "bundle_digest": self.bundle_digest,
            "board": self.board,
            "core": self.core,
            "engine": self.engine,
            "optimize": self.optimize,
            "unit": self.unit,
            "frames": self.frames,
            f"{self.unit}_per_frame": self.total,
            "layers": [self._row(part) for part in self.parts],
            "memory": None if self.firmware is None else self.firmware.memory(),
        }

    def _row(self, part: Part) -> dict[str, Any]:
        row = asdict(part)
        cost = row.pop("cost")
        per_mac = cost / part.macs if part.macs else None
        return row | {self.unit: cost, "per_mac": per_mac, "share": cost / self.total if self.total else 0.0}


def profile_board(
    bundle: Bundle,
    board: Board,
    frames: Frames,
    *,
    attachment: Attachment = AUTO,
    optimize: str = "speed",
    engine: TflmEngine | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Profile:
    """Measure what each part of a bundle's codec costs on a board, as the mean over ``frames`` int16 ``[N, T]``.

    The firmware's own timer measures. Builds (or takes from the cache) the firmware and starts the emulated
    board, or finds and flashes the real one, as ``attachment`` says; with ``engine`` the encoder runs on TensorFlow
    Lite Micro. Firmware that runs there already must have been built with the same ``optimize``.
    ``progress(done, total)`` counts frames. Raises EdgecodecError as :func:`edgecodec.verify.run.verify_board` does,
    InputError without frames.
    """
    if len(frames) == 0:
        raise InputError("no frames to profile with; expected at least one")
    check(board, attachment)
    plan = plan_for(bundle, board, optimize)
    with connected(bundle, board, attachment, optimize=optimize, engine=engine) as (device, firmware):
        device.stages(frames, want=("layers",), progress=progress)
        costs, running = device.layer_costs, device.hello.engine
    if costs is None or len(costs.layers) != len(plan.steps):
        found = "none" if costs is None else len(costs.layers)
        raise DeviceError(
            f"{board.name}: the firmware timed {found} layers; the bundle has {len(plan.steps)}; "
            "build and flash it again"
        )
    parts = _parts(bundle, plan, costs, running)
    return Profile(bundle.digest, board.name, board.core, running, optimize, costs.unit, len(frames), parts, firmware)


def _parts(bundle: Bundle, plan: Plan, costs: LayerCosts, engine: str) -> tuple[Part, ...]:
    sizes = bundle.codec.rvq.codebook_sizes
    rvq_macs = bundle.codec.positions * bundle.codec.rvq.dimension * sum(sizes)
    search = f"{len(sizes)} level{'s' if len(sizes) > 1 else ''} of {', '.join(map(str, sorted(set(sizes))))} codes"
    return (
        Part("normaliser", "normaliser", "z-score", "edc_normalize", 0, costs.normalize),
        *(
            Part(
                step.layer.name,
                "layer",
                str(step.layer.op),
                str(step.kernel) if engine == NATIVE else "TFLM",
                step.layer.macs,
                cost,
            )
            for step, cost in zip(plan.steps, costs.layers, strict=True)
        ),
        Part("rvq", "rvq", search, str(plan.search), rvq_macs, costs.rvq),
        Part("packet", "packet", "reply with indices, CRC-32", "edc_link_seal", 0, costs.packet),
    )
