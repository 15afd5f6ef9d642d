"""Packets back to indices in C (``firmware/host/edc_unpack.c``), many at once and by threads: for servers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecodec.decoding.packet_constants import unpack_constants
from edgecodec.entropy.packet import PacketFormat
from edgecodec.entropy.unpacking import ReferenceUnpacker, Unpacked, Unpacker
from edgecodec.errors import BuildError
from edgecodec.files.resources import firmware_dir
from edgecodec.host.c_constants import CMemory
from edgecodec.host.extension import load_extension
from edgecodec.host.threads import deal, thread_count

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
        self._threads = thread_count(threads)
        folder = firmware_dir() / "host"
        names = ("edc_unpack.c", "edc_unpack.h")
        sources = {name: (folder / name).read_text(encoding="utf-8") for name in names}
        module = load_extension(sources, _CDEF, '#include "edc_unpack.h"', native=True)
        self._ffi: Any = module.ffi
        self._lib: Any = module.lib
        self._shape = (packets.positions, len(packets.codebook_sizes))
        assert self._ffi.sizeof("edc_unpack_frame") == _FRAME.itemsize
        constants = unpack_constants(packets)
        self._memory, self._work_words = CMemory(self._ffi), constants.work_words
        self._format = self._memory.pointer(constants.format)

    def unpack(self, packets: Sequence[bytes]) -> Unpacked:
        """What each of ``packets`` says; damage is a status, never an error."""
        frames = np.empty(len(packets), _FRAME)
        found = Unpacked.empty(len(packets), *self._shape)

        def run(part: slice) -> None:
            self._run(packets[part], frames[part], found.indices[part])

        deal(run, len(packets), _PACKETS_A_TASK, self._threads)
        for name in ("status", "tag", "sequence", "levels", "offset", "spread"):
            getattr(found, name)[:] = frames[name]
        found.clipped[:] = frames["flags"] & self._lib.EDC_UNPACK_CLIPPED
        found.gap[:] = frames["flags"] & self._lib.EDC_UNPACK_GAP
        return found

    def _run(self, packets: Sequence[bytes], frames: npt.NDArray[np.void], indices: npt.NDArray[np.uint16]) -> None:
        ffi = self._ffi
        ends = np.cumsum([len(packet) for packet in packets], dtype=np.uint64)
        self._lib.edc_unpack(
            self._format,
            ffi.new("int32_t[]", self._work_words),
            ffi.from_buffer("uint8_t[]", b"".join(packets)),
            ffi.from_buffer("uint64_t[]", ends),
            len(packets),
            ffi.cast("edc_unpack_frame *", ffi.from_buffer(frames)),
            ffi.from_buffer("uint16_t[]", indices),
        )
