"""Data sets that are known by the names of their files: which of these are PPG, and of whom."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Layout:
    """Names of a data set's files."""

    name: str
    """What the data set is called."""
    patterns: tuple[re.Pattern[str], ...]
    """Paths within it of files of PPG, ``person`` in each a group; the data set may repeat its recordings in several
    formats, and the first that there is counts."""

    def choose(self, paths: Iterable[str]) -> dict[str, str] | None:
        """Person by path of those of ``paths`` (relative, with ``/``) that hold PPG; None when none does."""
        listed = list(paths)
        for pattern in self.patterns:
            found = {path: match["person"] for path in listed if (match := pattern.search(path))}
            if found:
                return found
        return None


LAYOUTS = (
    # S1/S1.pkl beside S1_activity.csv, S1_quest.csv and the wristband's own archive.
    Layout("PPG-DaLiA or WESAD", (re.compile(r"(?:^|/)(?P<person>S\d+)\.pkl$"),)),
    # bidmc_csv/bidmc_01_Signals.csv and bidmc01.hea hold the same; ..._Numerics.csv and bidmc01n.hea are no waveforms.
    Layout(
        "BIDMC",
        (
            re.compile(r"(?:^|/)bidmc_(?P<person>\d\d)_Signals\.csv$"),
            re.compile(r"(?:^|/)bidmc(?P<person>\d\d)\.hea$"),
            re.compile(r"(?:^|/)(?P<person>bidmc_data)\.mat$"),
        ),
    ),
    # 100001/100001_PPG.hea beside _ECG and _ACC; the first three digits are the person's.
    Layout("BUT PPG", (re.compile(r"(?:^|/)(?P<person>\d{3})\d{3}_PPG\.hea$"),)),
)
"""The data sets known, each by files that no other has."""


def known_files(paths: Iterable[str]) -> dict[str, str] | None:
    """Person by path of the files of PPG when ``paths`` below a folder are a known data set's, else None."""
    listed = list(paths)
    found = [chosen for layout in LAYOUTS if (chosen := layout.choose(listed)) is not None]
    return {path: person for chosen in found for path, person in chosen.items()} or None
