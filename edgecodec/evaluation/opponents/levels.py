"""Whole numbers as symbols of a small alphabet and bits behind them: Exp-Golomb codes with four symbols an octave.

Magnitudes below 8 are symbols of their own. Above, an octave has four, and what tells the magnitudes of a symbol apart
is sent as it is: over so narrow a range they are about as likely.

Source: J. Teuhola 1978, "A compression method for clustered bit-vectors" (Exp-Golomb).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Levels = npt.NDArray[np.int64]
"""Quantised coefficients, or their magnitudes."""
_PLAIN = 8
_OCTAVE_SYMBOLS_BITS = 2


def symbols_of(magnitudes: Levels) -> Levels:
    """Symbol of each magnitude, 0 and up, of any shape."""
    octave = _octave(magnitudes)
    within = (magnitudes >> np.maximum(octave - _OCTAVE_SYMBOLS_BITS, 0)) - (1 << _OCTAVE_SYMBOLS_BITS)
    above = _PLAIN + ((octave - 3) << _OCTAVE_SYMBOLS_BITS) + within
    return np.asarray(np.where(magnitudes < _PLAIN, magnitudes, above), np.int64)


def bits_behind(magnitudes: Levels) -> Levels:
    """Bits that tell each magnitude apart from the others of its symbol."""
    return np.asarray(np.where(magnitudes < _PLAIN, 0, _octave(magnitudes) - _OCTAVE_SYMBOLS_BITS), np.int64)


def first_magnitudes(symbols: int) -> Levels:
    """The least magnitude of each of ``symbols`` symbols, and of the one behind them."""
    number = np.arange(symbols + 1)
    octave, within = np.divmod(np.maximum(number - _PLAIN, 0), 1 << _OCTAVE_SYMBOLS_BITS)
    above = ((1 << _OCTAVE_SYMBOLS_BITS) + within) << (octave + 1)
    return np.asarray(np.where(number < _PLAIN, number, above), np.int64)


def _octave(magnitudes: Levels) -> Levels:
    """``floor(log2)`` of each magnitude, at least 3."""
    return np.maximum(np.frexp(np.maximum(magnitudes, 1).astype(np.float64))[1].astype(np.int64) - 1, 3)
