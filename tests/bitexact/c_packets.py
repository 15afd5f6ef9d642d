"""The C of packets called through cffi with constants of any codec, guard bytes around what it writes."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from edgecodec.compile.render import codec_sources
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
typedef struct {
  const uint8_t *classes; const uint8_t *groups; const uint8_t *ranks; const uint8_t *member_starts;
  const uint16_t *group_starts; uint16_t group_count; ...;
} edc_context_level;
typedef struct { const edc_context_level *levels; } edc_context_tables;
typedef struct { uint32_t context; } edc_context_state;
extern const edc_index_model edc_context_model;
"""
_GUARD = 0x5A
CLIPPED, GAP = 4, 8


@cache
def _module() -> Any:
    files = {source.name: source.read_text(encoding="utf-8") for source in codec_sources()}
    return load_extension(files, _CDEF, '#include "edc_context.h"')


class Writer:
    """``edc_packet_write`` for a format."""

    def __init__(self, packets: PacketFormat) -> None:
        module = _module()
        self._ffi, self._lib, self._packets = module.ffi, module.lib, packets
        self._kept: list[Any] = []
        ffi, model = self._ffi, packets.model
        self._state = ffi.NULL
        tables, code = ffi.NULL, ffi.NULL
        if isinstance(model, ContextTables):
            self._state = ffi.new("edc_context_state *")
            tables, code = ffi.cast("void *", self._context_tables(model)), ffi.addressof(self._lib.edc_context_model)
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
        return out[:count].tobytes()

    def _context_tables(self, model: ContextTables) -> Any:
        ffi = self._ffi
        levels = ffi.new("edc_context_level[]", len(model.levels))
        for level, tables in zip(levels, model.levels, strict=True):
            arrays = {
                "classes": tables.classes,
                "groups": tables.groups,
                "ranks": tables.ranks,
                "member_starts": np.append(tables.member_starts, np.uint8(0)),
                "group_starts": np.append(tables.group_starts.reshape(-1), np.uint16(0)),
            }
            for name, array in arrays.items():
                pointer = ffi.from_buffer(f"{array.dtype}_t[]", np.ascontiguousarray(array))
                self._kept.append(pointer)
                setattr(level, name, pointer)
            level.group_count = tables.group_starts.shape[1]
        whole = ffi.new("edc_context_tables *", {"levels": levels})
        self._kept += [levels, whole]
        return whole
