"""The range coder of packets: words of 32 bits, a state of 64, shares of 2^-24 (SPEC.md 5.3).

The payload is a number in [0, 1), most significant byte first; bytes that are not there are zero. Each decision narrows
the interval ``[low, low + range)`` to the share ``[start, start + size) / 2^24`` of it, and the payload is the shortest
number inside the last one.

Source: Martin 1979, "Range encoding: an algorithm for removing redundancy from a digitised message". Words, state and
precision are those of the package ``constriction`` (Bamler 2022, "Understanding
Entropy Coding With Asymmetric Numeral Systems"), whose default decoder reads payloads that are padded with zeros.
"""

from __future__ import annotations

from edgecodec.errors import PacketError

PRECISION = 24
"""Shares are whole multiples of ``2^-PRECISION``."""
TOTAL = 1 << PRECISION
_WORD = 32
_STATE = 64
_MASK = (1 << _STATE) - 1


class RangeEncoder:
    """Writes a payload of at most ``capacity`` bytes."""

    def __init__(self, capacity: int) -> None:
        self._low = 0
        self._range = _MASK
        self._out = bytearray()
        self._capacity = capacity
        self._full = False

    def encode(self, start: int, size: int) -> None:
        """Narrow the interval to ``[start, start + size)`` of :data:`TOTAL`; ``size`` is at least 1."""
        unit = self._range >> PRECISION
        self._add(unit * start)
        self._range = unit * size
        if self._range >> _WORD:
            return
        if len(self._out) + _WORD // 8 > self._capacity:
            self._full = True
        if not self._full:
            self._out += (self._low >> _WORD).to_bytes(_WORD // 8, "big")
        self._low = self._low << _WORD & _MASK
        self._range <<= _WORD

    def finish(self) -> bytes | None:
        """The payload, or None when it is longer than ``capacity``."""
        for count in range(_STATE // 8):
            mask = _MASK >> 8 * count
            distance = -self._low & mask
            if distance < self._range:
                break
        self._add(distance)
        payload = (bytes(self._out) + self._low.to_bytes(_STATE // 8, "big")[:count]).rstrip(b"\0")
        return None if self._full or len(payload) > self._capacity else payload

    def _add(self, amount: int) -> None:
        """Add to the lower end; a carry runs into the bytes that are written, never past the first."""
        self._low += amount
        if self._low <= _MASK:
            return
        self._low &= _MASK
        if self._full:
            return
        at = len(self._out) - 1
        while self._out[at] == 0xFF:
            self._out[at] = 0
            at -= 1
        self._out[at] += 1


class RangeDecoder:
    """Reads what :class:`RangeEncoder` wrote."""

    def __init__(self, payload: bytes) -> None:
        self._data = payload
        self._next = _STATE // 8
        self._offset = int.from_bytes(payload[: self._next].ljust(self._next, b"\0"), "big")
        self._range = _MASK
        self._unit = 0

    def target(self) -> int:
        """A number in the next interval, 0 to 2^24 - 1. Raises PacketError when no interval can hold it."""
        self._unit = self._range >> PRECISION
        found = self._offset // self._unit
        if found >= TOTAL:
            raise PacketError("the payload is of no indices: it lies outside every interval")
        return found

    def advance(self, start: int, size: int) -> None:
        """Go on after the interval ``[start, start + size)``, which holds :meth:`target`."""
        self._offset -= self._unit * start
        self._range = self._unit * size
        if self._range >> _WORD:
            return
        word = self._data[self._next : self._next + _WORD // 8].ljust(_WORD // 8, b"\0")
        self._next += _WORD // 8
        self._offset = self._offset << _WORD | int.from_bytes(word, "big")
        self._range <<= _WORD
