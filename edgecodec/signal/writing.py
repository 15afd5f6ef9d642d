"""Recordings written piece by piece, as the reader takes them: CSV, npy, npz, Parquet, EDF and WFDB (SPEC.md 4.2)."""

from __future__ import annotations

import io
import re
import shutil
import warnings
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from edgecodec.errors import InputError, install_extra
from edgecodec.files.atomic import replace_files
from edgecodec.files.temporary import temporary_folder
from edgecodec.signal.reading import MOST_SAMPLES

Values = npt.NDArray[np.float32]
_EXTRA = install_extra("records")
_MISSING = -32768
"""What EDF and WFDB files hold where a sample is missing; WFDB's own value for that."""
_MOST_COUNT = 32767
_FILL = 1 << 16
_ROWS = 1 << 12


@dataclass(frozen=True)
class Recorded:
    """What is written."""

    channels: int
    """C"""
    rate_hz: float | None
    """Sampling rate in Hz; None when it is not known."""
    start_us: int | None = None
    """When sample 0 was taken, in microseconds since 1970-01-01 UTC; None when it is not known."""

    @property
    def names(self) -> list[str]:
        """What the channels are called."""
        return ["ppg"] if self.channels == 1 else [f"ppg_{number}" for number in range(self.channels)]

    @property
    def start(self) -> datetime | None:
        """The start as a time of day, UTC; None when it is not known or is no date."""
        if self.start_us is None:
            return None
        try:
            return datetime.fromtimestamp(self.start_us / 1e6, UTC)
        except (ValueError, OverflowError, OSError):
            return None


class Writer(ABC):
    """A file under way."""

    def __init__(self, paths: list[Path], recorded: Recorded) -> None:
        self._paths, self._recorded = paths, recorded

    @abstractmethod
    def write(self, position: int, values: Values) -> None:
        """Add ADC counts ``[C, n]`` from sample ``position`` on, behind all before; NaN where a channel has none."""

    @abstractmethod
    def finish(self) -> None:
        """Complete the file."""

    @abstractmethod
    def close(self) -> None:
        """Let go of the file, complete or not."""


class _Rows(Writer):
    """A table: a row a sample, none where no channel has one."""

    def _times(self, position: int, count: int) -> tuple[str, npt.NDArray[Any]]:
        """Name and values of the time column: stamps, seconds, or sample numbers where no rate is known."""
        samples = np.arange(position, position + count)
        if self._recorded.rate_hz is None:
            return "sample", samples
        seconds = samples / self._recorded.rate_hz
        if self._recorded.start_us is None:
            return "time [s]", seconds
        return "time", np.rint(seconds * 1e6).astype(np.int64) + self._recorded.start_us


class _Csv(_Rows):
    def __init__(self, paths: list[Path], recorded: Recorded) -> None:
        super().__init__(paths, recorded)
        self._file = paths[0].open("w", encoding="ascii", newline="")
        self._file.write(",".join([self._times(0, 0)[0], *recorded.names]) + "\n")

    def write(self, position: int, values: Values) -> None:
        # Text takes forty times what the numbers do, so few rows at a time.
        for first in range(0, values.shape[1], _ROWS):
            self._lines(position + first, values[:, first : first + _ROWS])

    def _lines(self, position: int, values: Values) -> None:
        name, times = self._times(position, values.shape[1])
        if name == "time":
            # A list of str: NumPy's own texts take three times as long to go through.
            clock = [f"{text}+00:00" for text in np.datetime_as_string(times.astype("datetime64[us]")).tolist()]
        else:
            clock = [f"{time:.6f}" for time in times.tolist()] if name != "sample" else list(map(str, times.tolist()))
        columns = [["" if value != value else f"{value:.9g}" for value in row.tolist()] for row in values]
        self._file.write("\n".join(map(",".join, zip(clock, *columns, strict=True))) + "\n")

    def finish(self) -> None:
        self._file.flush()

    def close(self) -> None:
        self._file.close()


class _Parquet(_Rows):
    def __init__(self, paths: list[Path], recorded: Recorded) -> None:
        super().__init__(paths, recorded)
        try:
            import pyarrow
            from pyarrow import parquet
        except ImportError as error:
            raise InputError(f"Parquet needs pyarrow ({error})", hint=_EXTRA) from error
        self._arrow: Any = pyarrow
        clock = {"sample": pyarrow.int64(), "time [s]": pyarrow.float64(), "time": pyarrow.timestamp("us", "UTC")}
        name = self._times(0, 0)[0]
        fields = [(name, clock[name]), *((each, pyarrow.float32()) for each in recorded.names)]
        self._schema: Any = pyarrow.schema(fields)
        self._writer: Any = parquet.ParquetWriter(str(paths[0]), self._schema)
        self._waiting: list[Any] = []

    def write(self, position: int, values: Values) -> None:
        times = self._times(position, values.shape[1])[1]
        columns = [self._arrow.array(times, self._schema.field(0).type)]
        columns += [self._arrow.array(row, self._arrow.float32(), from_pandas=True) for row in values]
        self._waiting.append(self._arrow.Table.from_arrays(columns, schema=self._schema))
        if sum(len(table) for table in self._waiting) >= _FILL:
            self._flush()

    def _flush(self) -> None:
        if self._waiting:
            self._writer.write_table(self._arrow.concat_tables(self._waiting))
            self._waiting = []

    def finish(self) -> None:
        self._flush()
        self._writer.close()

    def close(self) -> None:
        self._writer.close()


class _Grid(Writer):
    """A regular file: all samples from 0 to the last one, filled where there is none."""

    def __init__(self, paths: list[Path], recorded: Recorded) -> None:
        super().__init__(paths, recorded)
        self._length = 0

    def write(self, position: int, values: Values) -> None:
        if (position + values.shape[1]) * self._recorded.channels > MOST_SAMPLES:
            raise InputError(
                f"a stream of sample {position + values.shape[1]:,} in {self._recorded.channels} channels; at most "
                f"{MOST_SAMPLES:,} samples are filled up",
                hint="take .csv or .parquet, which leave gaps out",
            )
        while self._length < position:
            count = min(_FILL, position - self._length)
            self._append(np.full((self._recorded.channels, count), np.nan, np.float32))
        self._append(values)

    def _append(self, values: Values) -> None:
        self._add(values)
        self._length += values.shape[1]

    @abstractmethod
    def _add(self, values: Values) -> None:
        """Add samples ``[C, n]`` behind the last one."""

    @staticmethod
    def _counts(values: Values) -> npt.NDArray[np.int16]:
        """Whole counts int16, those that are missing at the value that says so."""
        known = np.clip(np.rint(values), _MISSING + 1, _MOST_COUNT)
        return np.where(np.isnan(values), _MISSING, known).astype(np.int16)


class _Npy(_Grid):
    """One array ``[C, M]``, sample by sample; its header is written again once M is known."""

    def __init__(self, paths: list[Path], recorded: Recorded) -> None:
        super().__init__(paths, recorded)
        self._file: BinaryIO = paths[0].open("w+b")
        self._header()

    def _header(self) -> None:
        shape = (self._recorded.channels, self._length)
        header = {"descr": "<f4", "fortran_order": True, "shape": shape}
        self._file.seek(0)
        np.lib.format.write_array_header_1_0(self._file, header)

    def _add(self, values: Values) -> None:
        self._file.write(np.ascontiguousarray(values.T, "<f4").tobytes())

    def finish(self) -> None:
        # NumPy leaves room in a header for the axis that grows.
        self._header()
        self._file.flush()

    def close(self) -> None:
        self._file.close()


class _Npz(_Npy):
    """``ppg``, ``rate_hz`` and ``start`` (ISO 8601), the last two when they are known, and ``units``."""

    def __init__(self, paths: list[Path], recorded: Recorded) -> None:
        super().__init__([paths[1]], recorded)
        self._archive, self._array = paths

    def finish(self) -> None:
        super().finish()
        more: dict[str, Any] = {"units": "adc counts"}
        if self._recorded.rate_hz is not None:
            more["rate_hz"] = self._recorded.rate_hz
        if self._recorded.start is not None:
            more["start"] = self._recorded.start.isoformat()
        with zipfile.ZipFile(self._archive, "w", zipfile.ZIP_STORED) as archive:
            with (
                self._array.open("rb") as source,
                archive.open(zipfile.ZipInfo("ppg.npy"), "w", force_zip64=True) as target,
            ):
                shutil.copyfileobj(source, target)
            for name, value in more.items():
                entry = io.BytesIO()
                np.lib.format.write_array(entry, np.array(value), allow_pickle=False)
                archive.writestr(zipfile.ZipInfo(f"{name}.npy"), entry.getvalue())


class _Edf(_Grid):
    """EDF+: whole counts; an annotation says where samples are missing."""

    def __init__(self, paths: list[Path], recorded: Recorded) -> None:
        super().__init__(paths, recorded)
        try:
            import pyedflib
        except ImportError as error:
            raise InputError(f"EDF needs pyedflib ({error})", hint=_EXTRA) from error
        rate = Fraction(_rate(recorded, "EDF")).limit_denominator(60)
        # Data records of whole samples and whole seconds; pyedflib takes samples a record and its length.
        self._record, self._seconds = rate.numerator, rate.denominator
        if abs(float(rate) / _rate(recorded, "EDF") - 1) > 1e-9 or self._record > 30_000:
            raise InputError(f"EDF cannot hold {recorded.rate_hz:g} Hz in records of up to 60 whole seconds")
        self._waiting = np.empty((recorded.channels, 0), np.int16)
        self._gap: int | None = None
        self._at = 0
        self._writer: Any = pyedflib.EdfWriter(str(paths[0]), recorded.channels, pyedflib.FILETYPE_EDFPLUS)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that a record's length changes what a rate means is as it should be
            self._writer.setDatarecordDuration(self._seconds)
        self._writer.setSignalHeaders(
            [
                {
                    "label": name,
                    "dimension": "counts",
                    "sample_frequency": self._record / self._seconds,
                    "physical_min": _MISSING,
                    "physical_max": _MOST_COUNT,
                    "digital_min": _MISSING,
                    "digital_max": _MOST_COUNT,
                    "transducer": "",
                    "prefilter": "",
                }
                for name in recorded.names
            ]
        )
        if recorded.start is not None and 1985 <= recorded.start.year <= 2084:  # what EDF's years stand for
            self._writer.setStartdatetime(recorded.start.replace(tzinfo=None))

    def _add(self, values: Values) -> None:
        missing = np.isnan(values).any(axis=0)
        edges = np.flatnonzero(np.diff(np.concatenate([[self._gap is not None], missing]).astype(np.int8)))
        for edge in edges.tolist():
            if self._gap is None:
                self._gap = self._length + edge
            else:
                self._annotate(self._length + edge)
        self._waiting = np.concatenate([self._waiting, self._counts(values)], axis=1)
        while self._waiting.shape[1] >= self._record:
            self._records(self._waiting[:, : self._record])
            self._waiting = self._waiting[:, self._record :]

    def _annotate(self, end: int) -> None:
        assert self._gap is not None
        rate = self._record / self._seconds
        self._writer.writeAnnotation(self._gap / rate, (end - self._gap) / rate, "missing")
        self._gap = None

    def _records(self, counts: npt.NDArray[np.int16]) -> None:
        for row in counts:
            self._writer.writeDigitalShortSamples(np.ascontiguousarray(row))

    def finish(self) -> None:
        if self._gap is not None:
            self._annotate(self._length)
        left = -self._waiting.shape[1] % self._record
        if self._waiting.shape[1]:
            self._gap = self._length
            self._records(np.pad(self._waiting, ((0, 0), (0, left)), constant_values=_MISSING))
            if left:
                self._annotate(self._length + left)
        self._writer.close()

    def close(self) -> None:
        self._writer.close()


class _Wfdb(_Grid):
    """A WFDB record of format 16: a header and the samples beside it, missing ones as WFDB has them."""

    def __init__(self, paths: list[Path], recorded: Recorded, name: str) -> None:
        super().__init__(paths, recorded)
        try:
            import wfdb
        except ImportError as error:
            raise InputError(f"WFDB needs wfdb ({error})", hint=_EXTRA) from error
        if not re.fullmatch(r"[-\w]+", name, re.ASCII):
            raise InputError(f"{name}.hea: names of WFDB records have letters, digits, - and _ alone")
        self._wfdb: Any = wfdb
        self._rate_hz = _rate(recorded, "WFDB")
        self._name, (self._samples, self._head) = name, paths
        self._first: list[int] | None = None
        self._sums = np.zeros(recorded.channels, np.int64)
        self._file: BinaryIO = self._samples.open("wb")

    def _add(self, values: Values) -> None:
        counts = self._counts(values)
        if self._first is None and counts.shape[1]:
            self._first = counts[:, 0].tolist()
        self._sums += counts.sum(axis=1, dtype=np.int64)
        self._file.write(np.ascontiguousarray(counts.T, "<i2").tobytes())

    def finish(self) -> None:
        self._file.flush()
        count = self._recorded.channels
        # The checksum is the sum of the samples in 16 bits, signed.
        sums = [int(total + 32768) % 65536 - 32768 for total in self._sums.tolist()]
        start = self._recorded.start
        record: Any = self._wfdb.Record(
            record_name=self._name,
            n_sig=count,
            fs=self._rate_hz,
            sig_len=self._length,
            base_time=None if start is None else start.time(),
            base_date=None if start is None else start.date(),
            file_name=[f"{self._name}.dat"] * count,
            fmt=["16"] * count,
            adc_gain=[1.0] * count,
            baseline=[0] * count,
            units=["counts"] * count,
            adc_res=[16] * count,
            adc_zero=[0] * count,
            init_value=self._first or [0] * count,
            checksum=sums,
            block_size=[0] * count,
            sig_name=self._recorded.names,
        )
        record.set_defaults()
        with temporary_folder("wfdb") as folder:
            record.wrheader(write_dir=str(folder))
            shutil.copyfile(folder / f"{self._name}.hea", self._head)

    def close(self) -> None:
        self._file.close()


def _rate(recorded: Recorded, kind: str) -> float:
    if recorded.rate_hz is None:
        raise InputError(f"{kind} needs a sampling rate, and neither stream nor bundle says one", hint="take .csv")
    return recorded.rate_hz


_WRITERS: dict[str, type[Writer]] = {".csv": _Csv, ".npy": _Npy, ".npz": _Npz, ".parquet": _Parquet, ".edf": _Edf}
WRITTEN = (*_WRITERS, ".hea")
"""Suffixes of the files that are written; ``.hea`` is the header of a WFDB record, beside which its ``.dat`` lies."""


@contextmanager
def written(path: Path, recorded: Recorded) -> Iterator[Writer]:
    """A writer of the file that ``path``'s suffix names, which appears whole or not at all.

    Raises InputError for another suffix, when the library of its format is missing, and when it cannot be written.
    """
    suffix = path.suffix.lower()
    if suffix not in WRITTEN:
        raise InputError(f"{path}: ends in {suffix or 'nothing'!r}; expected {', '.join(WRITTEN)}")
    if suffix == ".hea":
        with replace_files(path.with_suffix(".dat"), path) as paths:
            yield from _used(_Wfdb(paths, recorded, path.stem))
        return
    with replace_files(path) as paths:
        if suffix != ".npz":
            yield from _used(_WRITERS[suffix](paths, recorded))
            return
        array = paths[0].with_suffix(".npy.part")
        try:
            yield from _used(_Npz([*paths, array], recorded))
        finally:
            array.unlink(missing_ok=True)


def _used(writer: Writer) -> Iterator[Writer]:
    try:
        yield writer
        writer.finish()
    finally:
        writer.close()
