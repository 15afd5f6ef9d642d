"""Frames of ADC counts from the user's recordings (SPEC.md 4)."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgecodec.errors import InputError
from edgecodec.files.atomic import npz_bytes
from edgecodec.signal.collection import find_files
from edgecodec.signal.reader import CountRows, read_counts, to_recordings
from edgecodec.signal.reading import AS_SAID, Reading
from edgecodec.signal.sources import Recording
from edgecodec.signal.summary import RecordingsSummary

_UNKNOWN_HZ = 64.0
"""What stuck and flat samples are looked for by where no rate is known."""


@dataclass(frozen=True)
class FrameSet:
    """Frames, and what they were cut from."""

    frames: npt.NDArray[np.int16]
    """ADC counts ``[N, T]``."""
    starts: npt.NDArray[np.int64]
    """Number of each frame's first sample at the codec's rate, ``[N]``, counted on from recording to recording."""
    gaps: npt.NDArray[np.bool_]
    """Whether each does not follow its predecessor: samples were dropped, or another recording starts, ``[N]``."""
    summary: RecordingsSummary
    """What was read, used and dropped."""
    people: tuple[str, ...]
    """Whose each frame is, ``[N]``; empty texts where nothing says it."""
    rhythms: tuple[str, ...]
    """Rhythm of the heart in each, ``[N]``; empty texts where nothing says it."""


def read_frames(
    path: str | os.PathLike[str], samples: int, codec_hz: float | None, reading: Reading = AS_SAID
) -> FrameSet:
    """Frames of ``samples`` counts, for a codec of ``codec_hz`` (None: not known), of a file, folder or pattern.

    Rows of just ``samples`` at the codec's rate are frames and stay as they are, but for those with missing samples,
    which are dropped. Other rows are recordings: brought to the codec's rate, and cut without overlap; frames with
    missing, clipped or flat samples and what is left between frames are dropped. Raises InputError, which names the
    file, when one is missing, damaged or holds something else, does not say its rate, or gives not one frame.
    """
    cut = _Cut(samples, codec_hz)
    files = find_files([os.fspath(path)])
    for file in files:
        before = len(cut.frames)
        lengths = set()
        for rows in read_counts(file.path, codec_hz, reading):
            lengths.add(rows.counts.shape[1])
            cut.add(rows, file.path, file.person)
        if len(cut.frames) == before and len(files) == 1:
            raise cut.nothing(file.path, max(lengths))
    if not cut.frames:
        raise InputError(f"{path}: no {samples} usable samples in a row in its {len(files)} files")
    starts, gaps = np.concatenate(cut.starts), np.concatenate(cut.gaps)
    gaps[1:] |= np.diff(starts) != samples
    gaps[0] = starts[0] != 0
    frames = np.concatenate(cut.frames)
    return FrameSet(frames, starts, gaps, cut.summary(len(files)), tuple(cut.owners), tuple(cut.rhythms))


def load_frames(
    path: str | os.PathLike[str], samples: int, codec_hz: float | None = None, reading: Reading = AS_SAID
) -> npt.NDArray[np.int16]:
    """The frames of :func:`read_frames`, int16 ``[N, samples]``. Raises InputError."""
    return read_frames(path, samples, codec_hz, reading).frames


def cut_frames(
    recording: npt.NDArray[np.int16], samples: int, source: object = "recording", hop: int | None = None
) -> npt.NDArray[np.int16]:
    """Cut a recording, int16 ``[M]``, into frames, int16 ``[N, samples]``, ``hop`` samples apart.

    By default frames do not overlap. Raises InputError, which names ``source``, when not one frame fits.
    """
    if len(recording) < samples:
        raise InputError(f"{source}: {len(recording)} samples; a frame needs {samples}")
    windows = np.lib.stride_tricks.sliding_window_view(recording, samples)[:: hop or samples]
    return np.ascontiguousarray(windows)


def frames_npz(frames: npt.NDArray[np.int16], rate_hz: float | None) -> bytes:
    """A ``.npz`` of frames ``[N, T]`` that says their rate in Hz, unless it is not known."""
    rate = {} if rate_hz is None else {"rate_hz": np.array(rate_hz)}
    return npz_bytes({"frames": frames, **rate})


@dataclass
class _Cut:
    """Frames cut so far."""

    samples: int
    codec_hz: float | None
    frames: list[npt.NDArray[np.int16]] = field(default_factory=list)
    starts: list[npt.NDArray[np.int64]] = field(default_factory=list)
    gaps: list[npt.NDArray[np.bool_]] = field(default_factory=list)
    passed: int = 0
    """Samples before the recording that is cut."""
    recordings: int = 0
    read_s: float = 0.0
    flaws_s: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(3))
    rates: set[float] = field(default_factory=set)
    people: set[str] = field(default_factory=set)
    notes: dict[str, None] = field(default_factory=dict)
    missing: tuple[int, int] | None = None
    owners: list[str] = field(default_factory=list)
    rhythms: list[str] = field(default_factory=list)

    def add(self, rows: CountRows, path: Path, person: str) -> None:
        """Cut ``rows`` of the file ``path``, which is of ``person`` unless empty."""
        self.recordings += len(rows.counts)
        self.notes |= dict.fromkeys(rows.notes)
        self.people |= {owner or person for owner in rows.owners} - {""}
        if rows.rate_hz is not None:
            self.rates.add(rows.rate_hz)
        rate_hz = self.codec_hz or rows.rate_hz or _UNKNOWN_HZ
        if rows.counts.shape[1] == self.samples and (rows.rate_hz or rate_hz) == rate_hz:
            self._label(rows, person, self._keep(rows.counts, rate_hz))
            return
        for number, recording in enumerate(to_recordings(rows, path.name, rate_hz)):
            self._label(rows, person, np.full(self._cut(recording), number))

    def _label(self, rows: CountRows, person: str, numbers: npt.NDArray[np.integer]) -> None:
        """Note whose the frames just cut are, which are of the rows ``numbers``."""
        self.owners += [rows.owners[number] or person for number in numbers.tolist()]
        self.rhythms += [rows.rhythms[number] for number in numbers.tolist()]

    def _keep(self, counts: npt.NDArray[np.int16] | npt.NDArray[np.float64], rate_hz: float) -> npt.NDArray[np.intp]:
        """Rows that are frames; returns the numbers of those that were kept."""
        whole = np.isfinite(counts).all(axis=1)
        self.read_s += counts.size / rate_hz
        if not whole.all():
            row = int(np.flatnonzero(~whole)[0])
            self.missing = (row, int(np.flatnonzero(~np.isfinite(counts[row]))[0]))
            self.flaws_s[0] += np.sum(~whole) * self.samples / rate_hz
        if whole.any():
            self._take(np.flatnonzero(whole) * self.samples, new=False)
            self.frames.append(np.ascontiguousarray(counts[whole].astype(np.int16)))
        self.passed += counts.size
        return np.flatnonzero(whole)

    def _cut(self, recording: Recording) -> int:
        """Frames of a recording; returns how many."""
        self.read_s += len(recording.samples) / recording.rate_hz
        origin = recording.origin
        self.flaws_s += (origin.gap_s, origin.clipped_s, origin.flat_s)
        starts = recording.starts(self.samples)
        taken: list[int] = []
        place = 0
        while place < len(starts):
            taken.append(int(starts[place]))
            place = int(np.searchsorted(starts, taken[-1] + self.samples))
        if taken:
            self._take(np.array(taken), new=True)
            self.frames.append(recording.samples[np.array(taken)[:, None] + np.arange(self.samples)])
        self.passed += len(recording.samples)
        return len(taken)

    def _take(self, starts: npt.NDArray[np.int64], *, new: bool) -> None:
        """Note where frames lie in what was read, and whether they begin a recording of its own."""
        self.starts.append(self.passed + starts)
        self.gaps.append(np.arange(len(starts)) < new)

    def nothing(self, path: Path, length: int) -> InputError:
        """Why the only file gave no frame, its longest row being of ``length`` samples as recorded."""
        rate_hz = self.codec_hz or _UNKNOWN_HZ
        if self.missing is not None:
            place = f"frame {self.missing[0]}, sample {self.missing[1]}"
            return InputError(f"{path}: NaN or infinity at {place}, and in every other frame; expected ADC counts")
        if length * rate_hz / min(self.rates, default=rate_hz) < self.samples:
            at = f" at {rate_hz:g} Hz" if self.codec_hz else ""
            return InputError(
                f"{path}: rows of {length} samples; a frame of this codec needs {self.samples}{at}",
                hint="a recording is a row of an array, or a column named with --column",
            )
        named = zip(("missing", "clipped", "flat"), self.flaws_s, strict=True)
        found = ", ".join(f"{seconds:.1f} s {name}" for name, seconds in named if seconds) or "all constant"
        return InputError(f"{path}: no {self.samples} usable samples in a row of its {self.read_s:.1f} s ({found})")

    def summary(self, files: int) -> RecordingsSummary:
        """What was read, used and dropped."""
        count = sum(len(frames) for frames in self.frames)
        known = self.codec_hz is not None or len(self.rates) == 1
        rate_hz = self.codec_hz or next(iter(self.rates), _UNKNOWN_HZ)
        used_s = count * self.samples / rate_hz
        gap_s, clipped_s, flat_s = self.flaws_s.tolist() if known else (0.0, 0.0, 0.0)
        return RecordingsSummary(
            files=files,
            people=len(self.people) or None,
            recordings=self.recordings,
            recorded_hz=tuple(sorted(self.rates)),
            rate_hz=self.codec_hz,
            frames=count,
            used_s=used_s if known else None,
            dropped_s=max(self.read_s - used_s, 0.0) if known else None,
            gap_s=gap_s,
            clipped_s=clipped_s,
            flat_s=flat_s,
            notes=tuple(self.notes),
        )
