"""Constants of C structures as values, for those who make them in memory and those who print them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class CStruct:
    """A structure: its type's name, and its fields.

    A field is a number; or what a pointer leads to: an array of numbers, a structure, a list of structures of one type
    (an array of them) or of arrays (an array of pointers), or None. A structure of :attr:`inline` is a field itself.
    Fields that are not named are 0.
    """

    type: str
    fields: Mapping[str, CValue]
    inline: bool = False


CValue = int | float | npt.NDArray[Any] | CStruct | Sequence[CStruct] | Sequence[npt.NDArray[Any]] | None

_ELEMENTS = {
    np.dtype(np.int8): "int8_t",
    np.dtype(np.uint8): "uint8_t",
    np.dtype(np.int16): "int16_t",
    np.dtype(np.uint16): "uint16_t",
    np.dtype(np.int32): "int32_t",
    np.dtype(np.uint32): "uint32_t",
    np.dtype(np.float32): "float",
}


def element_type(values: npt.NDArray[Any]) -> str:
    """The C type of an array's elements. Raises KeyError for one that no constant has."""
    return _ELEMENTS[values.dtype]
