"""The codec's C kernels called one by one from Python, their layer constants filled in from a plan's figures."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecodec.compile.graph import Graph, Layer, Op
from edgecodec.compile.plan import fold_bias
from edgecodec.compile.render import codec_sources
from edgecodec.host.extension import load_extension
from edgecodec.normalizer import Normalizer
from edgecodec.rvq import IntegerRvq

_CDEF = """
typedef struct {
  const int8_t *weights; const int32_t *bias; const int32_t *multiplier; const int8_t *shift;
  uint16_t in_width; uint16_t in_channels; uint16_t out_width; uint16_t out_channels;
  uint16_t kernel; uint16_t stride; uint16_t pad_left;
  int8_t in_zero_point; int8_t out_zero_point; int8_t activation_min; int8_t activation_max;
  ...;
} edc_conv_layer;
void edc_conv(const edc_conv_layer *layer, const int8_t *in, int8_t *out);
void edc_depthwise(const edc_conv_layer *layer, const int8_t *in, int8_t *out);
typedef struct { int32_t sum; uint64_t variance; ...; } edc_frame_stats;
typedef struct {
  uint64_t epsilon; uint32_t inverse_scale; uint16_t samples; uint8_t variance_shift; uint8_t inverse_shift;
  int8_t zero_point; ...;
} edc_normalizer;
void edc_normalize(const edc_normalizer *normalizer, const int16_t *frame, int8_t *out, edc_frame_stats *stats);
typedef struct { const int16_t *codes; const int32_t *norms; uint32_t size; ...; } edc_codebook;
typedef struct {
  const edc_codebook *levels; uint16_t level_count; uint16_t dimension; uint16_t positions;
  uint8_t fraction_bits; int8_t zero_point; ...;
} edc_rvq;
void edc_rvq_quantize(const edc_rvq *rvq, const int8_t *latent, int16_t *residual, uint16_t *indices);
"""
_INCLUDES = "\n".join(f'#include "{name}.h"' for name in ("edc", "edc_conv", "edc_normalize", "edc_rvq"))


@cache
def _module() -> Any:
    files = {source.name: source.read_text(encoding="utf-8") for source in codec_sources()}
    return load_extension(files, _CDEF, _INCLUDES)


def run_layers(graph: Graph, quantized: npt.NDArray[np.int8]) -> list[npt.NDArray[np.int8]]:
    """Every layer's output ``[N, W, C]`` for encoder inputs ``[N, T]``."""
    outputs, current = [], quantized
    for layer in graph.layers:
        current = _run_layer(layer, current)
        outputs.append(current)
    return outputs


def _run_layer(layer: Layer, source: npt.NDArray[np.int8]) -> npt.NDArray[np.int8]:
    module = _module()
    ffi = module.ffi
    tables = {
        "weights": ("int8_t[]", np.ascontiguousarray(layer.weights)),
        "bias": ("int32_t[]", fold_bias(layer)[0]),
        "multiplier": ("int32_t[]", layer.multiplier),
        "shift": ("int8_t[]", layer.shift.astype(np.int8)),
    }
    kept = {name: ffi.from_buffer(ctype, array) for name, (ctype, array) in tables.items()}
    struct = ffi.new(
        "edc_conv_layer *",
        kept
        | {
            "in_width": layer.input.width,
            "in_channels": layer.input.channels,
            "out_width": layer.output.width,
            "out_channels": layer.output.channels,
            "kernel": layer.kernel,
            "stride": layer.stride,
            "pad_left": layer.pad_left,
            "in_zero_point": layer.input.zero_point,
            "out_zero_point": layer.output.zero_point,
            "activation_min": layer.activation_min,
            "activation_max": layer.activation_max,
        },
    )
    kernel = module.lib.edc_conv if layer.op is Op.CONV else module.lib.edc_depthwise
    target = np.empty((len(source), layer.output.width, layer.output.channels), np.int8)
    for row, out in zip(source, target, strict=True):
        kernel(struct, ffi.from_buffer("int8_t[]", row), ffi.from_buffer("int8_t[]", out))
    return target


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


def quantize_latent(rvq: IntegerRvq, latent: npt.NDArray[np.int8]) -> npt.NDArray[np.uint16]:
    """Indices ``[N, P, L]`` of latents ``[N, P, D]``."""
    module = _module()
    ffi = module.ffi
    books = [np.ascontiguousarray(book) for book in rvq.codebooks]
    norms = [rvq.norms(level) for level in range(rvq.levels)]
    codes_kept = [ffi.from_buffer("int16_t[]", book) for book in books]
    norms_kept = [ffi.from_buffer("int32_t[]", norm) for norm in norms]
    levels = ffi.new("edc_codebook[]", rvq.levels)
    for level, book in enumerate(books):
        levels[level].codes, levels[level].norms, levels[level].size = codes_kept[level], norms_kept[level], len(book)
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
