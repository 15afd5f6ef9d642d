"""The codec's C kernels called one by one from Python, with the constants that the generated C has."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecodec.codec.arrays import Activations
from edgecodec.codec.graph import Graph, Layer, Op
from edgecodec.codec.normalizer import Normalizer
from edgecodec.codec.rvq import IntegerRvq
from edgecodec.compile.arena import align
from edgecodec.compile.cascade import Cascade, schedule_fields
from edgecodec.compile.codebook_search import Search, choose_search, pack_codebook, sort_codebook
from edgecodec.compile.kernels import Kernel, PackedLayer, plain_kernel
from edgecodec.compile.kernels.mve import CONV_MVE, DEPTHWISE_MVE
from edgecodec.compile.kernels.packed_channels import CONV_PACKED_CHANNELS
from edgecodec.compile.kernels.packed_taps import CONV_PACKED_TAPS, CONV_WINOGRAD, DEPTHWISE_PACKED_TAPS
from edgecodec.compile.kernels.pointwise import POINTWISE
from edgecodec.compile.render import codec_sources
from edgecodec.compile.tables import Constants, Table
from edgecodec.host.extension import load_extension

_CDEF = """
typedef struct {
  const int8_t *in; int8_t *out; uint32_t layer; uint16_t in_width; uint16_t out_width; uint16_t pad_left;
  uint8_t resumes; uint8_t pauses;
  ...;
} edc_chunk;
typedef void edc_layer_function(const void *constants, const edc_chunk *chunk, const int8_t *in, int8_t *out,
                                int32_t *scratch);
typedef struct {
  const int8_t *weights; const int32_t *bias; const int32_t *multiplier; const int8_t *shift;
  uint16_t in_width; uint16_t in_channels; uint16_t out_width; uint16_t out_channels;
  uint16_t kernel; uint16_t stride; uint16_t pad_left;
  int8_t in_zero_point; int8_t out_zero_point; int8_t activation_min; int8_t activation_max;
  uint8_t narrow;
  ...;
} edc_conv_layer;
typedef struct {
  const int8_t *weights; const int32_t *bias; const int64_t *wide_bias; const uint16_t *multiplier;
  const uint8_t *shift;
  uint16_t in_width; uint16_t in_channels; uint16_t out_width; uint16_t out_channels;
  uint16_t kernel; uint16_t stride; uint16_t pad_left; int16_t activation_min; int16_t activation_max;
  ...;
} edc_conv16_layer;
edc_layer_function edc_conv16_run;
edc_layer_function edc_depthwise16_run;
typedef struct { int32_t bias[4]; int32_t multiplier[4]; ...; } edc_pairs_channels;
typedef struct {
  const uint32_t *weights; const edc_pairs_channels *channels;
  uint16_t in_width; uint16_t in_channels; uint16_t out_width; uint16_t out_channels;
  uint16_t stride; uint16_t pad_left; uint16_t columns; uint8_t high; uint8_t rectified;
  ...;
} edc_pairs_layer;
edc_layer_function edc_conv16_words_run;
edc_layer_function edc_conv16_bytes_run;
edc_layer_function edc_conv16_single_run;
edc_layer_function edc_depthwise16_bytes_run;
typedef struct { int32_t bias[4]; int32_t multiplier[4]; int32_t shift[4]; ...; } edc_mve16_channels;
typedef struct {
  const int8_t *weights; const edc_mve16_channels *channels;
  uint16_t in_width; uint16_t in_channels; uint16_t out_width; uint16_t out_channels;
  uint16_t stride; uint16_t pad_left; uint16_t kernel; uint16_t row; uint8_t rectified;
  ...;
} edc_mve16_layer;
edc_layer_function edc_conv16_mve_run;
edc_layer_function edc_depthwise16_mve_run;
typedef struct { int64_t offset; uint32_t multiplier; uint32_t down; ...; } edc_folded_channel;
typedef struct {
  const int32_t *weights; const uint8_t *parts; const edc_folded_channel *channels;
  uint16_t in_width; uint16_t in_channels; uint16_t out_width; uint16_t out_channels;
  uint16_t stride; uint16_t pad_left; uint16_t tap_pairs; uint16_t columns;
  int8_t in_zero_point; int8_t out_zero_point; uint8_t rectified; uint8_t resumes; uint8_t pauses;
  ...;
} edc_paired_layer;
typedef struct { int32_t bias; int32_t multiplier; int32_t down; ...; } edc_twin_channel;
typedef struct {
  const int32_t *weights; const uint8_t *parts; const edc_twin_channel *channels;
  uint16_t in_width; uint16_t in_channels; uint16_t out_width; uint16_t out_channels;
  uint16_t stride; uint16_t pad_left; uint16_t kernel; uint16_t columns;
  int8_t in_zero_point; int8_t out_zero_point;
  ...;
} edc_twin_layer;
edc_layer_function edc_conv_twin_run;
typedef struct { int32_t bias[4]; int32_t multiplier[4]; int32_t shift[4]; ...; } edc_mve_channels;
typedef struct {
  const int8_t *weights; const edc_mve_channels *channels;
  uint16_t in_width; uint16_t in_channels; uint16_t out_width; uint16_t out_channels;
  uint16_t stride; uint16_t pad_left; uint16_t kernel; uint16_t row;
  int8_t in_zero_point; int8_t out_zero_point;
  ...;
} edc_mve_layer;
edc_layer_function edc_conv_mve_run;
edc_layer_function edc_depthwise_mve_run;
typedef struct {
  const uint32_t *weights; const edc_folded_channel *channels;
  uint16_t in_channels; uint16_t out_width; uint16_t out_channels; uint16_t stride;
  int8_t out_zero_point; uint8_t rectified;
  ...;
} edc_pointwise_layer;
edc_layer_function edc_pointwise_run;
typedef struct {
  const uint32_t *weights; const edc_folded_channel *channels;
  uint16_t in_width; uint16_t in_channels; uint16_t out_width; uint16_t out_channels;
  uint16_t stride; uint16_t pad_left; uint16_t columns;
  int8_t in_zero_point; int8_t out_zero_point; uint8_t rectified;
  ...;
} edc_bytes_layer;
edc_layer_function edc_conv_bytes_run;
edc_layer_function edc_conv_paired_run;
edc_layer_function edc_conv_winograd_run;
edc_layer_function edc_depthwise_paired_run;
edc_layer_function edc_conv_run;
edc_layer_function edc_depthwise_run;
typedef struct {
  uint32_t in; uint16_t in_width; uint16_t in_channels; uint16_t out_width; uint16_t out_channels;
  uint16_t stride; uint16_t pad_left; int16_t tail; uint16_t chunk; uint8_t mask; uint8_t lag;
  ...;
} edc_chain_layer;
typedef struct edc_chain { const edc_chain_layer *layers; uint32_t count; uint32_t out; ...; } edc_chain;
typedef struct { uint16_t position; uint16_t first; ...; } edc_chain_rows;
void edc_chain_next(const edc_chain *chain, const edc_chain_rows *rows, int8_t *arena, edc_chunk *chunk);
int edc_chain_done(const edc_chain *chain, edc_chain_rows *rows, int8_t *arena, const edc_chunk *chunk);
typedef struct { int32_t offset; uint64_t spread; ...; } edc_frame_stats;
typedef struct {
  uint64_t epsilon; uint32_t inverse_scale; uint16_t samples; uint8_t variance_shift; uint8_t inverse_shift;
  int8_t zero_point; ...;
} edc_zscore;
typedef struct { int64_t bias; uint32_t steps; uint16_t samples; uint8_t steps_shift; ...; } edc_minmax;
typedef struct { int64_t bias; int32_t gain; uint16_t samples; uint8_t gain_shift; ...; } edc_fixed;
void edc_zscore_normalize(const void *constants, const int16_t *frame, int8_t *out, edc_frame_stats *stats);
void edc_minmax_normalize(const void *constants, const int16_t *frame, int8_t *out, edc_frame_stats *stats);
void edc_fixed_normalize(const void *constants, const int16_t *frame, int8_t *out, edc_frame_stats *stats);
void edc_zscore16_normalize(const void *constants, const int16_t *frame, int8_t *out, edc_frame_stats *stats);
void edc_minmax16_normalize(const void *constants, const int16_t *frame, int8_t *out, edc_frame_stats *stats);
void edc_fixed16_normalize(const void *constants, const int16_t *frame, int8_t *out, edc_frame_stats *stats);
typedef struct {
  const int16_t *codes; const int32_t *keys; const uint16_t *order; const int16_t *projections;
  const int16_t *directions; const uint16_t *starts; uint32_t size; uint32_t slack; int16_t least_first;
  uint8_t start_shift; ...;
} edc_codebook;
typedef struct {
  const edc_codebook *levels; uint16_t level_count; uint16_t dimension; int8_t fraction_bits; int8_t zero_point; ...;
} edc_rvq;
uint32_t edc_divide(uint64_t number, uint32_t divisor);
uint32_t edc_square_root(uint64_t value);
int32_t edc_rvq_quantize(
    const void *rvq, const int8_t *latent, int32_t looks, int16_t *residual, uint16_t *indices);
typedef struct { int32_t lengths[8]; int16_t projections[4][8]; uint16_t indices[8]; ...; } edc_code_block;
typedef struct {
  const int16_t *codes; const int32_t *keys; const edc_code_block *blocks; const int8_t *directions;
  const uint16_t *starts; uint32_t size; uint32_t slack; int16_t least_first; uint8_t start_shift; ...;
} edc_mve_codebook;
typedef struct {
  const edc_mve_codebook *levels; uint16_t level_count; uint16_t dimension; uint16_t row;
  int8_t fraction_bits; int8_t zero_point; ...;
} edc_mve_rvq;
int32_t edc_rvq_quantize16(
    const void *rvq, const int8_t *latent, int32_t looks, int16_t *residual, uint16_t *indices);
int32_t edc_rvq_quantize_mve(
    const void *rvq, const int8_t *latent, int32_t looks, int16_t *residual, uint16_t *indices);
int32_t edc_rvq_quantize16_mve(
    const void *rvq, const int8_t *latent, int32_t looks, int16_t *residual, uint16_t *indices);
"""
_INCLUDES = "\n".join(
    f'#include "{name}.h"'
    for name in (
        *("edc", "edc_chain", "edc_conv", "edc_conv_bytes", "edc_conv_mve", "edc_conv_paired", "edc_conv_twin"),
        *("edc_divide", "edc_fixed", "edc_minmax", "edc_pointwise", "edc_rvq", "edc_rvq_mve", "edc_zscore"),
        *("edc_conv16", "edc_conv16_mve", "edc_conv16_pairs", "edc_fixed16", "edc_minmax16", "edc_zscore16"),
        "edc_zscore_frame",
    )
)
MANY_LOOKS = 2**31 - 1
"""So many that no search runs out of them."""
_GUARD_BYTES = 32
_GUARD = 0x5A

_ACLE = """
#include <stdint.h>
/* Arm's SIMD intrinsics in C (Arm C Language Extensions, 9), to run the code that uses them here. */
typedef uint32_t int16x2_t;
static inline int32_t edc_part(uint32_t pair, int high) { return (int16_t)(high ? pair >> 16 : pair); }
static inline int32_t edc_product(uint32_t a, uint32_t b, int high) { return edc_part(a, high) * edc_part(b, high); }
static inline int32_t __smlad(uint32_t a, uint32_t b, int32_t sum) {
  return (int32_t)((uint32_t)sum + (uint32_t)edc_product(a, b, 0) + (uint32_t)edc_product(a, b, 1));
}
static inline int32_t __smuad(uint32_t a, uint32_t b) { return __smlad(a, b, 0); }
static inline uint32_t __ssub16(uint32_t a, uint32_t b) {
  return ((a - b) & 0xFFFFu) | ((a & 0xFFFF0000u) - (b & 0xFFFF0000u));
}
static inline uint32_t __qsub16(uint32_t a, uint32_t b) {
  uint32_t result = 0;
  for (int high = 0; high < 2; high++) {
    int32_t value = edc_part(a, high) - edc_part(b, high);
    value = value < -32768 ? -32768 : value > 32767 ? 32767 : value;
    result |= ((uint32_t)value & 0xFFFFu) << 16 * high;
  }
  return result;
}
"""


_COUNTED = {
    "edc_rvq.c": (
        "  const uint32_t index = book->order[place];\n",
        "static uint32_t nearest_of_all(const edc_codebook *book, const int16_t *residual,\n"
        "                               int32_t dimension) {\n",
    ),
    "edc_rvq_mve.c": (
        "static inline int32_t distance_to(const search *s, uint32_t index) {\n",
        "static uint32_t nearest_of_all(const edc_mve_codebook *book, const int16_t *residual,\n"
        "                               uint32_t vectors) {\n",
    ),
}
"""Where the searches compute a distance of few, and start to compare all codes."""


@cache
def _module(simd: bool = False, counted: bool = False) -> Any:
    """The codec's C; with ``simd`` as cores with 16-bit SIMD compile it, their intrinsics written in C.

    With ``counted``, ``edc_counts`` has the distances of the pruned searches and the codes of the full ones.
    """
    files = {source.name: source.read_text(encoding="utf-8") for source in codec_sources()}
    if simd:
        rvq = files["edc_rvq.c"].replace("#include <arm_acle.h>", _ACLE)
        files["edc_rvq.c"] = f"#define __ARM_FEATURE_SIMD32 1\n{rvq}"
    if not counted:
        return load_extension(files, _CDEF, _INCLUDES)
    for name, places in _COUNTED.items():
        for place, count in zip(places, ("edc_counts[0]++;", "edc_counts[1] += book->size;"), strict=True):
            assert files[name].count(place) == 1
            files[name] = files[name].replace(place, f"{place}{count}\n")
        files[name] = f"#include <stdint.h>\nextern uint32_t edc_counts[2];\n{files[name]}"
    files["edc_counts.c"] = "#include <stdint.h>\nuint32_t edc_counts[2];\n"
    return load_extension(
        files, f"{_CDEF}extern uint32_t edc_counts[2];", f"{_INCLUDES}\nextern uint32_t edc_counts[2];"
    )


@dataclass(frozen=True)
class Counts:
    """What searches looked at."""

    looks: int
    """Distances of the pruned search."""
    codes: int
    """Codes of the full search."""


def count_search(rvq: IntegerRvq, latent: Activations, looks: int, simd: bool = False, vectors: bool = False) -> Counts:
    """What the search of one frame's latent ``[1, P, D]`` looks at."""
    counts = _module(simd, counted=True).lib.edc_counts
    counts[0] = counts[1] = 0
    if vectors:
        quantize_latent_mve(rvq, latent, True, looks, counted=True)
    else:
        quantize_latent(rvq, latent, True, simd, looks, counted=True)
    return Counts(counts[0], counts[1])


def run_layers(graph: Graph, quantized: npt.NDArray[np.int8]) -> list[npt.NDArray[np.int8]]:
    """Every layer's output ``[N, W, C]`` of the plain kernels for encoder inputs ``[N, T]``."""
    outputs, current = [], quantized
    for layer in graph.layers:
        current = run_plain(layer, current)
        outputs.append(current)
    return outputs


def _in_arena(layer: Layer, source: Activations, memory_offset: int, run: Callable[[Any, Any], None]) -> Activations:
    """Outputs ``[N, W', C']`` of ``run(in, out)``, each input ``memory_offset`` bytes behind its output in an arena."""
    target = np.empty((len(source), layer.output.width, layer.output.channels), layer.numerics.activation)
    arena = np.zeros(max(memory_offset + layer.input.size_bytes, layer.output.size_bytes), np.int8)
    whole = _module().ffi.from_buffer("int8_t[]", arena)
    for row, out in zip(source, target, strict=True):
        arena[memory_offset : memory_offset + row.nbytes] = _bytes_of(row)
        run(whole + memory_offset, whole)
        _bytes_of(out)[:] = arena[: out.nbytes]
    return target


def _bytes_of(row: Activations) -> npt.NDArray[np.int8]:
    """A contiguous array's bytes, the same memory."""
    return row.reshape(-1).view(np.int8)


def fill(struct: Any, constants: Constants, ffi: Any) -> list[Any]:
    """Set the members of a C structure, and return what must live as long as it does: the arrays."""
    kept = []
    for name, value in constants.fields.items():
        if isinstance(value, Table):
            kept.append(ffi.from_buffer(f"{value.ctype}[]", value.values))
        setattr(struct, name, kept[-1] if isinstance(value, Table) else value)
    return kept


class Bound:
    """A kernel with a layer's constants in C and scratch memory of its own, with guard words behind it."""

    def __init__(self, packed: PackedLayer) -> None:
        module, kernel = _module(), packed.kernel
        self.struct = module.ffi.new(f"{kernel.struct} *")
        self._kept = fill(self.struct, packed, module.ffi)
        self._size = packed.scratch_bytes
        self._scratch = np.full(self._size + 8, 0x5A, np.uint8)
        self._function = getattr(module.lib, f"{kernel.function}_run")
        self._memory = module.ffi.cast("int32_t *", module.ffi.from_buffer(self._scratch))
        self._whole = module.ffi.NULL

    def __call__(self, source: Any, target: Any, stripe: Any | None = None) -> None:
        self._function(self.struct, stripe or self._whole, source, target, self._memory)
        assert np.all(self._scratch[self._size :] == 0x5A)


def run(layer: Layer, kernel: Kernel, source: Activations, memory_offset: int | None = None) -> Activations:
    """``[N, W, C]`` to ``[N, W', C']``, overlapping as far as the plan has it or ``memory_offset`` bytes apart."""
    packed = kernel.pack(layer)
    offset = packed.memory_offset_bytes if memory_offset is None else memory_offset
    return _in_arena(layer, source, offset, Bound(packed))


def run_plain(layer: Layer, source: Activations, memory_offset: int | None = None) -> Activations:
    """``edc_conv`` or ``edc_depthwise``, or with 16-bit activations ``edc_conv16`` or ``edc_depthwise16``."""
    return run(layer, plain_kernel(layer), source, memory_offset)


def packed_taps(layer: Layer, *, winograd: bool = False) -> Kernel:
    """The kernel of packed taps for a layer's op."""
    if winograd:
        return CONV_WINOGRAD
    return CONV_PACKED_TAPS if layer.op is Op.CONV else DEPTHWISE_PACKED_TAPS


def run_packed_taps(
    layer: Layer, source: npt.NDArray[np.int8], memory_offset: int | None = None, *, winograd: bool = False
) -> npt.NDArray[np.int8]:
    """``edc_conv_paired``, ``edc_conv_winograd`` or ``edc_depthwise_paired``."""
    return run(layer, packed_taps(layer, winograd=winograd), source, memory_offset)


def run_pointwise(layer: Layer, source: npt.NDArray[np.int8], memory_offset: int | None = None) -> npt.NDArray[np.int8]:
    """``edc_pointwise`` without SIMD."""
    return run(layer, POINTWISE, source, memory_offset)


def run_packed_channels(
    layer: Layer, source: npt.NDArray[np.int8], memory_offset: int | None = None
) -> npt.NDArray[np.int8]:
    """``edc_conv_twin``."""
    return run(layer, CONV_PACKED_CHANNELS, source, memory_offset)


def mve(layer: Layer) -> Kernel:
    """The vector kernel for a layer's op."""
    return CONV_MVE if layer.op is Op.CONV else DEPTHWISE_MVE


def run_mve(layer: Layer, source: npt.NDArray[np.int8], memory_offset: int | None = None) -> npt.NDArray[np.int8]:
    """``edc_conv_mve`` or ``edc_depthwise_mve`` without vectors."""
    return run(layer, mve(layer), source, memory_offset)


def run_cascade(
    packed: Sequence[PackedLayer],
    cascade: Cascade,
    frame: Activations,
    *,
    memory_offset: int | None = None,
    spoil: Callable[[npt.NDArray[np.int8], int], None] | None = None,
) -> Activations:
    """The last layer's output ``[W', C']`` for one input ``[W, C]``, by ``edc_chain`` and the C kernels.

    Every buffer is as large as ``cascade`` has it, with guard bytes around; the input starts ``memory_offset`` bytes
    behind the output. ``spoil`` may change a buffer, whose layer it is told, after each stripe.
    """
    module = _module()
    ffi = module.ffi
    members = [packed[index] for index in cascade.layers]
    bound = [Bound(member) for member in members]
    last = members[-1].layer.output
    offset = cascade.memory_offset_bytes if memory_offset is None else memory_offset
    sizes = [max(offset + frame.nbytes, last.size_bytes)]
    sizes += [rows * member.layer.input.row_bytes for rows, member in zip(cascade.rows, members[1:], strict=True)]
    starts = np.cumsum([_GUARD_BYTES] + [align(size) + _GUARD_BYTES for size in sizes]).tolist()
    arena = np.full(starts[-1], _GUARD, np.int8)
    regions = [arena[start : start + size] for start, size in zip(starts, sizes, strict=False)]
    regions[0][offset : offset + frame.nbytes] = _bytes_of(frame)
    entries = [
        schedule_fields(member, starts[index] + (0 if index else offset), cascade.stripes[index])
        for index, member in enumerate(members)
    ]
    table = ffi.new("edc_chain_layer[]", entries)
    whole = ffi.new("edc_chain *", {"layers": table, "count": len(members), "out": starts[0]})
    rows, stripe = ffi.new("edc_chain_rows[]", len(members)), ffi.new("edc_chunk *")
    memory = ffi.from_buffer("int8_t[]", arena)
    for number, call in enumerate(cascade.calls):
        module.lib.edc_chain_next(whole, rows, memory, stripe)
        assert (stripe.layer, stripe.out_width, bool(stripe.pauses)) == (call.layer, call.positions, call.pauses)
        kernel = bound[stripe.layer]
        kernel(getattr(stripe, "in"), stripe.out, stripe)
        assert module.lib.edc_chain_done(whole, rows, memory, stripe) == (number == len(cascade.calls) - 1)
        if spoil is not None and stripe.layer:
            spoil(regions[stripe.layer], stripe.layer)
    inside = np.zeros(len(arena), bool)
    for start, size in zip(starts, sizes, strict=False):
        inside[start : start + size] = True
    assert np.all(arena[~inside] == _GUARD)
    output = regions[0][: last.size_bytes].copy().view(last.numerics.activation)
    return output.reshape(last.width, last.channels)


def normalize(normalizer: Normalizer, frames: npt.NDArray[np.int16]) -> tuple[Activations, list[int], list[int]]:
    """Inputs ``[N, T]``, offsets and spreads of frames ``[N, T]``."""
    module = _module()
    ffi = module.ffi
    struct = ffi.new(f"edc_{normalizer.kind} *", dict(normalizer.fields))
    run = getattr(module.lib, f"{normalizer.function}_normalize")
    target = np.empty(frames.shape, normalizer.numerics.activation)
    stats = ffi.new("edc_frame_stats *")
    offsets, spreads = [], []
    for row, out in zip(frames, target, strict=True):
        run(struct, ffi.from_buffer("int16_t[]", row), ffi.from_buffer("int8_t[]", _bytes_of(out)), stats)
        offsets.append(stats.offset)
        spreads.append(stats.spread)
    return target, offsets, spreads


def divide(number: int, divisor: int) -> int:
    """``edc_divide``."""
    return int(_module().lib.edc_divide(number, divisor))


def square_root(value: int) -> int:
    """``edc_square_root``."""
    return int(_module().lib.edc_square_root(value))


def _codebooks(rvq: IntegerRvq, search: Search, ctype: str, ffi: Any, *, pruned: bool) -> tuple[Any, list[Any]]:
    """The C array of a quantiser's levels, and what must live as long as it does."""
    levels = ffi.new(f"{ctype}[]", rvq.levels)
    kept: list[Any] = [levels]
    for level in range(rvq.levels):
        found = sort_codebook(rvq, level) if pruned else None
        kept += fill(levels[level], pack_codebook(rvq, level, found, search), ffi)
    return levels, kept


def quantize_latent(
    rvq: IntegerRvq,
    latent: Activations,
    pruned: bool = False,
    simd: bool = False,
    looks: int = MANY_LOOKS,
    counted: bool = False,
) -> npt.NDArray[np.uint16]:
    """Indices ``[N, P, L]`` of latents ``[N, P, D]``, by the full search or by the pruned one where it is exact.

    The pruned one goes on as the full one after so many ``looks`` of a frame.
    """
    return _search(_module(simd, counted), choose_search(rvq.numerics, vectors=False), rvq, latent, pruned, looks)


def _search(
    module: Any, search: Search, rvq: IntegerRvq, latent: Activations, pruned: bool, looks: int
) -> npt.NDArray[np.uint16]:
    """Indices ``[N, P, L]`` of latents ``[N, P, D]``, position by position, each frame with so many looks.

    There are guard entries behind the residual.
    """
    ffi = module.ffi
    levels, _kept = _codebooks(rvq, search, search.codebook_struct, ffi, pruned=pruned)
    figures = {"level_count": rvq.levels, "dimension": rvq.dimension}
    struct = ffi.new(f"{search.struct} *", {"levels": levels} | figures | search.fields(rvq))
    row = search.row(rvq.dimension)
    residual = np.full(row + 8, 0x5A5A, np.int16)
    memory = ffi.from_buffer("int16_t[]", residual)
    indices = np.empty((*latent.shape[:2], rvq.levels), np.uint16)
    for frame, rows in zip(latent, indices, strict=True):
        left = looks
        for vector, found in zip(frame, rows, strict=True):
            source, target = ffi.from_buffer("int8_t[]", _bytes_of(vector)), ffi.from_buffer("uint16_t[]", found)
            left = getattr(module.lib, search)(struct, source, left, memory, target)
    assert np.all(residual[row:] == 0x5A5A)
    return indices


def quantize_latent_mve(
    rvq: IntegerRvq, latent: Activations, pruned: bool = False, looks: int = MANY_LOOKS, counted: bool = False
) -> npt.NDArray[np.uint16]:
    """The same by the search of vectors' tables, without vectors."""
    return _search(_module(counted=counted), choose_search(rvq.numerics, vectors=True), rvq, latent, pruned, looks)
