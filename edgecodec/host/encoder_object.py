"""An encoder object of the firmware's own C (``edc_encoder.h``), driven call by call from Python through cffi."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from edgecodec.errors import EdgecodecError

IDLE, MORE, PACKET, _BUSY = range(1, 5)
"""Statuses of ``edc.h`` beside 0; errors are below."""
_LAST, _NUMBER = 0x80, 0x0F
"""Bits of a fragment's first byte (SPEC.md 5.8)."""


class EncoderObject:
    """Takes samples in any pieces and makes packets of their frames, step by step.

    Made by :meth:`edgecodec.host.shim.HostShim.encoder`. Methods raise EdgecodecError where the C returns an error.
    """

    def __init__(self, ffi: Any, lib: Any) -> None:
        self._ffi, self._lib = ffi, lib
        info = lib.edc_shim_info()
        self.least_mtu = 1 + -(-info.packet_bytes_max // lib.EDC_FRAGMENTS_MAX)
        """Bytes of the smallest fragments that the longest packet goes in."""
        self._memory = ffi.new("uint32_t[]", info.encoder_bytes // 4)
        self._encoder = ffi.new("edc_encoder *")
        self._size = ffi.new("size_t *")
        model = ffi.addressof(lib.ppg_model)
        self._checked(lib.edc_init(self._encoder, self._memory, info.encoder_bytes, model))

    def set_counts(self, shift: int, offset: int) -> None:
        """How :meth:`push` makes samples of int32 counts: ``(count - offset) >> shift``. Before the first push."""
        self._checked(self._lib.edc_set_counts(self._encoder, shift, offset))

    def set_ends(self, least: int, most: int) -> None:
        """The ends of the converter's range, in samples. Before the first push."""
        self._checked(self._lib.edc_set_ends(self._encoder, least, most))

    def push(self, samples: npt.NDArray[np.int16] | npt.NDArray[np.int32], count: int, stride: int) -> int:
        """Push ``count`` int16 samples or int32 counts, ``stride`` entries from each other.

        Returns how many it took; the others are to be pushed again, after a step.
        """
        push = self._lib.edc_push if samples.dtype == np.int16 else self._lib.edc_push32
        given = self._ffi.from_buffer(f"{samples.dtype}_t[]", samples)
        status = self._checked(push(self._encoder, given, count, stride, self._size))
        taken = int(self._size[0])
        if (status == _BUSY) != (taken < count):
            raise EdgecodecError(f"encoder object: status {status} of a push that took {taken} of {count} samples")
        return taken

    def gap(self, lost: int) -> None:
        """Say that ``lost`` samples are missing."""
        self._checked(self._lib.edc_gap(self._encoder, lost))

    def step(self) -> int:
        """Do a piece of the work. Returns :data:`IDLE`, :data:`MORE` or :data:`PACKET`."""
        return self._checked(self._lib.edc_step(self._encoder))

    def packet(self) -> bytes:
        """The packet whose last piece the last step was."""
        data = self._lib.edc_packet(self._encoder, self._size)
        return bytes(self._ffi.buffer(data, self._size[0])) if self._size[0] else b""

    def joined(self, mtu: int) -> bytes:
        """The same as a receiver joins it of fragments of at most ``mtu`` bytes (SPEC.md 5.8).

        Of fragments that are not numbered as they should be, their own bytes are joined, too.
        """
        out = self._ffi.new("uint8_t[]", mtu)
        fragments = []
        while self._checked(self._lib.edc_fragment(self._encoder, mtu, out, self._size)) == MORE:
            fragments.append(bytes(self._ffi.buffer(out, self._size[0])))
        joined = b"".join(fragment[1:] for fragment in fragments)
        number = (joined[1] & 7) << 4 if len(joined) > 1 else 0
        heads = [number | place | (_LAST if place == len(fragments) - 1 else 0) for place in range(len(fragments))]
        return joined if heads == [fragment[0] for fragment in fragments] else b"".join(fragments)

    def _checked(self, status: int) -> int:
        if status < 0:
            said = self._ffi.string(self._lib.edc_strerror(status)).decode()
            raise EdgecodecError(f"encoder object: {said}")
        return status
