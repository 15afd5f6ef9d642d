"""Records written by the formats' own libraries are read back to the count."""

import numpy as np
import pytest

from edgecodec.errors import InputError
from edgecodec.signal.reader import file_recordings
from edgecodec.signal.records import read_record
from tests.tools import require

COUNTS = np.rint(2000 + 900 * np.sin(2 * np.pi * np.arange(1280) / 100)).astype(np.int64)


@pytest.fixture
def edf(tmp_path):
    require("module:pyedflib")
    import pyedflib

    path = tmp_path / "night.edf"
    with pyedflib.EdfWriter(str(path), 2, file_type=pyedflib.FILETYPE_EDF) as writer:
        for channel, label in enumerate(("ECG II", "Pleth")):
            header = {"label": label, "dimension": "NU", "sample_frequency": 128, "physical_min": -1.0,
                      "physical_max": 1.0, "digital_min": 0, "digital_max": 4095}  # fmt: skip
            writer.setSignalHeader(channel, header)
        writer.writeSamples([COUNTS[::-1].astype(np.int32).copy(), COUNTS.astype(np.int32)], digital=True)
    return path


@pytest.fixture
def wfdb_record(tmp_path):
    require("module:wfdb")
    import wfdb

    physical = np.stack([COUNTS[::-1], COUNTS], axis=1) / 200.0
    wfdb.wrsamp("rec1", fs=128, units=["mV", "NU"], sig_name=["II", "PLETH"], p_signal=physical, fmt=["16", "16"],
                adc_gain=[200.0, 200.0], baseline=[0, 0], write_dir=str(tmp_path))  # fmt: skip
    return tmp_path / "rec1.hea"


def test_edf(edf):
    counts, rate_hz = read_record(edf)
    assert rate_hz == 128.0
    assert np.array_equal(counts, COUNTS)
    other, _ = read_record(edf, "ecg ii")
    assert np.array_equal(other, COUNTS[::-1])


def test_wfdb(wfdb_record):
    counts, rate_hz = read_record(wfdb_record)
    assert rate_hz == 128.0
    assert np.array_equal(counts, COUNTS)


def test_records_are_resampled(edf):
    require("module:scipy")
    (recording,) = file_recordings(edf, 64.0)
    assert (recording.rate_hz, len(recording.samples)) == (64.0, 640)
    assert recording.valid.all()


def test_wrong_channels(edf):
    with pytest.raises(InputError, match=r"channel 'SpO2' not found; its channels are ECG II, Pleth"):
        read_record(edf, "SpO2")


def test_damaged_records(edf, wfdb_record, tmp_path):
    whole = edf.read_bytes()
    for size in (0, 100, 700):
        edf.write_bytes(whole[:size])
        with pytest.raises(InputError, match=r"night\.edf: cannot be read as \.edf"):
            read_record(edf)
    (tmp_path / "rec1.dat").unlink()
    with pytest.raises(InputError, match=r"rec1\.hea: cannot be read"):
        read_record(wfdb_record)
    wfdb_record.write_bytes(b"\xff\x00nonsense")
    with pytest.raises(InputError, match=r"rec1\.hea: "):
        read_record(wfdb_record)
    with pytest.raises(InputError, match="no such file"):
        read_record(tmp_path / "none.edf")
