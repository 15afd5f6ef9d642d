"""A report as a page for people and as JUnit's XML for CI, printed by Jinja with every text escaped."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import jinja2
from markupsafe import Markup

from edgecodec.documents import printable
from edgecodec.files.resources import templates_dir
from edgecodec.report.documents import LevelMargins
from edgecodec.report.margins import EDGES
from edgecodec.report.sections import Report
from edgecodec.verify.compare import Pair
from edgecodec.verify.documents import VerificationDocument

_NOTHING = "nothing was compared"


@dataclass(frozen=True)
class Case:
    """A test case of JUnit."""

    suite: str
    """What was compared with what."""
    name: str
    """The stage, or what was measured."""
    outcome: str
    """``passed``, ``failure``, ``error`` (nothing could be told) or ``skipped``."""
    message: str
    """Why it is not passed."""


def html_page(report: Report) -> str:
    """The page, which needs nothing else: no file, no network, no script."""
    result = report.result
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            report=report,
            document=report.document,
            result=result,
            verification=result if isinstance(result, VerificationDocument) else None,
        )
    )


def junit_xml(report: Report) -> str:
    """A test case for each comparison, or one for a command that compares nothing."""
    cases = _cases(report)
    counts = {
        name: sum(case.outcome == outcome for case in cases)
        for name, outcome in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped"))
    }
    return _environment().get_template("report.xml.j2").render(document=report.document, cases=cases, counts=counts)


def _cases(report: Report) -> list[Case]:
    document, result = report.document, report.result
    if not isinstance(result, VerificationDocument):
        return [Case(document.command, document.verdict, "passed", "")]
    cases = [
        *(_case(pair, exact=pair.exact) for pair in result.pairs),
        *(_case(pair, exact=True) for pair in result.statistics),
    ]
    # No test at all would be taken for success.
    return cases or [Case(document.command, "verdict", "error", _NOTHING)]


def _case(pair: Pair, *, exact: bool) -> Case:
    said = f"{pair.mismatches:,} of {pair.compared:,} values differ"
    if not exact:
        outcome, said = "skipped", f"float, tells and never decides: {said}"
    elif pair.mismatches:
        outcome = "failure"
    elif not pair.compared:
        outcome, said = "error", _NOTHING
    else:
        outcome, said = "passed", ""
    return Case(f"{pair.a} beside {pair.b}", pair.stage, outcome, said)


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(templates_dir()),
        autoescape=True,
        finalize=_finalized,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["number"] = _number
    environment.filters["change"] = _change
    environment.filters["bars"] = _bars
    return environment


def _finalized(value: object) -> object:
    """``value`` as it is printed: texts without control characters, which no escaping of markup touches."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return printable(value)
    return value


def _number(value: float | None, digits: int = 0) -> str:
    """A number with its thousands apart; a dash for none."""
    return "-" if value is None else f"{value:,.{digits}f}"


def _change(value: float) -> str:
    """A difference with its sign, which nothing has not."""
    return f"{value:+.2f}" if abs(value) >= 0.005 else "0.00"


def _bars(margins: LevelMargins) -> list[tuple[str, int, float]]:
    """Each bin of a histogram: what it is called, decisions, and its height in percent of the highest."""
    names = [*(f"<{edge:g}" for edge in EDGES), f"\u2265{EDGES[-1]:g}"]
    most = max(margins.histogram)
    return [(name, count, 100.0 * count / most) for name, count in zip(names, margins.histogram, strict=True)]
