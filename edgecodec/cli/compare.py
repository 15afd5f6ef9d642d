"""``edgecodec compare``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgecodec.cli.options import json_option, path, subcommand
from edgecodec.cli.output import Streams

if TYPE_CHECKING:
    from rich.console import Console

    from edgecodec.report.comparison import Change, ComparisonDocument

_SHOWN = 40
"""Changes that Markdown has, at most: a comment on a pull request is to be read."""

_WHOLE = 100_000
"""Figures from here on are shown without decimals."""


@subcommand(
    "compare",
    example="edgecodec compare before/report.json after/report.json --fail-if 'flash>+2%' --fail-if 'mismatches>0'\n"
    "edgecodec compare before.json after.json --fail-if 'prdn.mean>1.5' --markdown",
)
@click.argument("a", type=path, metavar="A.json")
@click.argument("b", type=path, metavar="B.json")
@click.option(
    "--fail-if",
    "rules",
    multiple=True,
    metavar="RULE",
    help="NAME OP [+-]NUMBER[%], with OP one of < <= > >= !=: end with 1 when B's figure is so. NUMBER with a sign is "
    "a change from A's, in percent or not. NAME is a figure's, its end, or that without its unit.",
)
@click.option("--markdown", is_flag=True, help="Print Markdown, for a pull request.")
@json_option
@click.pass_obj
def command(streams: Streams, a: Path, b: Path, rules: tuple[str, ...], markdown: bool) -> int:
    """Show which figures changed from one document to another.

    A and B are report.json of two reports, or what one command printed twice with --json. Ends with 0 when no rule
    hit, 1 when one did, and 2 when that could not be told, as for a figure that one of both has not. Figures of parts
    and pairs, and those of one document alone, are shown with -v, and are all in --json.
    """
    from edgecodec.report.comparison import Outcome, Rule, compare_documents

    if markdown and streams.as_json:
        raise click.UsageError("give --markdown or --json, not both")
    document = compare_documents(a, b, [Rule.parse(rule) for rule in rules])
    show = _show_markdown if markdown else _show
    changes = [change for change in document.changes if streams.verbose or not change.is_detail]
    return streams.finish(
        document, lambda console: show(console, document, changes), exit_code=int(document.verdict == Outcome.FAILED)
    )


def _show(console: Console, document: ComparisonDocument, changes: Sequence[Change]) -> None:
    from edgecodec.cli.tables import facts, table

    if document.texts:
        table(console, ("what", "a", "b"), ((each.name, each.a, each.b) for each in document.texts))
        console.print()
    if changes:
        table(console, ("figure", "a", "b", "change", "%"), ((each.name, *_row(each)) for each in changes))
        console.print()
    if document.rules:
        table(
            console,
            ("rule", "figure", "b", "limit", "hit"),
            ((each.rule, each.name, _figure(each.b), _figure(each.limit), each.failed) for each in document.rules),
        )
        console.print()
    facts(console, {"figures": _counted(document, changes), "verdict": str(document.verdict)})


def _show_markdown(console: Console, document: ComparisonDocument, changes: Sequence[Change]) -> None:
    lines = [f"**{document.verdict}**: {_counted(document, changes)}"]
    if document.rules:
        judged = [
            (_code(each.rule), _figure(each.b), _figure(each.limit), "**hit**" if each.failed else "fine")
            for each in document.rules
        ]
        lines += _markdown_table(("rule", "now", "limit", ""), judged)
    if document.texts:
        said = [(_code(each.name), _code(each.a or "-"), _code(each.b or "-")) for each in document.texts]
        lines += _markdown_table(("", "before", "after"), said)
    if changes:
        rows = [(_code(each.name), *_row(each)) for each in changes[:_SHOWN]]
        lines += _markdown_table(("figure", "before", "after", "change", "%"), rows)
    if len(changes) > _SHOWN:
        lines += ["", f"and {len(changes) - _SHOWN} more"]
    console.print("\n".join(lines), soft_wrap=True)


def _markdown_table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    first, *others = header
    align = [":--", *("--:" for _ in others)]
    return ["", *(f"| {' | '.join(row)} |" for row in ((first, *others), tuple(align), *rows))]


def _code(text: str) -> str:
    """``text`` as code, in which Markdown sees no link, name or tag."""
    from edgecodec.cli.output import plain_line

    return f"`{plain_line(text).replace('`', chr(39)).replace('|', chr(92) + '|')}`"


def _counted(document: ComparisonDocument, changes: Sequence[Change]) -> str:
    details = len(document.changes) - len(changes)
    hidden = f", {details:,} of them details (-v)" if details else ""
    return f"{len(document.changes):,} changed{hidden}, {document.figures:,} in both"


def _row(change: Change) -> tuple[str, ...]:
    percent = "-" if change.percent is None else f"{change.percent:+.2f}"
    return _figure(change.a), _figure(change.b), _figure(change.change, sign="+"), percent


def _figure(value: float | None, sign: str = "") -> str:
    """A figure as it is when it is whole or large, else with six digits."""
    if value is None:
        return "-"
    return f"{value:{sign},.0f}" if value == int(value) or abs(value) >= _WHOLE else f"{value:{sign},.6g}"
