"""Tables of the text output."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from edgecodec.cli.output import plain_line

if TYPE_CHECKING:
    from rich.console import Console

GAP_CELLS = 2
"""Cells between two columns of a table."""


VERDICT_STYLES = {
    "equal": "bold green",
    "different": "bold red",
    "undecided": "bold yellow",
}
"""Styles of verdicts on a terminal; rich leaves them out in pipes and where NO_COLOR is set."""


def facts(console: Console, values: Mapping[str, object]) -> None:
    """Print one ``name value`` line each; what is called a verdict has its colour."""
    from rich.text import Text

    width = max(map(len, values))
    for name, value in values.items():
        style = VERDICT_STYLES.get(str(value), "") if name == "verdict" else ""
        shown = Text(plain_line(str(value)), style)
        console.print(Text(f"{name:<{width}}  ") + shown, soft_wrap=True)


def table(console: Console, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table; columns of numbers go right.

    Where it is wider than the console, cells break between words. Where even their longest words are too wide side by
    side, each row becomes a block of ``name value`` lines.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    content = [list(row) for row in rows]
    cells = [[_cell(value) for value in row] for row in content]
    widths = _widths([list(header), *cells], console.width)
    if widths is None:
        for number, row in enumerate(cells):
            if number:
                console.print()
            facts(console, dict(zip(header, row, strict=True)))
        return
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, collapse_padding=True)
    for column, (name, width) in enumerate(zip(header, widths, strict=True)):
        numeric = bool(content) and all(isinstance(row[column], (int, float)) for row in content)
        made.add_column(name, justify="right" if numeric else "left", width=width)
    for row in cells:
        made.add_row(*map(Text, row))
    console.print(made)


def _widths(rows: Sequence[Sequence[str]], room: int) -> list[int] | None:
    """Cells of each column so that all fit ``room`` and none breaks inside a word; None when there is no such."""
    from rich.cells import cell_len

    columns = list(zip(*rows, strict=True))
    widths = [max(map(cell_len, column)) for column in columns]
    fewest = [max(cell_len(word) for text in column for word in text.split(" ")) for column in columns]
    while sum(widths) + GAP_CELLS * len(widths) > room:
        # The widest gives way, as long as its words allow.
        spare = [column for column, width in enumerate(widths) if width > fewest[column]]
        if not spare:
            return None
        widths[max(spare, key=lambda column: widths[column])] -= 1
    return widths


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
