"""What verification prints with ``--json``, and the parts of it."""

from __future__ import annotations

from dataclasses import dataclass

from edgecodec.documents import Document
from edgecodec.link.costs import LinkStatistics
from edgecodec.verify.attribution import LayerDivergence
from edgecodec.verify.compare import Divergence, Pair, Verdict


@dataclass(frozen=True)
class ReportedPair(Pair):
    """One stage of two executors, and what it is worth."""

    exact: bool
    """Whether both are held to the same bits, so that a mismatch decides the verdict."""


@dataclass(frozen=True)
class Breakdown:
    """Mean cost of a frame stage by stage, in instructions on emulated boards and CPU cycles on real ones."""

    normalize: float
    """Cost of the normaliser."""
    encoder: float
    """Cost of the encoder's layers."""
    rvq: float
    """Cost of the codebook search."""
    packet: float | None
    """Cost of making the packet, entropy coding included; null when the bundle has no packets."""

    def items(self) -> tuple[tuple[str, float], ...]:
        """Names and costs, in the order in which the stages run."""
        packet = () if self.packet is None else (("packet", self.packet),)
        return ("normalize", self.normalize), ("encoder", self.encoder), ("rvq", self.rvq), *packet


@dataclass(frozen=True)
class BitsOnAir:
    """Bits of a frame's packet: header, side information, payload and check."""

    mean: float
    """Mean of the frames."""
    most: int
    """The longest packet's."""

    def describe(self) -> str:
        """In words."""
        return f"{self.mean:,.1f} mean, {self.most:,} at most, header and side information included"


@dataclass(frozen=True)
class BoardRun:
    """What a board cost and how the link behaved."""

    board: str
    """Name of the board, as its firmware says it."""
    engine: str
    """What runs the encoder: ``native`` or ``tflm``."""
    encoder_bytes: int
    """Bytes of RAM of the encoder object that frames were pushed to as well; 0 when the firmware has none, since the
    bundle has no packets, the board little RAM, or another engine than ``native`` runs the encoder."""
    arena_bytes: int
    """Bytes of RAM of the encoder's tensors (``tflm``: of the interpreter), as the device says."""
    flash_bytes: int | None
    """Bytes of flash of the firmware; null when it ran there already and is not ours to measure."""
    ram_bytes: int | None
    """Bytes of RAM of the firmware, stack included; null when it ran there already and is not ours to measure."""
    instructions_per_frame: float | None
    """Mean instructions of a frame where the board's counter counts them (emulated boards), else null."""
    cycles_per_frame: float | None
    """Mean CPU cycles of a frame where the board's counter counts them (real boards), else null."""
    breakdown: Breakdown
    """Cost of a frame stage by stage, in instructions on emulated boards and in cycles on real ones."""
    link: LinkStatistics
    """How the serial link behaved."""

    def __post_init__(self) -> None:
        if (self.instructions_per_frame is None) == (self.cycles_per_frame is None):
            raise ValueError("a board counts either instructions or cycles")

    @property
    def unit(self) -> str:
        """``"instructions"`` or ``"cycles"``."""
        return "cycles" if self.instructions_per_frame is None else "instructions"

    @property
    def cost_per_frame(self) -> float:
        """Mean cost of a frame in :attr:`unit`."""
        counted = self.cycles_per_frame if self.instructions_per_frame is None else self.instructions_per_frame
        assert counted is not None
        return counted


@dataclass(frozen=True)
class VerificationDocument(Document):
    """What ``verify-host --json`` and ``flash-and-verify --json`` print."""

    SCHEMA = "edgecodec.verification"

    verdict: Verdict
    """``equal``, ``different`` or ``undecided``, over all pairs of exact executors."""
    bundle_digest: str
    """Digest of the bundle, in hex."""
    frames: int
    """Frames that every executor encoded."""
    indices_compared: int
    """Indices of one executor, each compared in every pair."""
    bits_on_air: BitsOnAir | None
    """Bits of the packets of the executor under test; null when the bundle has no packets."""
    pairs: tuple[ReportedPair, ...]
    """One for each pair of executors and each stage that both compute, float comparisons last."""
    statistics: tuple[Pair, ...]
    """One for each pair of executors that both return a frame's offset and spread."""
    first_divergence: Divergence | None
    """The first value in which two exact executors differ; null when none does."""
    layer_divergences: tuple[LayerDivergence, ...]
    """Where a board's encoder goes wrong, one for each board run that does."""
    board: str | None
    """Name of the board under test; null when only the host was verified."""
    engine: str
    """What runs the encoder under test: ``native`` or ``tflm``."""
    encoder_bytes: int | None
    """Bytes of RAM of the encoder object that frames were pushed to as well; 0 when the firmware has none, null without
    a board."""
    arena_bytes: int | None
    """Bytes of RAM of the encoder's tensors (``tflm``: of the interpreter) on the board; null without one."""
    flash_bytes: int | None
    """Bytes of flash of the firmware; null without a board, or when its firmware ran there already."""
    ram_bytes: int | None
    """Bytes of RAM of the firmware, stack included; null without a board, or when its firmware ran there already."""
    instructions_per_frame: float | None
    """Mean instructions of a frame on an emulated board; null otherwise."""
    cycles_per_frame: float | None
    """Mean CPU cycles of a frame on a real board; null otherwise."""
    breakdown: Breakdown | None
    """Cost of a frame stage by stage, in instructions or cycles; null without a board."""
    link: LinkStatistics | None
    """How the serial link behaved; null without a board."""
    runs: tuple[BoardRun, ...]
    """One for each firmware that was run; the last is under test."""
