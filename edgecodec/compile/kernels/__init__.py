"""The kernels: one class each, packed layers, and the choice between them.

A new kernel is a module with its class, beside its C in ``firmware/codec``, and a row in :data:`KERNELS`.
"""

from __future__ import annotations

from edgecodec.compile.kernels.base import Cadence, Kernel, PackedLayer
from edgecodec.compile.kernels.choice import KERNELS, Choice, choose_kernel, plain_kernel

__all__ = ["KERNELS", "Cadence", "Choice", "Kernel", "PackedLayer", "choose_kernel", "plain_kernel"]
