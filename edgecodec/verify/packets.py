"""The stage ``packet`` of the executors on this machine: SPEC.md 5 by the reference, and by the firmware's own C."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgecodec.bundle import Bundle
from edgecodec.codec.reference import ReferenceExecutor
from edgecodec.codec.stages import Stages
from edgecodec.entropy.packet import PacketFormat
from edgecodec.host.packets import PacketShim
from edgecodec.host.shim import HostShim


def add_packets(bundle: Bundle, stages: dict[str, Stages], say: Callable[[str], None]) -> None:
    """Add packets to what reference and host shim made of frames, each of its own indices, offsets and spreads.

    ``stages`` are by executor. Frames are numbered from 0 on, and no packet has flags of its own, as a board has it on
    the link (SPEC.md 2). Nothing is added when the bundle has no packets. ``say`` is told what runs. Raises BuildError
    when the C cannot be built.
    """
    packets = bundle.packets()
    if packets is None:
        return
    say("making packets")
    reference, host = stages[ReferenceExecutor.name], stages[HostShim.name]
    stages[ReferenceExecutor.name] = reference.changed(packet=packet_array(reference_packets(packets, reference)))
    shim = PacketShim(packets)
    offsets, spreads = statistics_of(host)
    stages[HostShim.name] = host.changed(packet=packet_array(shim.encode(host.indices, offsets, spreads)))


def reference_packets(packets: PacketFormat, stages: Stages) -> list[bytes]:
    """The packets of frames by the reference, numbered from 0 on."""
    frames = zip(stages.indices, *statistics_of(stages), strict=True)
    return [packets.encode(*frame, number) for number, frame in enumerate(frames)]


def statistics_of(stages: Stages) -> tuple[list[int], list[int]]:
    """Offset and spread of each frame as Python's integers, of stages that have them."""
    assert stages.offset is not None
    assert stages.spread is not None
    return stages.offset.tolist(), stages.spread.tolist()


def packet_array(packets: list[bytes]) -> np.ndarray:
    """``[N]``, as :class:`Stages` has packets."""
    found = np.empty(len(packets), np.object_)
    found[:] = packets
    return found
