"""Packets back to indices in C (``firmware/host/edc_unpack.c``), many at once and by threads: for servers."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecodec.entropy.causal_network import LIKELIHOODS, CausalNetwork, Dense
from edgecodec.entropy.context_tables import ContextTables, LevelTables
from edgecodec.entropy.packet import CHECK_BITS, CHECK_POLYNOMIAL, PacketFormat, index_bits
from edgecodec.entropy.side_information import ROOTS
from edgecodec.entropy.unpacking import ReferenceUnpacker, Unpacked, Unpacker
from edgecodec.errors import BuildError, InputError
from edgecodec.files.resources import firmware_dir
from edgecodec.host.extension import load_extension

_CDEF = """
typedef struct {
  const uint8_t *classes; const uint32_t *group_starts; const uint16_t *group_ranks; const uint16_t *member_starts;
  const uint16_t *member_ends; const uint16_t *codes; uint32_t group_count; ...;
} edc_unpack_tables;
typedef struct { const int32_t *weights; const int32_t *bias; uint32_t inputs; uint32_t outputs; uint32_t shift; ...; }
  edc_unpack_dense;
typedef struct { edc_unpack_dense taps; edc_unpack_dense mix; uint32_t dilation; ...; } edc_unpack_block;
typedef struct {
  edc_unpack_dense hidden; const int8_t *embedding; const int32_t *const *above; const int32_t *nodes;
  const int32_t *node_bias; const uint16_t *codes; uint32_t code_count; uint32_t node_shift; ...;
} edc_unpack_head;
typedef struct {
  edc_unpack_dense input; const edc_unpack_block *blocks; const edc_unpack_head *heads; const uint16_t *likelihoods;
  uint32_t block_count; uint32_t hidden; uint32_t embedding_size; ...;
} edc_unpack_network;
typedef struct {
  const uint32_t *roots; uint32_t first_scale; uint32_t scale_bits; uint32_t location_bits; uint32_t scale_field;
  uint32_t common_bytes; uint32_t squared; uint32_t samples; ...;
} edc_unpack_side;
typedef struct {
  const uint16_t *checks; const uint32_t *code_counts; const uint8_t *index_bits; const edc_unpack_side *side;
  const edc_unpack_tables *tables; const edc_unpack_network *network; uint32_t positions; uint32_t levels;
  uint32_t tag; ...;
} edc_unpack_format;
typedef struct {
  uint64_t spread; int32_t offset; uint16_t tag; uint8_t status; uint8_t sequence; uint8_t flags; uint8_t levels;
} edc_unpack_frame;
#define EDC_UNPACK_CLIPPED ...
#define EDC_UNPACK_GAP ...
void edc_unpack(const edc_unpack_format *format, int32_t *work, const uint8_t *data, const uint64_t *ends, size_t count,
                edc_unpack_frame *frames, uint16_t *indices);
"""
_FRAME = np.dtype(
    [
        ("spread", np.uint64),
        ("offset", np.int32),
        ("tag", np.uint16),
        ("status", np.uint8),
        ("sequence", np.uint8),
        ("flags", np.uint8),
        ("levels", np.uint8),
    ],
    align=True,
)
_LANES = 16
"""``EDC_UNPACK_LANES``"""
_PACKETS_A_TASK = 256


def fastest_unpacker(packets: PacketFormat, *, threads: int | None = 1) -> Unpacker:
    """What reads many packets soonest here: :class:`PacketUnpacker`, or the reference where there is no C compiler.

    Raises InputError for less than one thread.
    """
    try:
        return PacketUnpacker(packets, threads=threads)
    except BuildError:
        return ReferenceUnpacker(packets)


class PacketUnpacker:
    """Reads packets of one format by ``threads`` threads (None for one a CPU).

    Safe for threads that share one. One build serves all formats; it takes seconds the first time on a machine and is
    cached. Raises BuildError when there is no compiler or it fails, InputError for less than one thread.
    """

    def __init__(self, packets: PacketFormat, *, threads: int | None = 1) -> None:
        if threads is not None and threads < 1:
            raise InputError(f"threads is {threads}; expected at least 1, or None for one a CPU")
        folder = firmware_dir() / "host"
        names = ("edc_unpack.c", "edc_unpack.h")
        sources = {name: (folder / name).read_text(encoding="utf-8") for name in names}
        module = load_extension(sources, _CDEF, '#include "edc_unpack.h"', native=True)
        self._ffi: Any = module.ffi
        self._lib: Any = module.lib
        self._threads = threads or os.cpu_count() or 1
        self._shape = (packets.positions, len(packets.codebook_sizes))
        self._constants = _Constants(module.ffi, packets)

    def unpack(self, packets: Sequence[bytes]) -> Unpacked:
        """What each of ``packets`` says; damage is a status, never an error."""
        frames = np.empty(len(packets), _FRAME)
        found = Unpacked.empty(len(packets), *self._shape)
        step = _PACKETS_A_TASK if self._threads > 1 else max(1, len(packets))
        parts = [slice(start, start + step) for start in range(0, len(packets), step)]

        def run(part: slice) -> None:
            self._run(packets[part], frames[part], found.indices[part])

        if self._threads == 1 or len(parts) <= 1:
            for part in parts:
                run(part)
        else:
            with ThreadPoolExecutor(min(self._threads, len(parts))) as pool:
                for _ in pool.map(run, parts):
                    pass
        for name in ("status", "tag", "sequence", "levels", "offset", "spread"):
            getattr(found, name)[:] = frames[name]
        found.clipped[:] = frames["flags"] & self._lib.EDC_UNPACK_CLIPPED
        found.gap[:] = frames["flags"] & self._lib.EDC_UNPACK_GAP
        return found

    def _run(self, packets: Sequence[bytes], frames: npt.NDArray[np.void], indices: npt.NDArray[np.uint16]) -> None:
        ffi = self._ffi
        ends = np.cumsum([len(packet) for packet in packets], dtype=np.uint64)
        self._lib.edc_unpack(
            self._constants.format,
            ffi.new("int32_t[]", self._constants.work_words),
            ffi.from_buffer("uint8_t[]", b"".join(packets)),
            ffi.from_buffer("uint64_t[]", ends),
            len(packets),
            ffi.cast("edc_unpack_frame *", ffi.from_buffer(frames)),
            ffi.from_buffer("uint16_t[]", indices),
        )


class _Constants:
    """A packet format as ``edc_unpack.h`` has it, alive as long as this is."""

    def __init__(self, ffi: Any, packets: PacketFormat) -> None:
        self._ffi = ffi
        self._kept: list[Any] = []
        self.work_words = 1
        """int32 that a thread works in."""
        self.format = ffi.new("edc_unpack_format *")
        found = self.format
        assert ffi.sizeof("edc_unpack_frame") == _FRAME.itemsize
        found.checks = self._array(_checks(), "uint16_t[]")
        found.code_counts = self._array(np.array(packets.codebook_sizes, np.uint32), "uint32_t[]")
        bits = np.array([index_bits(codes) for codes in packets.codebook_sizes], np.uint8)
        found.index_bits = self._array(bits, "uint8_t[]")
        found.positions, found.levels, found.tag = packets.positions, len(packets.codebook_sizes), packets.tag
        if packets.side is not None:
            side = self._new("edc_unpack_side *")
            side.roots = self._array(np.array(ROOTS, np.uint32), "uint32_t[]")
            for name in ("first_scale", "scale_bits", "location_bits", "scale_field", "common_bytes", "samples"):
                setattr(side, name, getattr(packets.side, name))
            side.squared = packets.side.squared
            found.side = side
        if isinstance(packets.model, ContextTables):
            tables = self._new("edc_unpack_tables[]", len(packets.model.levels))
            for row, level in zip(tables, packets.model.levels, strict=True):
                self._tables(row, level)
            found.tables = tables
        elif isinstance(packets.model, CausalNetwork):
            found.network = self._network(packets.model)

    def _new(self, kind: str, *arguments: Any) -> Any:
        self._kept.append(self._ffi.new(kind, *arguments))
        return self._kept[-1]

    def _array(self, values: npt.NDArray[Any], kind: str) -> Any:
        self._kept.append(self._ffi.from_buffer(kind, np.ascontiguousarray(values)))
        return self._kept[-1]

    def _tables(self, row: Any, level: LevelTables) -> None:
        order = np.argsort(level.ranks)
        starts = level.member_starts.astype(np.uint16)
        ends = np.append(level.group_starts, np.zeros((len(level.group_starts), 1)), axis=1).astype(np.uint32)
        ends[:, -1] = 1 << 16
        firsts = np.searchsorted(level.groups[order], np.arange(level.group_starts.shape[1] + 1)).astype(np.uint16)
        row.classes = self._array(level.classes, "uint8_t[]")
        row.group_starts = self._array(ends, "uint32_t[]")
        row.group_ranks = self._array(firsts, "uint16_t[]")
        row.member_starts = self._array(starts, "uint16_t[]")
        row.member_ends = self._array((starts + level.member_sizes).astype(np.uint16), "uint16_t[]")
        row.codes = self._array(order.astype(np.uint16), "uint16_t[]")
        row.group_count = level.group_starts.shape[1]

    def _dense(self, row: Any, layer: Dense, channels: int | None = None) -> None:
        """A layer, outputs padded, and its inputs, too, where they are taps of so many ``channels``."""
        weights = _padded(layer.weights, 0)
        if channels is not None:
            weights = _padded(weights.reshape(len(weights), -1, channels), 2).reshape(len(weights), -1)
        outputs, inputs = weights.shape
        columns = weights.reshape(outputs // _LANES, _LANES, inputs).transpose(0, 2, 1)
        row.weights = self._array(columns.astype(np.int32), "int32_t[]")
        bias = layer.bias + np.int32(1 << (layer.shift - 1))
        row.bias = self._array(_padded(bias, 0), "int32_t[]")
        row.outputs, row.inputs, row.shift = outputs, inputs, layer.shift

    def _network(self, model: CausalNetwork) -> Any:
        found, channels = self._new("edc_unpack_network *"), model.channels
        self._dense(found.input, model.input)
        found.blocks = blocks = self._new("edc_unpack_block[]", max(1, len(model.blocks)))
        for row, block in zip(blocks, model.blocks, strict=False):
            self._dense(row.taps, block.taps, channels)
            self._dense(row.mix, block.mix, channels)
            row.dilation = block.dilation
        found.heads = heads = self._new("edc_unpack_head[]", len(model.levels))
        for row, level in zip(heads, model.levels, strict=True):
            self._dense(row.hidden, level.hidden, channels)
            row.embedding = self._array(level.embedding, "int8_t[]")
            tables = [_padded(table.astype(np.int32) << level.above_shift, 1) for table in level.above]
            row.above = self._new("int32_t *[]", [self._array(table, "int32_t[]") for table in tables] or 1)
            row.nodes = self._array(_padded(level.nodes.astype(np.int32), 1), "int32_t[]")
            bias = level.node_bias.astype(np.int32) << level.node_bias_shift
            row.node_bias = self._array(bias, "int32_t[]")
            row.codes = self._array(np.argsort(level.ranks).astype(np.uint16), "uint16_t[]")
            row.code_count, row.node_shift = len(level.ranks), level.node_shift
        found.likelihoods = self._array(LIKELIHOODS, "uint16_t[]")
        found.block_count, found.hidden = len(model.blocks), heads[0].hidden.outputs
        found.embedding_size = model.levels[0].embedding.shape[1]
        rows = 2 + sum(2 * block.dilation for block in model.blocks)
        self.work_words = int(found.input.inputs + rows * found.input.outputs + found.hidden)
        return found


def _padded(values: npt.NDArray[Any], axis: int) -> npt.NDArray[Any]:
    """``values`` with zeros up to whole vectors along an axis."""
    widths = [(0, -size % _LANES if number == axis else 0) for number, size in enumerate(values.shape)]
    return np.pad(values, widths)


def _checks() -> npt.NDArray[np.uint16]:
    """The CRC's register after each byte from a register of 0, ``[256]``."""
    values = np.arange(256, dtype=np.uint32) << (CHECK_BITS - 8)
    for _ in range(8):
        carry = values >> (CHECK_BITS - 1)
        values = (values << 1 & 0xFFF) ^ carry * CHECK_POLYNOMIAL
    return values.astype(np.uint16)
