"""The quickest way to the indices of many frames on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgecodec.codec.reference import ReferenceExecutor
from edgecodec.codec.stages import Executor
from edgecodec.errors import BuildError, PlanError
from edgecodec.host.batch import BatchEncoder
from edgecodec.host.shim import HostShim

if TYPE_CHECKING:
    from edgecodec.bundle import Bundle


def fastest_encoder(bundle: Bundle, *, threads: int | None = 1) -> Executor:
    """What encodes many frames of ADC counts soonest here; its ``name`` says what it is.

    ``batch``, :class:`~edgecodec.host.batch.BatchEncoder` on ``threads`` threads (None for one a CPU), where its
    kernels can be built and take the codec; else ``host``, :class:`~edgecodec.host.shim.HostShim`, the firmware's C
    frame by frame; else ``reference``, numpy, where there is no C compiler. All give the same indices, to the bit.

    Raises InputError for less than one thread.
    """
    try:
        return BatchEncoder(bundle.codec, threads=threads)
    except (BuildError, PlanError):
        pass
    try:
        return HostShim(bundle)
    except BuildError:
        return ReferenceExecutor(bundle.codec)
