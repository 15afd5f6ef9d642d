"""The kernels that a layer may run on: when each is exact, and the tables it wants."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from edgecodec.boards import cores
from edgecodec.codec.graph import Layer, Op
from edgecodec.errors import PlanError

LANE_BITS = 22
"""Bits of the lower two of the three sums in a 64-bit accumulator (``edc_conv_paired.h``)."""
HIGH_LANE_BITS = 64 - 2 * LANE_BITS
"""Bits of the third, which has the products of the second taps of each pair alone."""
BLOCK_CHANNELS = 4
"""Output channels that ``edc_conv_paired`` and ``edc_conv_twin`` compute together."""
TWIN_LANE_BITS = 16
"""Bits of the two lanes of ``edc_conv_twin.h``."""
MVE_BYTES = 16
"""Bytes of a vector of ``edc_conv_mve.h``."""
MVE_POSITIONS = 3
"""Positions that ``edc_conv_mve`` computes together."""
MVE_TAPS = 8
"""Taps of ``edc_depthwise_mve``, at most."""
_MVE_LONGEST = 65535
"""Samples whose places fit 16 bits."""
POINTWISE_POSITIONS = 2
"""Positions that ``edc_pointwise`` computes together."""
_POINTWISE_CHANNELS = 4
"""Input channels that it takes at a time."""
_POINTWISE_START = 1 << 24
_TWIN_COLUMNS = 2
"""Columns that ``edc_conv_twin`` takes at a time."""
_TWIN_LONGEST = 255
_COLUMN_MULTIPLE = 4
_RECTIFIED_SHIFT_MAX = 22
"""So that zero point and rounding, 2^(39 + shift), stay far below 2^63."""
_BALANCED_BYTES_PER_MAC = 0.06
"""Flash that ``balanced`` spends on a multiplication to make it four times cheaper."""


class Optimize(StrEnum):
    """What the generated code shall be good at."""

    SPEED = "speed"
    BALANCED = "balanced"
    FLASH = "flash"


@dataclass(frozen=True)
class Target:
    """What the code is generated for."""

    optimize: Optimize = Optimize.SPEED
    long_multiply: bool = True
    """Whether the core multiplies 32 x 32 to 64 bits in one instruction: all but Cortex-M0, M0+ and M23."""
    simd: bool = False
    """Whether the core multiplies two 16-bit halves of a word at once (DSP extension)."""
    vectors: bool = False
    """Whether the core has the M-profile Vector Extension (Helium)."""

    @classmethod
    def of_core(cls, core: str | None, optimize: str = "speed", mcpu: str = "") -> Target:
        """The target of a core, less what the compiler's option ``mcpu`` takes away.

        ``core`` is one of :data:`edgecodec.boards.cores.CORES`, or None for any that multiplies to 64 bits: Cortex-M3
        and up.
        """
        if core is None:
            return cls(Optimize(optimize))
        return cls(
            Optimize(optimize),
            long_multiply=cores.has_long_multiply(core),
            simd=cores.has_simd(core, mcpu),
            vectors=cores.has_vectors(core, mcpu),
        )


DEFAULT_TARGET = Target()


class Kernel(StrEnum):
    """The C function of a layer."""

    CONV = "edc_conv"
    CONV_PAIRED = "edc_conv_paired"
    CONV_WINOGRAD = "edc_conv_winograd"
    CONV_TWIN = "edc_conv_twin"
    DEPTHWISE = "edc_depthwise"
    DEPTHWISE_PAIRED = "edc_depthwise_paired"
    POINTWISE = "edc_pointwise"
    CONV_MVE = "edc_conv_mve"
    DEPTHWISE_MVE = "edc_depthwise_mve"

    @property
    def is_paired(self) -> bool:
        """Whether its weights are pairs of taps, so that outputs lag behind samples.

        What is begun of the next outputs is in scratch, from one chunk of a layer to the next.
        """
        return self in (Kernel.CONV_PAIRED, Kernel.CONV_WINOGRAD, Kernel.DEPTHWISE_PAIRED)

    @property
    def is_folded(self) -> bool:
        """Whether its channels are :class:`FoldedChannels`."""
        return self.is_paired or self is Kernel.POINTWISE

    @property
    def wants_scratch(self) -> bool:
        """Whether it takes working memory as its last argument."""
        return self not in (Kernel.CONV, Kernel.DEPTHWISE)

    @property
    def struct(self) -> str:
        """The C type of its layers."""
        if self is Kernel.POINTWISE:
            return "edc_pointwise_layer"
        names = {self.is_paired: "paired", self is Kernel.CONV_TWIN: "twin", self.is_vector: "mve"}
        return f"edc_{names.get(True, 'conv')}_layer"

    @property
    def chunked(self) -> tuple[str, ...]:
        """Fields of a layer that a chunk of it has others of: a 1x1 kernel looks at no row but its own."""
        if self is Kernel.POINTWISE:
            return ("out_width",)
        return ("in_width", "out_width", "pad_left", *(("resumes", "pauses") if self.is_paired else ()))

    @property
    def is_vector(self) -> bool:
        """Whether it runs on cores with vectors alone."""
        return self in (Kernel.CONV_MVE, Kernel.DEPTHWISE_MVE)


@dataclass(frozen=True)
class Choice:
    """A layer's kernel and why it is that one."""

    kernel: Kernel
    reason: str


@dataclass(frozen=True)
class PairedWeights:
    """Weights of ``edc_conv_paired`` and its kind: pairs of taps in one word, ``v + w 2^22``."""

    words: npt.NDArray[np.int32]
    """``[out / 4, columns, 4]``, with three times the columns for ``edc_conv_winograd``; depthwise ``[out, 4]``."""
    tap_pairs: int
    columns: int
    """Words of samples under the taps; of each of the three products of ``edc_conv_winograd``."""
    parts: npt.NDArray[np.uint8]
    """``[out / 4]``: sums that a block's columns are divided into, so that no lane overflows; depthwise ``[1]``."""


@dataclass(frozen=True)
class TwinWeights:
    """Weights of ``edc_conv_twin``: a tap of two output channels in one word, ``v + w 2^16``."""

    words: npt.NDArray[np.int32]
    """``[out / 4, columns, 2]``"""
    lengths: tuple[npt.NDArray[np.uint8], ...]
    """For each block of channels, pairs of columns whose products a lane holds, one part after the other."""

    @property
    def columns(self) -> int:
        """Columns of the window, an even number."""
        return int(self.words.shape[1])


def choose_kernel(layer: Layer, target: Target) -> Choice:
    """The kernel of ``layer``."""
    plain, paired = {
        Op.CONV: (Kernel.CONV, Kernel.CONV_PAIRED),
        Op.DEPTHWISE: (Kernel.DEPTHWISE, Kernel.DEPTHWISE_PAIRED),
    }[layer.op]
    if target.vectors and mve_obstacle(layer) is None:
        # Hardly larger than the plain kernel's tables, so for every wish.
        kernel = Kernel.CONV_MVE if layer.op is Op.CONV else Kernel.DEPTHWISE_MVE
        return Choice(kernel, "sixteen products an instruction" if layer.op is Op.CONV else "all taps an instruction")
    if target.optimize is Optimize.FLASH:
        return Choice(plain, "least flash")
    if target.simd and pointwise_obstacle(layer) is None:
        fast, reason, obstacle = Kernel.POINTWISE, "two products an instruction", None
    elif target.long_multiply:
        fast, reason, obstacle = paired, "four products a multiplication", paired_obstacle(layer)
        faster = target.optimize is Optimize.SPEED and winograd_obstacle(layer) is None
        if obstacle is None and faster and _winograd_saves(layer):
            fast, reason = Kernel.CONV_WINOGRAD, "sixteen products in three multiplications"
    else:
        fast, reason = Kernel.CONV_TWIN, "two products a multiplication, which keeps 32 bits on this core"
        obstacle = twin_obstacle(layer)
    if obstacle is not None:
        return Choice(plain, obstacle)
    extra_bytes = table_bytes(layer, fast) - table_bytes(layer, plain)
    if target.optimize is Optimize.BALANCED and extra_bytes > _BALANCED_BYTES_PER_MAC * layer.macs:
        return Choice(plain, f"{extra_bytes:,} bytes more for {layer.macs:,} multiplications are not worth it")
    return Choice(fast, reason)


def paired_obstacle(layer: Layer) -> str | None:
    """Why ``edc_conv_paired`` (or ``edc_depthwise_paired``) cannot run a layer exactly, or None."""
    if layer.op is Op.DEPTHWISE:
        if layer.depth_multiplier != 1:
            return f"depth multiplier {layer.depth_multiplier} is not 1"
        if layer.stride not in (1, 2) or layer.stride * _tap_pairs(layer, Kernel.DEPTHWISE_PAIRED) != BLOCK_CHANNELS:
            return f"kernel {layer.kernel} with stride {layer.stride} does not fill four words"
    elif layer.output.channels % BLOCK_CHANNELS:
        return f"{layer.output.channels} output channels are no multiple of {BLOCK_CHANNELS}"
    if not layer.is_narrow:
        return "a left shift, a large accumulator or a tight activation wants the general rounding"
    taps, kernel = ((1, 2), Kernel.CONV_PAIRED) if layer.op is Op.CONV else ((0,), Kernel.DEPTHWISE_PAIRED)
    if _parts(layer, kernel) is None:
        reach = 128 * int(np.abs(layer.weights.astype(np.int64)).sum(axis=taps).max())
        return f"sums of products may reach {reach}, too much for a lane"
    return None


def winograd_obstacle(layer: Layer) -> str | None:
    """Why ``edc_conv_winograd`` cannot run a layer exactly, or None."""
    if layer.op is not Op.CONV:
        return "a depthwise layer's channels share no samples"
    if layer.output.channels % BLOCK_CHANNELS:
        return f"{layer.output.channels} output channels are no multiple of {BLOCK_CHANNELS}"
    if not layer.is_narrow:
        return "a left shift, a large accumulator or a tight activation wants the general rounding"
    if _parts(layer, Kernel.CONV_WINOGRAD) is None:
        return "sums of products are too much for two lanes"
    return None


def pointwise_obstacle(layer: Layer) -> str | None:
    """Why ``edc_pointwise`` cannot run a layer exactly, or None."""
    if layer.op is not Op.CONV or layer.kernel != 1 or layer.pad_left != 0:
        return "it looks at more than one position"
    if layer.input.channels % _POINTWISE_CHANNELS or layer.output.channels % BLOCK_CHANNELS:
        return f"{layer.input.channels} to {layer.output.channels} channels are no multiples of {BLOCK_CHANNELS}"
    if not layer.is_narrow:
        return "a left shift, a large accumulator or a tight activation wants the general rounding"
    reach = 128 * int(np.abs(layer.weights.astype(np.int64)).sum(axis=(1, 2)).max())
    if reach > _POINTWISE_START:
        return f"sums of products may reach {reach}, more than they start at"
    return None


def pointwise_weights(layer: Layer) -> npt.NDArray[np.int32]:
    """Weights as ``edc_pointwise`` wants them, ``[out / 4, in / 2, 4]``: two input channels a word, the first low."""
    pairs = layer.weights.astype(np.int64).reshape(layer.output.channels // BLOCK_CHANNELS, BLOCK_CHANNELS, -1, 2)
    words = (pairs[..., 0] & 0xFFFF) + (pairs[..., 1] << 16)
    return np.ascontiguousarray(words.transpose(0, 2, 1).astype(np.int32))


def mve_obstacle(layer: Layer) -> str | None:
    """Why ``edc_conv_mve`` (or ``edc_depthwise_mve``) cannot run a layer exactly, or None."""
    if layer.output.channels % BLOCK_CHANNELS:
        return f"{layer.output.channels} output channels are no multiple of {BLOCK_CHANNELS}"
    if layer.op is Op.DEPTHWISE and layer.depth_multiplier != 1:
        return f"depth multiplier {layer.depth_multiplier} is not 1"
    if layer.op is Op.DEPTHWISE and layer.kernel > MVE_TAPS:
        return f"{layer.kernel} taps are more than {MVE_TAPS}"
    if mve_row(layer) > _MVE_LONGEST:
        return f"{mve_row(layer):,} samples under the taps are more than {_MVE_LONGEST:,}"
    if not layer.is_narrow:
        return "a left shift, a large accumulator or a tight activation wants the general rounding"
    return None


def mve_row(layer: Layer) -> int:
    """Samples under the taps of a position, for ``edc_conv_mve`` rounded up to whole vectors."""
    samples = layer.kernel * layer.input.channels
    return samples if layer.op is Op.DEPTHWISE else samples + -samples % MVE_BYTES


def mve_weights(layer: Layer) -> npt.NDArray[np.int8]:
    """Weights as ``edc_conv_mve`` wants them, ``[out, row]``, or ``edc_depthwise_mve``, ``[out, 8]``: zeros behind."""
    rows = layer.weights.T if layer.op is Op.DEPTHWISE else layer.weights.reshape(layer.output.channels, -1)
    size = MVE_TAPS if layer.op is Op.DEPTHWISE else mve_row(layer)
    return np.pad(rows, ((0, 0), (0, size - rows.shape[1])))


def twin_obstacle(layer: Layer) -> str | None:
    """Why ``edc_conv_twin`` cannot run a layer exactly, or None."""
    if layer.op is Op.DEPTHWISE:
        return "a depthwise layer's channels share no samples"
    if layer.output.channels % BLOCK_CHANNELS:
        return f"{layer.output.channels} output channels are no multiple of {BLOCK_CHANNELS}"
    if not layer.is_narrow:
        return "a left shift, a large accumulator or a tight activation wants the general rounding"
    if any(_twin_lengths(block) is None for block in _twin_blocks(layer)):
        return "two weights of -128 side by side are too much for a lane"
    return None


def twin_weights(layer: Layer) -> TwinWeights:
    """Pack the weights of a layer without :func:`twin_obstacle`; a missing last column is zeros."""
    blocks = _twin_blocks(layer)
    lengths = [_twin_lengths(block) for block in blocks]
    if any(found is None for found in lengths):
        raise PlanError(f"{layer.op} '{layer.name}': {twin_obstacle(layer)}")
    words = blocks[:, 0::2] + (blocks[:, 1::2] << TWIN_LANE_BITS)
    # A high lane of -128 above a negative low one wraps, as the sums do.
    wrapped = (words.transpose(0, 2, 1) & 0xFFFFFFFF).astype(np.uint32).view(np.int32)
    return TwinWeights(np.ascontiguousarray(wrapped), tuple(found for found in lengths if found is not None))


def _twin_blocks(layer: Layer) -> npt.NDArray[np.int64]:
    """Weights ``[out / 4, 4, columns]``, columns rounded up to what the kernel takes at a time."""
    flat = layer.weights.astype(np.int64).reshape(layer.output.channels, -1)
    padded = np.pad(flat, ((0, 0), (0, -flat.shape[1] % _TWIN_COLUMNS)))
    return padded.reshape(len(flat) // BLOCK_CHANNELS, BLOCK_CHANNELS, -1)


def _twin_lengths(block: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8] | None:
    """Pairs of columns of each part of a block ``[4, columns]``, each as long as no lane overflows; None if one may.

    A lane is at most 128 times the sum of the absolute weights that go into it.
    """
    pairs = np.abs(block).reshape(BLOCK_CHANNELS, -1, _TWIN_COLUMNS).sum(axis=2).T
    most = ((1 << (TWIN_LANE_BITS - 1)) - 1) // 128
    lengths: list[int] = []
    total = np.full(BLOCK_CHANNELS, most + 1)
    for pair in pairs:
        total = total + pair
        if total.max() > most or lengths[-1] == _TWIN_LONGEST:
            lengths.append(0)
            total = pair
        lengths[-1] += 1
    return None if pairs.max() > most else np.array(lengths, np.uint8)


def pair_weights(layer: Layer, kernel: Kernel) -> PairedWeights:
    """Pack the weights of a layer without :func:`paired_obstacle` for ``edc_conv_paired`` or another of its kind.

    Tap ``t`` belongs to phase ``t % stride``, where the strided convolution is a plain one; taps 2j and 2j + 1
    of a phase make one word, the first in the low lane. Missing taps are zeros. For ``edc_conv_winograd`` a phase's
    taps in turn are of one filter each, whose words follow those of the sum of both.
    """
    parts = _parts(layer, kernel)
    if parts is None:
        raise PlanError(f"{layer.op} '{layer.name}': sums of products are too much for a lane of {kernel}")
    pairs = _columns(layer, kernel, int(parts.max()))
    filters = pairs[:, 0] + (pairs[:, 1] << LANE_BITS)
    if kernel is Kernel.CONV_WINOGRAD:
        filters = np.concatenate([filters.sum(axis=0, keepdims=True), filters])
    products, _, columns = filters.shape
    words = filters[0]
    if layer.op is Op.CONV:
        blocks = filters.reshape(products, -1, BLOCK_CHANNELS, columns).transpose(1, 0, 3, 2)
        words = np.stack([_part_by_part(block, count) for block, count in zip(blocks, parts.tolist(), strict=True)])
    return PairedWeights(np.ascontiguousarray(words.astype(np.int32)), _tap_pairs(layer, kernel), columns, parts)


def _part_by_part(block: npt.NDArray[np.int64], parts: int) -> npt.NDArray[np.int64]:
    """Words ``[products, columns, 4]`` in the order in which they are used, ``[products columns, 4]``."""
    products, columns, channels = block.shape
    return block.reshape(products, parts, columns // parts, channels).swapaxes(0, 1).reshape(-1, channels)


def table_bytes(layer: Layer, kernel: Kernel) -> int:
    """Flash of a layer's constants: weights, and the requantisation of each output channel."""
    channels = layer.output.channels
    if kernel.is_paired:
        paired = pair_weights(layer, kernel)
        parts = paired.parts.nbytes if layer.op is Op.CONV else 0
        return int(paired.words.nbytes) + parts + 16 * channels
    if kernel.is_vector:
        return int(mve_weights(layer).nbytes) + 12 * channels
    if kernel is Kernel.POINTWISE:
        return int(pointwise_weights(layer).nbytes) + 16 * channels
    if kernel is Kernel.CONV_TWIN:
        twin = twin_weights(layer)
        lengths = sum(len(part) + 1 for part in twin.lengths)
        return int(twin.words.nbytes) + lengths + 12 * channels
    return int(layer.weights.nbytes) + 9 * channels


def _columns(layer: Layer, kernel: Kernel, parts: int) -> npt.NDArray[np.int64]:
    """The first and the second tap of each column of each filter, ``[filters, 2, out, columns]``."""
    # A depthwise layer is [kernel, out], so one input channel for each output channel.
    weights = layer.weights if layer.op is Op.CONV else layer.weights.T[:, :, None]
    out, length, channels = weights.shape
    filters, pairs = _filters(kernel), _tap_pairs(layer, kernel)
    padded = np.zeros((out, pairs * 2 * filters * layer.stride, channels), np.int64)
    padded[:, :length] = weights
    taps = padded.reshape(out, pairs, 2, filters, layer.stride, channels).transpose(3, 2, 0, 1, 4, 5)
    used = pairs * layer.stride * channels
    rest = -used % (_COLUMN_MULTIPLE * parts)
    return np.pad(taps.reshape(filters, 2, out, used), ((0, 0), (0, 0), (0, 0), (0, rest)))


_PARTS = {Kernel.CONV_PAIRED: (1, 2, 4), Kernel.CONV_WINOGRAD: (1, 2), Kernel.DEPTHWISE_PAIRED: (1,)}
"""Parts that the kernels know."""


def _parts(layer: Layer, kernel: Kernel) -> npt.NDArray[np.uint8] | None:
    """For each block of channels the fewest parts in which no lane overflows, or None.

    A lane is at most 128 times the sum of the absolute weights that go into it. The middle lane has all of
    them, the low lane no more; the high lane has those of the second tap of each pair.
    """
    found = np.zeros(layer.output.channels // BLOCK_CHANNELS if layer.op is Op.CONV else 1, np.uint8)
    for parts in _PARTS[kernel]:
        columns = np.abs(_columns(layer, kernel, parts)).sum(axis=0)
        second, both = (
            128 * lane.reshape(len(found), -1, parts, lane.shape[1] // parts).sum(axis=3).max(axis=(1, 2))
            for lane in (columns[1], columns.sum(axis=0))
        )
        fits = (both < 1 << (LANE_BITS - 1)) & (second < 1 << (HIGH_LANE_BITS - 1))
        found[(found == 0) & fits] = parts
    return found if found.all() else None


def _filters(kernel: Kernel) -> int:
    """Filters that a phase's taps are divided into."""
    return 2 if kernel is Kernel.CONV_WINOGRAD else 1


def _tap_pairs(layer: Layer, kernel: Kernel) -> int:
    """Pairs of taps of each filter of each of a layer's ``stride`` phases."""
    return -(-layer.kernel // (2 * _filters(kernel) * layer.stride))


def _winograd_saves(layer: Layer) -> bool:
    """Whether ``edc_conv_winograd`` takes fewer multiplications than ``edc_conv_paired`` would."""
    pairs = layer.output.width // 2 + 1
    quads = -(-(layer.output.width + 2) // 4)
    columns = {kernel: pair_weights(layer, kernel).columns for kernel in (Kernel.CONV_PAIRED, Kernel.CONV_WINOGRAD)}
    return 3 * quads * columns[Kernel.CONV_WINOGRAD] < pairs * columns[Kernel.CONV_PAIRED]


def twin_bias(layer: Layer, twin: TwinWeights) -> npt.NDArray[np.int32]:
    """The bias ``[out]`` that ``edc_conv_twin`` wants: each part gives an even channel half a lane on top."""
    bias = layer.folded_bias.reshape(-1, BLOCK_CHANNELS).copy()
    bias[:, 0::2] -= np.array([len(part) << (TWIN_LANE_BITS - 1) for part in twin.lengths], np.int32)[:, None]
    return bias.reshape(-1)


@dataclass(frozen=True)
class FoldedChannels:
    """Requantisation of channels ``[out]`` with the constants folded, as ``edc_requantize.h`` wants it."""

    offset: npt.NDArray[np.int64]
    multiplier: npt.NDArray[np.int64]
    down: npt.NDArray[np.int64]
    rectified: bool
    """Whether what lies below the zero point saturates, so that both roundings and the zero point are one offset."""


def fold_channels(layer: Layer, kernel: Kernel) -> FoldedChannels:
    """Constants of the channels of a layer for ``edc_conv_paired``, ``edc_depthwise_paired`` or ``edc_pointwise``.

    An output is ``(sum multiplier + offset) 2^-32``, shifted and rounded once more. ``sum`` is the accumulator without
    its bias, on top of where the kernel's sums start. With ``a`` the accumulator, ``m`` the layer's multiplier and
    ``s`` its shift to the right, TFLM's first rounding is ``h = floor((2 a m + 2^31) / 2^32)`` and its second, for
    ``h >= 0``, ``floor((h + 2^(s-1)) / 2^s)``. Floors nest, so zero point and second rounding can be part of the
    offset; where ``h < 0`` that result is at most the zero point, and wrong only where it should be less, which a
    zero point of -128 hides.
    """
    if kernel is Kernel.POINTWISE:
        start = np.full(layer.output.channels, _POINTWISE_START)
    else:
        parts = pair_weights(layer, kernel).parts.astype(np.int64)
        start = np.repeat(parts << (LANE_BITS - 1), layer.output.channels // len(parts))
    multiplier = 2 * layer.multiplier.astype(np.int64)
    shift = np.where(multiplier == 0, 1, -layer.shift.astype(np.int64))
    offset = (layer.folded_bias.astype(np.int64) - start) * multiplier + (1 << 31)
    zero_point = layer.output.zero_point
    if zero_point == -128 and int(shift.max()) <= _RECTIFIED_SHIFT_MAX:
        return FoldedChannels(offset + (2 * zero_point + 1 << 31 + shift), multiplier, shift, rectified=True)
    return FoldedChannels(offset, multiplier, shift - 1, rectified=False)


def scratch_bytes(layer: Layer, kernel: Kernel) -> int:
    """Working memory of a kernel beside its input and output."""
    if kernel is Kernel.CONV_TWIN:
        return 4 * twin_weights(layer).columns
    if kernel.is_vector:
        return MVE_POSITIONS * (4 * layer.output.channels + mve_row(layer))
    channels = layer.output.channels
    if kernel is Kernel.POINTWISE:
        return 4 * layer.input.channels + channels
    if not kernel.is_paired:
        return 0
    if kernel is Kernel.DEPTHWISE_PAIRED:
        return (4 * (5 - layer.stride) + 1 + 2 * layer.stride) * channels
    return window_bytes(layer, kernel) + 4 * _filters(kernel) * channels + channels


def window_bytes(layer: Layer, kernel: Kernel) -> int:
    """The start of a paired kernel's scratch memory that each chunk of a layer fills anew."""
    if kernel is Kernel.DEPTHWISE_PAIRED:
        return 0
    return 4 * (2 * _filters(kernel) - 1) * pair_weights(layer, kernel).columns


@dataclass(frozen=True)
class Pace:
    """How a kernel goes through positions, for the schedule of a chain (``edc_chain.h``)."""

    group: int
    """Positions that a chunk is a multiple of, unless it is the last."""
    lag: int
    """Positions by which outputs are behind until the last chunk."""
    tail: int
    """``n`` positions look at ``n stride + tail`` rows."""


def pace(layer: Layer, kernel: Kernel) -> Pace:
    """The pace of ``kernel`` in ``layer``."""
    if not kernel.is_paired:
        return Pace(POINTWISE_POSITIONS if kernel is Kernel.POINTWISE else 1, 0, layer.kernel - layer.stride)
    # Two positions, or four and the first sample after, of each filter's last pair of taps.
    filters = _filters(kernel)
    rows = 2 * filters * (pair_weights(layer, kernel).tap_pairs - 1) + filters - 1
    return Pace(2 * filters, filters, rows * layer.stride)
