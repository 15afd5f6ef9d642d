"""Which kernel a layer runs on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from edgecodec.codec.graph import Layer
from edgecodec.compile.kernels.base import Kernel, PackedLayer
from edgecodec.compile.kernels.bytes import CONV_BYTES
from edgecodec.compile.kernels.mve import CONV_MVE, DEPTHWISE_MVE
from edgecodec.compile.kernels.mve16 import CONV16_MVE, DEPTHWISE16_MVE
from edgecodec.compile.kernels.packed_channels import CONV_PACKED_CHANNELS
from edgecodec.compile.kernels.packed_taps import CONV_PACKED_TAPS, CONV_WINOGRAD, DEPTHWISE_PACKED_TAPS
from edgecodec.compile.kernels.pairs16 import (
    CONV16_BYTES,
    CONV16_BYTES_ONE_BY_ONE,
    CONV16_SINGLE,
    CONV16_WORDS,
    DEPTHWISE16_BYTES,
    DEPTHWISE16_BYTES_SHORT,
)
from edgecodec.compile.kernels.plain import CONV, DEPTHWISE
from edgecodec.compile.kernels.plain16 import CONV16, DEPTHWISE16
from edgecodec.compile.kernels.pointwise import POINTWISE
from edgecodec.compile.target import Optimize, Target

KERNELS: tuple[Kernel, ...] = (
    CONV_MVE,
    DEPTHWISE_MVE,
    POINTWISE,
    CONV_WINOGRAD,
    CONV_PACKED_TAPS,
    DEPTHWISE_PACKED_TAPS,
    CONV_BYTES,
    CONV_PACKED_CHANNELS,
    CONV16_MVE,
    DEPTHWISE16_MVE,
    CONV16_WORDS,
    CONV16_BYTES,
    CONV16_BYTES_ONE_BY_ONE,
    CONV16_SINGLE,
    DEPTHWISE16_BYTES,
    DEPTHWISE16_BYTES_SHORT,
    CONV16,
    DEPTHWISE16,
    CONV,
    DEPTHWISE,
)
"""All kernels: of those for numerics, an op, a core and a goal the first that can run the layer and pays is taken.

The last one of each op and numerics is the plain one, which runs any such layer. For ``balanced`` those of bytes come
first.
"""
_BALANCED_BYTES_PER_MAC = 0.06
"""Flash that ``balanced`` spends on a multiplication to make it four times cheaper."""


@dataclass(frozen=True)
class Choice:
    """A layer's kernel and why it is that one."""

    packed: PackedLayer
    """The layer as the kernel wants it."""
    reason: str
    """Why the kernel was taken, or why no faster one was."""

    @property
    def kernel(self) -> Kernel:
        """The kernel that was taken."""
        return self.packed.kernel


def plain_kernel(layer: Layer) -> Kernel:
    """The kernel that runs ``layer`` on any core, with the least flash."""
    return next(kernel for kernel in reversed(KERNELS) if _considers(kernel, layer))


def choose_kernel(layer: Layer, target: Target) -> Choice:
    """The kernel of ``layer`` on ``target``, and the layer packed for it. No kernel packs the layer twice."""

    @cache
    def pack(kernel: Kernel) -> PackedLayer:
        return kernel.pack(layer)

    plain = plain_kernel(layer)
    reason = plain.reason
    for kernel in _faster_kernels(layer, target):
        refusal = kernel.refusal(layer)
        if refusal is not None:
            # With the least flash as the goal, that is why.
            reason = refusal if target.optimize is not Optimize.FLASH else reason
        elif kernel.pays(layer, pack):
            extra_bytes = pack(kernel).table_bytes - pack(plain).table_bytes if _weighs_flash(kernel, target) else 0
            if extra_bytes <= _BALANCED_BYTES_PER_MAC * layer.macs:
                return Choice(pack(kernel), kernel.reason)
            reason = f"{extra_bytes:,} bytes more for {layer.macs:,} multiplications are not worth it"
            break
    return Choice(pack(plain), reason)


def _faster_kernels(layer: Layer, target: Target) -> list[Kernel]:
    """The kernels beside the plain one that are made for a layer's op, the core and the goal, the first best.

    For ``balanced`` those whose weights take a byte come first: what is faster than them takes too much flash.
    """
    found = [
        kernel
        for kernel in KERNELS
        if kernel is not plain_kernel(layer)
        and _considers(kernel, layer)
        and target.optimize in kernel.goals
        and kernel.runs_on(target)
    ]
    return sorted(found, key=lambda kernel: _weighs_flash(kernel, target))


def _considers(kernel: Kernel, layer: Layer) -> bool:
    return layer.op in kernel.ops and layer.numerics == kernel.numerics


def _weighs_flash(kernel: Kernel, target: Target) -> bool:
    """Whether the flash of a kernel's tables speaks against it."""
    return target.optimize is Optimize.BALANCED and kernel.bytes_per_weight > 1
