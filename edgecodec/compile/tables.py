"""Constants of C structures, as numbers: what is printed into generated C, and handed to the C by tests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

_LINE_WIDTH = 96
_INDENT = 4


@dataclass(frozen=True, eq=False)
class Table:
    """A constant C array that a field of a C structure points to."""

    name: str
    """The field, and the last part of the array's own name."""
    values: npt.NDArray[Any]
    """The numbers in C order, of any shape; a structured array ``[rows]`` for an array of structures."""
    comment: str
    """Layout and meaning, as they stand above the array."""
    struct: str = ""
    """C type of a row of a structured array; empty for an array of numbers, whose type is that of ``values``."""

    def __post_init__(self) -> None:
        if bool(self.struct) != (self.values.dtype.names is not None):
            raise TypeError(f"table {self.name}: struct {self.struct!r} of values {self.values.dtype}")
        object.__setattr__(self, "values", np.ascontiguousarray(self.values))

    @property
    def ctype(self) -> str:
        """C type of an element."""
        return self.struct or f"{self.values.dtype}_t"

    @property
    def size_bytes(self) -> int:
        """Flash that it takes."""
        return int(self.values.nbytes)


@dataclass(frozen=True, kw_only=True)
class Constants:
    """The members of a C structure, and the arrays that some of them point to."""

    tables: tuple[Table, ...]
    """The arrays, in the order in which they are printed."""
    fields: Mapping[str, int | Table]
    """Members in the order of the structure's initialiser: a number, or the array that it points to."""

    def __post_init__(self) -> None:
        pointed = {value for value in self.fields.values() if isinstance(value, Table)}
        assert pointed == set(self.tables), "each array has a member that points to it"

    def array(self, name: str) -> npt.NDArray[Any]:
        """The values of an array. Raises KeyError when there is none of that name."""
        return {table.name: table for table in self.tables}[name].values

    def number(self, name: str) -> int:
        """A member that is a number. Raises KeyError when there is none of that name, TypeError for an array."""
        value = self.fields[name]
        if isinstance(value, Table):
            raise TypeError(f"{name} is an array")
        return value

    @property
    def table_bytes(self) -> int:
        """Flash of the arrays."""
        return sum(table.size_bytes for table in self.tables)


@dataclass(frozen=True)
class PrintedTable:
    """A constant C array, as its declaration's parts."""

    ctype: str
    """C type of an element."""
    name: str
    """Name of the array."""
    size: int
    """Elements."""
    rows: str
    """The initialiser's lines, indented."""
    comment: str
    """Layout and meaning."""


def structure(**members: npt.DTypeLike | tuple[npt.DTypeLike, int | tuple[int, ...]]) -> np.dtype[np.void]:
    """The type of a C structure's rows: each member is a type, or a type with the shape of an array of it."""
    fields = [(name, *(kind if isinstance(kind, tuple) else (kind,))) for name, kind in members.items()]
    return np.dtype(fields, align=True)


def rows_of(kind: np.dtype[np.void], **members: npt.ArrayLike) -> npt.NDArray[np.void]:
    """A structured array ``[rows]`` of ``kind``, each member given as an array ``[rows, ...]``."""
    arrays = {name: np.asarray(values) for name, values in members.items()}
    rows = np.empty(len(next(iter(arrays.values()))), kind)
    for name, values in arrays.items():
        rows[name] = values
    return rows


def printed(owner: str, table: Table) -> PrintedTable:
    """A table of ``owner``, the first part of its C name."""
    rows = table.values if table.struct else table.values.reshape(-1)
    texts = [_braced(row) for row in rows.tolist()]
    return PrintedTable(table.ctype, f"{owner}_{table.name}", len(texts), number_rows(texts), table.comment)


def _braced(values: Any) -> str:
    """A C initialiser of a number, or of a structure or array as nested tuples and lists."""
    if isinstance(values, list | tuple | np.ndarray):
        return f"{{{', '.join(map(_braced, values))}}}"
    return _literal(int(values))


def _literal(number: int) -> str:
    """INT32_MIN has no literal in C: its digits do not fit int before the sign applies."""
    return "INT32_MIN" if number == -(2**31) else str(number)


def number_rows(texts: Iterable[str]) -> str:
    """The elements of a C array as its rows, indented."""
    lines: list[str] = []
    line = ""
    for text in texts:
        item = f"{text}, "
        if line and len(line) + len(item) > _LINE_WIDTH - _INDENT:
            lines.append(line.rstrip())
            line = ""
        line += item
    lines.append(line.rstrip())
    return "\n".join(" " * _INDENT + row for row in lines)
