import os
import zipfile

import numpy as np
import pytest

from edgecodec.errors import InputError
from tests.tools import require


@pytest.fixture
def backend():
    require("module:tensorflow")
    from edgecodec.nn import backend

    return backend


def test_saved_models_repeat_and_load(backend, tmp_path):
    keras = backend.import_keras()
    from edgecodec.nn import build_encoder_2d

    model = build_encoder_2d(32, base=8, num_stages=3)
    for name in ("a.keras", "b.keras"):
        backend.save_keras(model, tmp_path / name)
    assert (tmp_path / "a.keras").read_bytes() == (tmp_path / "b.keras").read_bytes()
    with zipfile.ZipFile(tmp_path / "a.keras") as archive:
        assert "date_saved" not in archive.read("metadata.json").decode()
        assert {entry.date_time[0] for entry in archive.infolist()} == {1980}
    frames = np.random.default_rng(0).standard_normal((2, 1, 32, 1)).astype(np.float32)
    loaded = keras.models.load_model(tmp_path / "a.keras")
    assert np.array_equal(np.asarray(loaded(frames)), np.asarray(model(frames)))


def test_shared_objects_are_numbered_in_order(backend):
    written = {"date_saved": "now", "x": {"shared_object_id": 77}, "y": [{"shared_object_id": i} for i in (12, 77)]}
    expected = {"x": {"shared_object_id": 0}, "y": [{"shared_object_id": 1}, {"shared_object_id": 0}]}
    assert backend._repeatable(written, {}) == expected


def _speak_and_fail(backend):
    with backend.quiet():
        print("python")
        os.write(2, b"native\n")
        raise ValueError("kept")


def test_quiet_drops_output_and_keeps_errors(backend, capfd):
    with pytest.raises(ValueError, match="kept"):
        _speak_and_fail(backend)
    os.write(2, b"after\n")
    output = capfd.readouterr()
    assert output.out == ""
    assert output.err == "after\n"


def test_another_backend_is_refused(backend, monkeypatch):
    keras = backend.import_keras()
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(InputError, match="'jax'"):
        backend.import_keras()
