"""The firmware's own packet C called from Python through cffi."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from edgecodec.codec.arrays import Indices
from edgecodec.compile.render import packet_files
from edgecodec.entropy.packet import PacketFormat
from edgecodec.errors import BuildError, InputError
from edgecodec.host.extension import load_extension

CLIPPED = 4
GAP = 8
_CDEF = """
#define EDC_PACKET_STATE_WORDS ...
#define EDC_PACKET_BYTES_MAX ...
typedef struct {
  const uint16_t *indices; uint64_t spread; int32_t offset; uint8_t levels; uint8_t sequence; uint8_t flags; ...;
} edc_packet_frame;
typedef struct { ...; } edc_packet_format;
extern const edc_packet_format edc_packet_model;
uint32_t edc_packet_write(const edc_packet_format *format, void *state, const edc_packet_frame *frame, uint8_t *out);
"""


def encode_packets(
    packets: PacketFormat, indices: Indices, offsets: Sequence[int], spreads: Sequence[int]
) -> list[bytes]:
    """Packets of frames' indices uint16 ``[N, P, L]``, numbered from 0 on.

    By :class:`PacketShim`, or, where there is no C compiler, by the reference, which gives the same bytes.
    """
    try:
        return PacketShim(packets).encode(indices, offsets, spreads)
    except BuildError:
        frames = enumerate(zip(indices, offsets, spreads, strict=True))
        return [packets.encode(*frame, number) for number, frame in frames]


class PacketShim:
    """Writes packets with the C that a device runs, for one packet format.

    Building takes a few seconds the first time and is cached by content. Raises BuildError when there is no compiler,
    no Python headers, or the compiler fails.
    """

    def __init__(self, packets: PacketFormat) -> None:
        module = load_extension(packet_files(packets), _CDEF, '#include "edc_packet_model.h"')
        self._ffi: Any = module.ffi
        self._lib: Any = module.lib
        self._shape = (packets.positions, len(packets.codebook_sizes))

    def encode(
        self,
        indices: Indices,
        offsets: Sequence[int],
        spreads: Sequence[int],
        sequence: int = 0,
        flags: int | Sequence[int] = 0,
    ) -> list[bytes]:
        """Packets of frames' indices uint16 ``[N, P, L]``, with ``offset`` and ``spread`` of each.

        Sequence numbers count up from ``sequence``; ``flags`` are :data:`CLIPPED` and :data:`GAP`, of all frames
        or of each. Raises InputError for another shape or type.
        """
        if indices.dtype != np.uint16 or indices.shape[1:] != self._shape or indices.ndim != 3:
            raise InputError(f"indices are {indices.dtype} {indices.shape}; expected uint16 [N, {self._shape}]")
        ffi, lib = self._ffi, self._lib
        state = ffi.new("int32_t[]", lib.EDC_PACKET_STATE_WORDS)
        out = ffi.new("uint8_t[]", lib.EDC_PACKET_BYTES_MAX)
        frame = ffi.new("edc_packet_frame *", {"levels": self._shape[1]})
        each = [flags] * len(indices) if isinstance(flags, int) else flags
        packets = []
        for number, row in enumerate(np.ascontiguousarray(indices)):
            frame.indices = rows = ffi.from_buffer("uint16_t[]", row)
            frame.offset, frame.spread = int(offsets[number]), int(spreads[number])
            frame.flags = each[number]
            frame.sequence = (sequence + number) & 0xFF
            size = lib.edc_packet_write(ffi.addressof(lib.edc_packet_model), state, frame, out)
            packets.append(bytes(ffi.buffer(out, size)))
            del rows
        return packets
