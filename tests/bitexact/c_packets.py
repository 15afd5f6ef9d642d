"""The C of packets called through cffi with constants of any codec, guard bytes around what it writes."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from edgecodec.compile.index_tables import code_rows, in_blocks, in_fours, rounding_bias
from edgecodec.compile.render import codec_sources
from edgecodec.entropy.causal_network import CausalNetwork, Dense
from edgecodec.entropy.context_tables import ContextTables
from edgecodec.entropy.packet import PacketFormat, index_bits
from edgecodec.host.extension import load_extension

_CDEF = """
typedef struct { ...; } edc_index_model;
typedef struct {
  uint16_t first_scale; uint8_t scale_bits; uint8_t location_bits; uint8_t scale_field; uint8_t common_bytes;
  uint8_t squared; ...;
} edc_side;
typedef struct {
  const edc_index_model *model; const void *tables; const edc_side *side; const uint8_t *index_bits;
  uint16_t positions; uint16_t samples; uint16_t tag; uint8_t levels; ...;
} edc_packet_format;
typedef struct {
  const uint16_t *indices; uint64_t spread; int32_t offset; uint8_t levels; uint8_t sequence; uint8_t flags; ...;
} edc_packet_frame;
uint32_t edc_packet_write(const edc_packet_format *format, void *state, const edc_packet_frame *frame, uint8_t *out);
typedef struct { uint8_t group; uint8_t start; uint8_t last; ...; } edc_context_code;
typedef struct {
  const uint8_t *classes; const edc_context_code *codes; const uint16_t *group_starts; uint32_t group_count; ...;
} edc_context_level;
typedef struct { const edc_context_level *levels; } edc_context_tables;
typedef struct { uint32_t context; } edc_context_state;
extern const edc_index_model edc_context_model;
typedef struct {
  const int8_t *weights; const int32_t *bias; uint16_t outputs; uint16_t inputs; uint8_t shift; ...;
} edc_dense;
typedef struct { edc_dense taps; edc_dense mix; uint16_t dilation; ...; } edc_causal_block;
typedef struct {
  edc_dense hidden; const int8_t *embedding; const int8_t *const *above; const int8_t *nodes; const int16_t *node_bias;
  const uint8_t *ranks; uint16_t codes; uint8_t above_shift; uint8_t node_bias_shift; uint8_t node_shift; ...;
} edc_causal_level;
typedef struct {
  edc_dense input; const edc_causal_block *blocks; const edc_causal_level *levels; uint16_t channels; uint16_t hidden;
  uint8_t block_count; uint8_t level_count; uint8_t embedding_size; ...;
} edc_causal_network;
extern const edc_index_model edc_causal_model;
typedef struct {
  uint64_t low; uint64_t range; uint8_t *out; uint32_t carry; uint32_t size; uint32_t capacity; uint8_t full; ...;
} edc_range;
uint32_t edc_range_finish(edc_range *coder);
"""
_GUARD = 0x5A
CLIPPED, GAP = 4, 8


_ACLE = """
#include <stdint.h>
/* Arm's SIMD intrinsics in C (Arm C Language Extensions, 9), to run the code that uses them here. */
typedef uint32_t int16x2_t;
typedef uint32_t int8x4_t;
static inline int32_t edc_half(uint32_t pair, int high) { return (int16_t)(high ? pair >> 16 : pair); }
static inline int32_t __smlad(uint32_t a, uint32_t b, int32_t sum) {
  return (int32_t)((uint32_t)sum + (uint32_t)(edc_half(a, 0) * edc_half(b, 0)) +
                   (uint32_t)(edc_half(a, 1) * edc_half(b, 1)));
}
static inline uint32_t __sxtb16(uint32_t four) {
  return (uint32_t)(uint16_t)(int8_t)four | (uint32_t)(uint16_t)(int8_t)(four >> 16) << 16;
}
"""


@cache
def _module(simd: bool = False) -> Any:
    """The codec's C; with ``simd`` as cores with 16-bit SIMD compile it, their intrinsics written in C."""
    files = {source.name: source.read_text(encoding="utf-8") for source in codec_sources()}
    if simd:
        causal = files["edc_causal.c"].replace("#include <arm_acle.h>", _ACLE)
        files["edc_causal.c"] = f"#define __ARM_FEATURE_SIMD32 1\n{causal}"
    return load_extension(files, _CDEF, '#include "edc_context.h"\n#include "edc_causal.h"')


def finish(low: int, width: int, written: bytes) -> bytes:
    """``edc_range_finish``: the payload of an interval ``[low, low + width)`` of 2^64 behind the bytes ``written``."""
    module = _module()
    out = module.ffi.new("uint8_t[]", written + bytes([_GUARD]) * 16)
    given = {"low": low, "range": width, "out": out, "size": len(written), "capacity": len(written) + 8}
    count = module.lib.edc_range_finish(module.ffi.new("edc_range *", given))
    assert bytes(out)[len(written) + 8 : -1] == bytes([_GUARD]) * 8
    return bytes(out)[:count]


class Writer:
    """``edc_packet_write`` for a format."""

    def __init__(self, packets: PacketFormat, simd: bool = False) -> None:
        module = _module(simd)
        self._ffi, self._lib, self._packets = module.ffi, module.lib, packets
        self._kept: list[Any] = []
        ffi, model = self._ffi, packets.model
        self._state = ffi.NULL
        tables, code = ffi.NULL, ffi.NULL
        if isinstance(model, ContextTables):
            self._state = ffi.new("edc_context_state *")
            tables, code = ffi.cast("void *", self._context_tables(model)), ffi.addressof(self._lib.edc_context_model)
        if isinstance(model, CausalNetwork):
            assert model.state_bytes % 4 == 0
            self._state = ffi.new("int32_t[]", [0x5A5A5A5A] * (model.state_bytes // 4 + 4))
            tables, code = ffi.cast("void *", self._network(model)), ffi.addressof(self._lib.edc_causal_model)
        side = ffi.NULL
        if packets.side is not None:
            names = ("first_scale", "scale_bits", "location_bits", "scale_field", "common_bytes", "squared")
            side = ffi.new("edc_side *", {name: getattr(packets.side, name) for name in names})
        bits = ffi.new("uint8_t[]", [index_bits(codes) for codes in packets.codebook_sizes])
        self._kept += [tables, side, bits]
        self._format = ffi.new(
            "edc_packet_format *",
            {
                "model": code,
                "tables": tables,
                "side": side,
                "index_bits": bits,
                "positions": packets.positions,
                "samples": 1 if packets.side is None else packets.side.samples,
                "tag": packets.tag,
                "levels": len(packets.codebook_sizes),
            },
        )

    def write(self, indices: np.ndarray, levels: int, offset: int, spread: int, sequence: int, flags: int = 0) -> bytes:
        """The packet of a frame of all levels' indices ``[P, L]``, of which the first are sent."""
        ffi = self._ffi
        size = self._packets.plain_bytes() + 10
        out = np.full(size + 16, _GUARD, np.uint8)
        rows = ffi.from_buffer("uint16_t[]", np.ascontiguousarray(indices, np.uint16))
        given = {
            "indices": rows,
            "spread": spread,
            "offset": offset,
            "levels": levels,
            "sequence": sequence,
            "flags": flags,
        }
        frame = ffi.new("edc_packet_frame *", given)
        count = self._lib.edc_packet_write(self._format, self._state, frame, ffi.from_buffer("uint8_t[]", out))
        assert np.all(out[size:] == _GUARD)
        assert count <= size
        if isinstance(self._packets.model, CausalNetwork):
            assert list(self._state)[-4:] == [0x5A5A5A5A] * 4
        return out[:count].tobytes()

    def _context_tables(self, model: ContextTables) -> Any:
        ffi = self._ffi
        levels = ffi.new("edc_context_level[]", len(model.levels))
        for level, tables in zip(levels, model.levels, strict=True):
            starts = np.append(tables.group_starts.reshape(-1), np.uint16(0))
            level.classes, level.group_starts = self._array(tables.classes), self._array(starts)
            rows = ffi.from_buffer("edc_context_code[]", code_rows(tables))
            self._kept.append(rows)
            level.codes = rows
            level.group_count = tables.group_starts.shape[1]
        whole = ffi.new("edc_context_tables *", {"levels": levels})
        self._kept += [levels, whole]
        return whole

    def _array(self, array: np.ndarray) -> Any:
        pointer = self._ffi.from_buffer(f"{array.dtype}_t[]", np.ascontiguousarray(array))
        self._kept.append(pointer)
        return pointer

    def _dense(self, struct: Any, layer: Dense) -> None:
        struct.weights, struct.bias = self._array(in_blocks(layer.weights)), self._array(rounding_bias(layer))
        struct.outputs, struct.inputs = layer.weights.shape
        struct.shift = layer.shift

    def _network(self, model: CausalNetwork) -> Any:
        ffi = self._ffi
        blocks = ffi.new("edc_causal_block[]", max(1, len(model.blocks)))
        for struct, block in zip(blocks, model.blocks, strict=False):
            self._dense(struct.taps, block.taps)
            self._dense(struct.mix, block.mix)
            struct.dilation = block.dilation
        levels = ffi.new("edc_causal_level[]", len(model.levels))
        for struct, level in zip(levels, model.levels, strict=True):
            self._dense(struct.hidden, level.hidden)
            above = ffi.new("int8_t *[]", [self._array(table) for table in level.above] or 1)
            self._kept.append(above)
            struct.embedding, struct.above = self._array(level.embedding), above
            struct.nodes, struct.node_bias = self._array(in_fours(level.nodes)), self._array(level.node_bias)
            struct.ranks, struct.codes = self._array(level.ranks), len(level.ranks)
            for name in ("above_shift", "node_bias_shift", "node_shift"):
                setattr(struct, name, getattr(level, name))
        whole = ffi.new("edc_causal_network *")
        self._dense(whole.input, model.input)
        whole.blocks, whole.levels = blocks, levels
        whole.channels, whole.hidden = model.channels, len(model.levels[0].hidden.weights)
        whole.block_count, whole.level_count = len(model.blocks), len(model.levels)
        whole.embedding_size = model.levels[0].embedding.shape[1]
        self._kept += [blocks, levels, whole]
        return whole
