"""Constants of C structures in memory, by cffi."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from edgecodec.decoding.c_constants import CStruct, CValue, element_type


class CMemory:
    """Structures that live as long as this does."""

    def __init__(self, ffi: Any) -> None:
        self._ffi = ffi
        self._kept: list[Any] = []

    def pointer(self, struct: CStruct) -> Any:
        """A pointer to ``struct`` and all that it leads to."""
        return self._keep(self._ffi.new(f"{struct.type} *", self._fields(struct.fields)))

    def _fields(self, fields: Mapping[str, CValue]) -> dict[str, Any]:
        return {name: self._value(value) for name, value in fields.items()}

    def _value(self, value: CValue) -> Any:
        if value is None:
            return self._ffi.NULL
        if isinstance(value, int | float):
            return value
        if isinstance(value, CStruct):
            return self._fields(value.fields) if value.inline else self.pointer(value)
        if isinstance(value, np.ndarray):
            return self._keep(self._ffi.from_buffer(f"{element_type(value)}[]", np.ascontiguousarray(value)))
        structs = [each for each in value if isinstance(each, CStruct)]
        if structs:
            made = [self._fields(each.fields) for each in structs]
            return self._keep(self._ffi.new(f"{structs[0].type}[]", made))
        arrays = [each for each in value if isinstance(each, np.ndarray)]
        return self._keep(self._ffi.new(f"{element_type(arrays[0])} *[]", [self._value(each) for each in arrays]))

    def _keep(self, thing: Any) -> Any:
        """C knows addresses only: what they lead to must live as long as this."""
        self._kept.append(thing)
        return thing
