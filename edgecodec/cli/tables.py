"""Tables of the text output."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from edgecodec.cli.output import plain_line

if TYPE_CHECKING:
    from rich.console import Console


def facts(console: Console, values: Mapping[str, object]) -> None:
    """Print one ``name value`` line each."""
    width = max(map(len, values))
    for name, value in values.items():
        console.print(f"{name:<{width}}  {plain_line(str(value))}", soft_wrap=True)


def table(console: Console, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table; columns of numbers go right."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    content = [list(row) for row in rows]
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, collapse_padding=True)
    for column, name in enumerate(header):
        numeric = bool(content) and all(isinstance(row[column], (int, float)) for row in content)
        made.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for row in content:
        made.add_row(*(Text(_cell(value)) for value in row))
    console.print(made)


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4g}"
    return plain_line(str(value)) if str(value) else ""
