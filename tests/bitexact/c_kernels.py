"""The codec's C kernels called one by one from Python, their layer constants filled in from a plan's figures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecodec.codec.graph import Graph, Layer, Op
from edgecodec.codec.normalizer import Normalizer
from edgecodec.codec.rvq import IntegerRvq
from edgecodec.compile.arena import align, lead_bytes
from edgecodec.compile.cascade import Chain
from edgecodec.compile.codebook_search import mve_codebook, mve_entries, sort_codebook
from edgecodec.compile.kernels import (
    FoldedChannels,
    Kernel,
    fold_channels,
    mve_row,
    mve_weights,
    pair_weights,
    pointwise_weights,
    scratch_bytes,
    twin_bias,
    twin_weights,
)
from edgecodec.compile.render import codec_sources
from edgecodec.host.extension import load_extension

_CDEF = """
typedef struct {
  const int8_t *weights; const int32_t *bias; const int32_t *multiplier; const int8_t *shift;
  uint16_t in_width; uint16_t in_channels; uint16_t out_width; uint16_t out_channels;
  uint16_t kernel; uint16_t stride; uint16_t pad_left;
  int8_t in_zero_point; int8_t out_zero_point; int8_t activation_min; int8_t activation_max;
  uint8_t narrow;
  ...;
} edc_conv_layer;
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
void edc_conv_twin(const edc_twin_layer *layer, const int8_t *in, int8_t *out, int32_t *scratch);
typedef struct { int32_t bias[4]; int32_t multiplier[4]; int32_t shift[4]; ...; } edc_mve_channels;
typedef struct {
  const int8_t *weights; const edc_mve_channels *channels;
  uint16_t in_width; uint16_t in_channels; uint16_t out_width; uint16_t out_channels;
  uint16_t stride; uint16_t pad_left; uint16_t kernel; uint16_t row;
  int8_t in_zero_point; int8_t out_zero_point;
  ...;
} edc_mve_layer;
void edc_conv_mve(const edc_mve_layer *layer, const int8_t *in, int8_t *out, int32_t *scratch);
void edc_depthwise_mve(const edc_mve_layer *layer, const int8_t *in, int8_t *out, int32_t *scratch);
typedef struct {
  const uint32_t *weights; const edc_folded_channel *channels;
  uint16_t in_channels; uint16_t out_width; uint16_t out_channels; uint16_t stride;
  int8_t out_zero_point; uint8_t rectified;
  ...;
} edc_pointwise_layer;
void edc_pointwise(const edc_pointwise_layer *layer, const int8_t *in, int8_t *out, int32_t *scratch);
void edc_conv_paired(const edc_paired_layer *layer, const int8_t *in, int8_t *out, int32_t *scratch);
void edc_conv_winograd(const edc_paired_layer *layer, const int8_t *in, int8_t *out, int32_t *scratch);
void edc_depthwise_paired(const edc_paired_layer *layer, const int8_t *in, int8_t *out, int32_t *scratch);
void edc_conv(const edc_conv_layer *layer, const int8_t *in, int8_t *out);
void edc_depthwise(const edc_conv_layer *layer, const int8_t *in, int8_t *out);
typedef struct {
  uint32_t in; uint16_t in_width; uint16_t in_channels; uint16_t out_width; uint16_t out_channels;
  uint16_t stride; uint16_t pad_left; int16_t tail; uint16_t chunk; uint8_t mask; uint8_t lag;
  ...;
} edc_chain_layer;
typedef struct { const edc_chain_layer *layers; uint32_t count; uint32_t out; ...; } edc_chain;
typedef struct { uint16_t position; uint16_t first; ...; } edc_chain_rows;
typedef struct {
  const int8_t *in; int8_t *out; uint32_t layer; uint16_t in_width; uint16_t out_width; uint16_t pad_left;
  uint8_t resumes; uint8_t pauses;
  ...;
} edc_chunk;
void edc_chain_next(const edc_chain *chain, const edc_chain_rows *rows, int8_t *arena, edc_chunk *chunk);
int edc_chain_done(const edc_chain *chain, edc_chain_rows *rows, int8_t *arena, const edc_chunk *chunk);
typedef struct { int32_t sum; uint64_t variance; ...; } edc_frame_stats;
typedef struct {
  uint64_t epsilon; uint32_t inverse_scale; uint16_t samples; uint8_t variance_shift; uint8_t inverse_shift;
  int8_t zero_point; ...;
} edc_normalizer;
void edc_normalize(const edc_normalizer *normalizer, const int16_t *frame, int8_t *out, edc_frame_stats *stats);
typedef struct {
  const int16_t *codes; const int32_t *norms; const uint16_t *order; const int16_t *keys; const int8_t *projection;
  uint32_t size; uint32_t slack; ...;
} edc_codebook;
typedef struct {
  const edc_codebook *levels; uint16_t level_count; uint16_t dimension; uint16_t positions;
  uint8_t fraction_bits; int8_t zero_point; ...;
} edc_rvq;
void edc_rvq_quantize(const edc_rvq *rvq, const int8_t *latent, int16_t *residual, uint16_t *indices);
typedef struct { int32_t norms[8]; int16_t keys[4][8]; ...; } edc_code_block;
typedef struct {
  const int16_t *codes; const edc_code_block *blocks; const uint16_t *order; const int8_t *projection;
  const uint16_t *starts; uint32_t size; uint32_t slack; int16_t least_key; uint8_t start_shift; ...;
} edc_mve_codebook;
typedef struct {
  const edc_mve_codebook *levels; uint16_t level_count; uint16_t dimension; uint16_t row; uint16_t positions;
  uint8_t fraction_bits; int8_t zero_point; ...;
} edc_mve_rvq;
void edc_rvq_quantize_mve(const edc_mve_rvq *rvq, const int8_t *latent, int16_t *residual, uint16_t *indices);
"""
_INCLUDES = "\n".join(
    f'#include "{name}.h"'
    for name in (
        *("edc", "edc_chain", "edc_conv", "edc_conv_mve", "edc_conv_paired", "edc_conv_twin"),
        *("edc_normalize", "edc_pointwise", "edc_rvq", "edc_rvq_mve"),
    )
)
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


@cache
def _module(simd: bool = False) -> Any:
    """The codec's C; with ``simd`` as cores with 16-bit SIMD compile it, their intrinsics written in C."""
    files = {source.name: source.read_text(encoding="utf-8") for source in codec_sources()}
    if simd:
        rvq = files["edc_rvq.c"].replace("#include <arm_acle.h>", _ACLE)
        files["edc_rvq.c"] = f"#define __ARM_FEATURE_SIMD32 1\n{rvq}"
    return load_extension(files, _CDEF, _INCLUDES)


def run_layers(graph: Graph, quantized: npt.NDArray[np.int8]) -> list[npt.NDArray[np.int8]]:
    """Every layer's output ``[N, W, C]`` of the plain kernels for encoder inputs ``[N, T]``."""
    outputs, current = [], quantized
    for layer in graph.layers:
        current = run_plain(layer, current)
        outputs.append(current)
    return outputs


def _in_arena(
    layer: Layer, source: npt.NDArray[np.int8], lead: int, run: Callable[[Any, Any], None]
) -> npt.NDArray[np.int8]:
    """Outputs ``[N, W', C']`` of ``run(in, out)`` with each input ``lead`` bytes behind its output in one arena."""
    target = np.empty((len(source), layer.output.width, layer.output.channels), np.int8)
    arena = np.zeros(max(lead + layer.input.size_bytes, layer.output.size_bytes), np.int8)
    whole = _module().ffi.from_buffer("int8_t[]", arena)
    for row, out in zip(source, target, strict=True):
        arena[lead : lead + row.size] = row.reshape(-1)
        run(whole + lead, whole)
        out.reshape(-1)[:] = arena[: out.size]
    return target


class Bound:
    """A kernel with a layer's constants in C and scratch memory of its own, with guard words behind it."""

    def __init__(self, layer: Layer, kernel: Kernel, constants: dict[str, Any]) -> None:
        ffi = _module().ffi
        fields = {
            "in_width": layer.input.width,
            "in_channels": layer.input.channels,
            "out_width": layer.output.width,
            "out_channels": layer.output.channels,
            "kernel": layer.kernel,
            "stride": layer.stride,
            "pad_left": layer.pad_left,
            "in_zero_point": layer.input.zero_point,
            "out_zero_point": layer.output.zero_point,
        }
        known = {name for name, _ in ffi.typeof(kernel.struct).fields}
        self._constants = constants
        self.struct = ffi.new(
            f"{kernel.struct} *", {name: value for name, value in fields.items() if name in known} | constants
        )
        self._size = scratch_bytes(layer, kernel)
        self._scratch = np.full(self._size + 8, 0x5A, np.uint8)
        self._function = getattr(_module().lib, kernel)
        self._extra = [ffi.cast("int32_t *", ffi.from_buffer(self._scratch))] if kernel.wants_scratch else []

    def __call__(self, source: Any, target: Any) -> None:
        self._function(self.struct, source, target, *self._extra)
        assert np.all(self._scratch[self._size :] == 0x5A)


def bind(layer: Layer, kernel: Kernel) -> Bound:
    """The C kernel for ``layer``, which must be one that it can run."""
    if kernel.is_paired:
        return Bound(layer, kernel, _paired_constants(layer, kernel))
    if kernel.is_vector:
        return Bound(layer, kernel, _mve_constants(layer))
    constants = {Kernel.POINTWISE: _pointwise_constants, Kernel.CONV_TWIN: _twin_constants}.get(
        kernel, _plain_constants
    )
    return Bound(layer, kernel, constants(layer))


def run(layer: Layer, kernel: Kernel, source: npt.NDArray[np.int8], lead: int | None = None) -> npt.NDArray[np.int8]:
    """``[N, W, C]`` to ``[N, W', C']``, overlapping as far as the plan has it or ``lead`` bytes apart."""
    return _in_arena(layer, source, lead_bytes(layer, kernel) if lead is None else lead, bind(layer, kernel))


def run_plain(layer: Layer, source: npt.NDArray[np.int8], lead: int | None = None) -> npt.NDArray[np.int8]:
    """``edc_conv`` or ``edc_depthwise``."""
    return run(layer, Kernel.CONV if layer.op is Op.CONV else Kernel.DEPTHWISE, source, lead)


def run_paired(
    layer: Layer, source: npt.NDArray[np.int8], lead: int | None = None, *, winograd: bool = False
) -> npt.NDArray[np.int8]:
    """``edc_conv_paired``, ``edc_conv_winograd`` or ``edc_depthwise_paired``."""
    kernel = Kernel.CONV_PAIRED if layer.op is Op.CONV else Kernel.DEPTHWISE_PAIRED
    return run(layer, Kernel.CONV_WINOGRAD if winograd else kernel, source, lead)


def run_pointwise(layer: Layer, source: npt.NDArray[np.int8], lead: int | None = None) -> npt.NDArray[np.int8]:
    """``edc_pointwise`` without SIMD."""
    return run(layer, Kernel.POINTWISE, source, lead)


def run_twin(layer: Layer, source: npt.NDArray[np.int8], lead: int | None = None) -> npt.NDArray[np.int8]:
    """``edc_conv_twin``."""
    return run(layer, Kernel.CONV_TWIN, source, lead)


def run_mve(layer: Layer, source: npt.NDArray[np.int8], lead: int | None = None) -> npt.NDArray[np.int8]:
    """``edc_conv_mve`` or ``edc_depthwise_mve`` without vectors."""
    return run(layer, Kernel.CONV_MVE if layer.op is Op.CONV else Kernel.DEPTHWISE_MVE, source, lead)


def run_chain(
    layers: Sequence[Layer],
    kernels: Sequence[Kernel],
    chain: Chain,
    frame: npt.NDArray[np.int8],
    *,
    lead: int | None = None,
    spoil: Callable[[npt.NDArray[np.int8], int], None] | None = None,
) -> npt.NDArray[np.int8]:
    """The last layer's output ``[W', C']`` for one input ``[W, C]``, by ``edc_chain`` and the C kernels.

    Every buffer is as large as ``chain`` has it, with guard bytes around; the input starts ``lead`` bytes behind the
    output. ``spoil`` may change a buffer, whose layer it is told, after each chunk.
    """
    module = _module()
    ffi = module.ffi
    members = [layers[index] for index in chain.layers]
    bound = [bind(layers[index], kernels[index]) for index in chain.layers]
    lead = chain.lead_bytes if lead is None else lead
    sizes = [max(lead + frame.size, members[-1].output.size_bytes)]
    sizes += [rows * layer.input.channels for rows, layer in zip(chain.rows, members[1:], strict=True)]
    starts = np.cumsum([_GUARD_BYTES] + [align(size) + _GUARD_BYTES for size in sizes]).tolist()
    arena = np.full(starts[-1], _GUARD, np.int8)
    regions = [arena[start : start + size] for start, size in zip(starts, sizes, strict=False)]
    regions[0][lead : lead + frame.size] = frame.reshape(-1)
    entries = [
        {
            "in": starts[index] + (0 if index else lead),
            "in_width": layer.input.width,
            "in_channels": layer.input.channels,
            "out_width": layer.output.width,
            "out_channels": layer.output.channels,
            "stride": layer.stride,
            "pad_left": layer.pad_left,
            "tail": each.tail,
            "chunk": chain.chunks[index],
            "mask": each.group - 1,
            "lag": each.lag,
        }
        for index, (layer, each) in enumerate(zip(members, chain.paces, strict=True))
    ]
    table = ffi.new("edc_chain_layer[]", entries)
    whole = ffi.new("edc_chain *", {"layers": table, "count": len(members), "out": starts[0]})
    rows, chunk = ffi.new("edc_chain_rows[]", len(members)), ffi.new("edc_chunk *")
    memory = ffi.from_buffer("int8_t[]", arena)
    for number, call in enumerate(chain.calls):
        module.lib.edc_chain_next(whole, rows, memory, chunk)
        assert (chunk.layer, chunk.out_width, bool(chunk.pauses)) == (call.layer, call.positions, call.pauses)
        kernel = bound[chunk.layer]
        for field in kernels[chain.first + chunk.layer].chunked:
            setattr(kernel.struct, field, getattr(chunk, field))
        kernel(getattr(chunk, "in"), chunk.out)
        assert module.lib.edc_chain_done(whole, rows, memory, chunk) == (number == len(chain.calls) - 1)
        if spoil is not None and chunk.layer:
            spoil(regions[chunk.layer], chunk.layer)
    inside = np.zeros(len(arena), bool)
    for start, size in zip(starts, sizes, strict=False):
        inside[start : start + size] = True
    assert np.all(arena[~inside] == _GUARD)
    last = members[-1].output
    return regions[0][: last.size_bytes].reshape(last.width, last.channels).copy()


def _plain_constants(layer: Layer) -> dict[str, Any]:
    ffi = _module().ffi
    tables = {
        "weights": ("int8_t[]", np.ascontiguousarray(layer.weights)),
        "bias": ("int32_t[]", layer.folded_bias),
        "multiplier": ("int32_t[]", layer.multiplier),
        "shift": ("int8_t[]", _shifts(layer).astype(np.int8)),
    }
    return {name: ffi.from_buffer(ctype, array) for name, (ctype, array) in tables.items()} | {
        "activation_min": layer.activation_min,
        "activation_max": layer.activation_max,
        "narrow": layer.is_narrow,
    }


def _paired_constants(layer: Layer, kernel: Kernel) -> dict[str, Any]:
    ffi = _module().ffi
    paired = pair_weights(layer, kernel)
    folded = fold_channels(layer, kernel)
    return {
        "weights": ffi.from_buffer("int32_t[]", paired.words),
        "parts": ffi.from_buffer("uint8_t[]", paired.parts),
        "channels": _folded_channels(folded),
        "rectified": folded.rectified,
        "tap_pairs": paired.tap_pairs,
        "columns": paired.columns,
    }


def _pointwise_constants(layer: Layer) -> dict[str, Any]:
    folded = fold_channels(layer, Kernel.POINTWISE)
    return {
        "weights": _module().ffi.from_buffer("uint32_t[]", pointwise_weights(layer).view(np.uint32)),
        "channels": _folded_channels(folded),
        "rectified": folded.rectified,
    }


def _folded_channels(folded: FoldedChannels) -> Any:
    """A C array of ``edc_folded_channel``."""
    rows = zip(folded.offset.tolist(), folded.multiplier.tolist(), folded.down.tolist(), strict=True)
    return _module().ffi.new("edc_folded_channel[]", list(rows))


def _twin_constants(layer: Layer) -> dict[str, Any]:
    ffi = _module().ffi
    twin = twin_weights(layer)
    bias = twin_bias(layer, twin)
    channels = np.stack([bias, layer.multiplier, -1 - _shifts(layer)], axis=1)
    lengths = np.concatenate([np.append(part, np.uint8(0)) for part in twin.lengths])
    return {
        "weights": ffi.from_buffer("int32_t[]", twin.words),
        "parts": ffi.from_buffer("uint8_t[]", lengths),
        "channels": ffi.new("edc_twin_channel[]", [tuple(row) for row in channels.tolist()]),
        "columns": twin.columns,
    }


def _mve_constants(layer: Layer) -> dict[str, Any]:
    ffi = _module().ffi
    rows = np.stack([layer.folded_bias, layer.multiplier, _shifts(layer)])
    blocks = rows.reshape(3, -1, 4).transpose(1, 0, 2).tolist()
    return {
        "weights": ffi.from_buffer("int8_t[]", np.ascontiguousarray(mve_weights(layer))),
        "channels": ffi.new("edc_mve_channels[]", [tuple(block) for block in blocks]),
        "row": mve_row(layer),
    }


def _shifts(layer: Layer) -> npt.NDArray[np.int32]:
    return np.where(layer.multiplier == 0, np.int32(-1), layer.shift)


def normalize(
    normalizer: Normalizer, frames: npt.NDArray[np.int16]
) -> tuple[npt.NDArray[np.int8], list[int], list[int]]:
    """Inputs int8 ``[N, T]``, sums and variances of frames ``[N, T]``."""
    module = _module()
    ffi = module.ffi
    struct = ffi.new(
        "edc_normalizer *",
        {
            "epsilon": normalizer.epsilon_term,
            "inverse_scale": normalizer.inverse_scale,
            "samples": normalizer.samples,
            "variance_shift": normalizer.variance_shift,
            "inverse_shift": normalizer.inverse_scale_shift,
            "zero_point": normalizer.zero_point,
        },
    )
    target = np.empty(frames.shape, np.int8)
    stats = ffi.new("edc_frame_stats *")
    sums, variances = [], []
    for row, out in zip(frames, target, strict=True):
        module.lib.edc_normalize(struct, ffi.from_buffer("int16_t[]", row), ffi.from_buffer("int8_t[]", out), stats)
        sums.append(stats.sum)
        variances.append(stats.variance)
    return target, sums, variances


def quantize_latent(
    rvq: IntegerRvq, latent: npt.NDArray[np.int8], pruned: bool = False, simd: bool = False
) -> npt.NDArray[np.uint16]:
    """Indices ``[N, P, L]`` of latents ``[N, P, D]``, by the full search or by the pruned one where it is exact."""
    module = _module(simd)
    ffi = module.ffi
    levels = ffi.new("edc_codebook[]", rvq.levels)
    kept = []
    for level, book in enumerate(rvq.codebooks):
        found = sort_codebook(rvq, level) if pruned else None
        tables: dict[str, Any] = {"codes": book, "norms": rvq.norms(level)}
        if found is not None:
            names = ("codes", "norms", "order", "keys", "projection")
            tables = {name: getattr(found, name) for name in names}
            levels[level].slack = found.slack
        for name, array in tables.items():
            kept.append(ffi.from_buffer(f"{array.dtype}_t[]", np.ascontiguousarray(array)))
            setattr(levels[level], name, kept[-1])
        levels[level].size = len(book)
    struct = ffi.new(
        "edc_rvq *",
        {
            "levels": levels,
            "level_count": rvq.levels,
            "dimension": rvq.dimension,
            "positions": latent.shape[1],
            "fraction_bits": rvq.fraction_bits,
            "zero_point": rvq.latent_zero_point,
        },
    )
    indices = np.empty((*latent.shape[:2], rvq.levels), np.uint16)
    residual = ffi.new("int16_t[]", rvq.dimension)
    for row, out in zip(latent, indices, strict=True):
        module.lib.edc_rvq_quantize(
            struct, ffi.from_buffer("int8_t[]", row), residual, ffi.from_buffer("uint16_t[]", out)
        )
    return indices


def quantize_latent_mve(rvq: IntegerRvq, latent: npt.NDArray[np.int8], pruned: bool = False) -> npt.NDArray[np.uint16]:
    """The same by ``edc_rvq_quantize_mve`` without vectors, with guard entries behind the residual."""
    module = _module()
    ffi = module.ffi
    levels = ffi.new("edc_mve_codebook[]", rvq.levels)
    kept: list[Any] = []
    for level in range(rvq.levels):
        book = mve_codebook(rvq, level, sort_codebook(rvq, level) if pruned else None)
        tables = {name: getattr(book, name) for name in ("codes", "order", "projection", "starts")}
        for name, array in tables.items():
            if array is not None:
                kept.append(ffi.from_buffer(f"{array.dtype}_t[]", array))
                setattr(levels[level], name, kept[-1])
        if book.blocks:
            blocks = [{"norms": block.norms.tolist(), "keys": block.keys.tolist()} for block in book.blocks]
            kept.append(ffi.new("edc_code_block[]", blocks))
            levels[level].blocks = kept[-1]
        levels[level].size = len(book.codes)
        for name in ("slack", "least_key", "start_shift"):
            setattr(levels[level], name, getattr(book, name))
    row = mve_entries(rvq.dimension)
    figures = {
        "level_count": rvq.levels,
        "dimension": rvq.dimension,
        "row": row,
        "positions": latent.shape[1],
        "fraction_bits": rvq.fraction_bits,
        "zero_point": rvq.latent_zero_point,
    }
    struct = ffi.new("edc_mve_rvq *", {"levels": levels} | figures)
    indices = np.empty((*latent.shape[:2], rvq.levels), np.uint16)
    residual = np.full(row + 8, 0x5A5A, np.int16)
    for source, out in zip(latent, indices, strict=True):
        module.lib.edc_rvq_quantize_mve(
            struct,
            ffi.from_buffer("int8_t[]", source),
            ffi.from_buffer("int16_t[]", residual),
            ffi.from_buffer("uint16_t[]", out),
        )
    assert np.all(residual[row:] == 0x5A5A)
    return indices
