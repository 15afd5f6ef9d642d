"""What was read of recordings, what of it was used and what was dropped, and why."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgecodec.signal.sources import Recording


@dataclass(frozen=True)
class RecordingsSummary:
    """What was read of recordings, what of it was used and what was dropped."""

    files: int
    """Number of files that were read."""
    people: int | None
    """Number of people that files or a data set's layout name; None when they name nobody."""
    recordings: int
    """Number of recordings, or of frames where rows are frames already."""
    recorded_hz: tuple[float, ...]
    """Sampling rates in Hz that recordings were made at, ascending; empty when nobody said any."""
    rate_hz: float | None
    """Sampling rate in Hz that they were brought to; None when the codec's is not known."""
    frames: int | None
    """Number of frames cut; None where crops are drawn from recordings instead."""
    used_s: float | None
    """Seconds used; None when no rate is known."""
    dropped_s: float | None
    """Seconds dropped; None when no rate is known."""
    gap_s: float = 0.0
    """Of the seconds read, those around missing samples."""
    clipped_s: float = 0.0
    """Of the seconds read, those at the end of the sensor's range."""
    flat_s: float = 0.0
    """Of the seconds read, those of a sensor that is stuck or off the skin."""
    notes: tuple[str, ...] = ()
    """What else was done to samples, or how files were understood, each once."""

    @classmethod
    def from_json(cls, document: Any) -> RecordingsSummary | None:
        """What ``documents.to_json`` made of a summary; None of None. Raises TypeError or ValueError."""
        if document is None:
            return None
        values = dict(document)
        lists = {key: tuple(values.get(key, ())) for key in ("recorded_hz", "notes")}
        return cls(**{**values, **lists})

    def describe(self) -> str:
        """One line: ``4 people, 6 recordings, 125 -> 64 Hz, 480 s used, 9 s dropped (gaps 3 s, clipped 6 s)``."""
        of = _count(self.files, "file", "files") if self.people is None else _count(self.people, "person", "people")
        parts = [of, _count(self.recordings, "recording", "recordings"), self._rates()]
        if self.used_s is None:
            parts.append(_count(self.frames or 0, "frame used", "frames used"))
        else:
            parts.append(f"{_seconds(self.used_s)} used")
        if self.dropped_s:
            parts.append(f"{_seconds(self.dropped_s)} dropped{self._causes()}")
        return ", ".join(parts) + "".join(f"; {note}" for note in self.notes)

    def _rates(self) -> str:
        recorded = " and ".join(f"{rate:g}" for rate in self.recorded_hz)
        if not recorded and self.rate_hz is None:
            return "rate not known"
        if self.rate_hz is None or self.recorded_hz in ((), (self.rate_hz,)):
            return f"{recorded or f'{self.rate_hz:g}'} Hz"
        return f"{recorded} -> {self.rate_hz:g} Hz"

    def _causes(self) -> str:
        named = {"gaps": self.gap_s, "clipped": self.clipped_s, "flat": self.flat_s}
        listed = [f"{name} {_seconds(seconds)}" for name, seconds in named.items() if seconds]
        rest = (self.dropped_s or 0.0) - sum(named.values())
        if rest > 0.05:
            listed.append(f"rest of frames {_seconds(rest)}")
        return f" ({', '.join(listed)})" if listed else ""


class Tally:
    """Adds up recordings that crops are drawn from, without keeping them."""

    def __init__(self) -> None:
        self._people: set[str] = set()
        self._rates: set[float] = set()
        self._notes: dict[str, None] = {}
        self._recordings = self._samples = self._valid = 0
        self._flaws_s = np.zeros(3)

    def add(self, recordings: Iterable[Recording]) -> None:
        """Count ``recordings``."""
        for recording in recordings:
            origin = recording.origin
            self._people.add(recording.subject)
            self._rates |= set() if origin.rate_hz is None else {origin.rate_hz}
            self._notes |= dict.fromkeys(origin.notes)
            self._recordings += 1
            self._samples += len(recording.samples)
            self._valid += int(recording.valid.sum())
            self._flaws_s += (origin.gap_s, origin.clipped_s, origin.flat_s)

    def summary(self, files: Collection[str], rate_hz: float) -> RecordingsSummary:
        """What was counted, at ``rate_hz``; a person called like one of ``files`` is one that nobody named."""
        gap_s, clipped_s, flat_s = self._flaws_s.tolist()
        return RecordingsSummary(
            files=len(files),
            people=len(self._people - set(files)) or None,
            recordings=self._recordings,
            recorded_hz=tuple(sorted(self._rates)),
            rate_hz=rate_hz,
            frames=None,
            used_s=self._valid / rate_hz,
            dropped_s=(self._samples - self._valid) / rate_hz,
            gap_s=gap_s,
            clipped_s=clipped_s,
            flat_s=flat_s,
            notes=tuple(self._notes),
        )


def _count(number: int, one: str, several: str) -> str:
    return f"{number:,} {one if number == 1 else several}"


def _seconds(seconds: float) -> str:
    return f"{seconds:,.0f} s" if seconds >= 10 or seconds == round(seconds) else f"{seconds:.1f} s"
