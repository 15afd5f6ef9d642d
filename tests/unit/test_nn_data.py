"""Where training data comes from and who it is split among."""

import json

import numpy as np
import pytest

from edgecodec.errors import InputError
from edgecodec.signal.collection import find_files
from edgecodec.signal.reader import file_owners, file_recordings
from edgecodec.signal.reading import Reading
from edgecodec.training.config import parse_config
from edgecodec.training.data import load_data, make_sampler
from edgecodec.training.record_cache import RecordCache
from tests.tflite_builder import ppg_frames
from tests.tools import require


def config(source, **data):
    document = {
        "data": {"files": [str(source)], "rate_hz": 64.0, "frame_size": 64, "batch_size": 16, **data},
        "model": {"num_stages": 2},
        "output": {"calibration_frames": 20, "train_frames": 50},
    }
    return parse_config(document, "test")


@pytest.fixture
def people(tmp_path):
    """Six people with three recordings each in one file, each person at a level of ADC counts of their own."""
    rows = np.concatenate([ppg_frames(3, 640, person) // 8 + 1000 * person for person in range(6)])
    np.savez(tmp_path / "people.npz", adc=rows, subject=np.repeat(np.arange(6), 3), rhythm=np.zeros(18, np.uint8))
    return tmp_path / "people.npz"


@pytest.fixture
def folder(tmp_path):
    """The same people, a file each."""
    for person in range(6):
        np.save(tmp_path / f"person{person}.npy", ppg_frames(3, 640, person) // 8 + 1000 * person)
    return tmp_path


def who(frames):
    return {int(value) for value in np.unique(np.rint((np.asarray(frames, float).mean(axis=1) - 60) / 1000))}


def test_a_file_that_says_whose_its_rows_are(people):
    data = load_data(config(people, split={"validation": "last 1", "test": "last 2"}))
    assert data.split == {"train": ["0", "1", "2"], "validation": ["3"], "test": ["4", "5"]}
    assert data.by_person
    assert (who(data.calibration), who(data.train)) == ({0, 1, 2}, {0, 1, 2})
    assert (who(data.validation), who(data.test), who(data.verify)) == ({3}, {4, 5}, {4, 5})
    shapes = [len(part) for part in (data.calibration, data.train, data.validation, data.test)]
    assert shapes == [20, 50, 30, 60]


def test_a_folder_with_a_file_each(folder):
    data = load_data(config(folder, split={"validation": ["person0.npy"], "test": ["person5.npy"]}))
    assert (who(data.train), who(data.validation), who(data.test)) == ({1, 2, 3, 4}, {0}, {5})


def test_streaming_gives_the_same_people_and_fewer_open_files(folder, monkeypatch):
    settings = {"split": {"validation": ["person0.npy"], "test": ["person5.npy"]}, "time_warp": 0.0}
    whole = load_data(config(folder, **settings))
    streamed = load_data(config(folder, streaming=True, open_files=2, **settings))
    assert streamed.split == whole.split
    assert np.array_equal(streamed.test, whole.test)
    assert np.array_equal(streamed.validation, whole.validation)
    assert who(streamed.train) == who(whole.train)
    assert [shard.starts for shard in streamed.shards] == [3 * (640 - 63)] * 4
    sampler = make_sampler(streamed, config(folder, streaming=True, open_files=2, **settings))
    # Every crop that is drawn must be one of the training people's, and in time all files are drawn from.
    seen = set()
    windows = {}
    for person in range(1, 5):
        for row in np.load(folder / f"person{person}.npy").astype(np.float64):
            for start in range(640 - 63):
                crop = row[start : start + 64]
                windows[np.round((crop - crop.mean()) / np.sqrt(crop.var() + 1e-3), 4)[:6].tobytes()] = person
    for epoch in range(4):
        sampler.start_epoch(epoch)
        assert len(sampler._open) == 2
        for _ in range(20):
            _, targets = sampler.batch()
            seen |= {windows[np.round(crop[:6].astype(np.float64), 4).tobytes()] for crop in targets[:2]
                     if np.round(crop[:6].astype(np.float64), 4).tobytes() in windows}  # fmt: skip
    assert seen == {1, 2, 3, 4}


def test_what_was_read_used_and_dropped(folder):
    """Six people's files, three recordings of 10 s each, one of which lacks its first second."""
    flat_s = load_data(config(folder)).summary.flat_s
    rows = np.load(folder / "person2.npy").astype(np.float64)
    rows[1, :64] = np.nan
    np.save(folder / "person2.npy", rows)
    margin = round(0.1 * 64) / 64
    for settings in ({}, {"streaming": True, "open_files": 2}):
        summary = load_data(config(folder, **settings)).summary
        assert (summary.files, summary.people, summary.recordings) == (6, None, 18)
        assert (summary.recorded_hz, summary.rate_hz) == ((64.0,), 64.0)
        assert (summary.gap_s, summary.flat_s, summary.clipped_s) == (1 + margin, flat_s, 0.0)
        assert summary.dropped_s == 1 + margin + flat_s
        assert summary.used_s == 180 - summary.dropped_s
        assert summary.describe().startswith("6 files, 18 recordings, 64 Hz, 178 s used, 1.8 s dropped (gaps 1.1 s, ")


def test_a_rate_is_never_guessed(people, folder):
    with pytest.raises(InputError, match=r"people\.npz: does not say its sampling rate; the codec's is 64 Hz"):
        load_data(config(people, rate_hz=None))
    require("module:scipy")
    summary = load_data(config(people, rate_hz=128.0)).summary
    assert (summary.people, summary.recorded_hz, summary.rate_hz) == (6, (128.0,), 64.0)
    assert summary.used_s + summary.dropped_s == 90.0
    assert (
        load_data(parse_config({"data": {"source": "synthetic", "synthetic": {"people": 3}}}, "test")).summary is None
    )


def test_sampler_goes_on_where_it_was(people, folder):
    for settings in ({"files": [str(people)]}, {"files": [str(folder)], "streaming": True, "open_files": 2}):
        given = config(people, mix=0.5, beat_scale=0.2, wander=0.3, gaussian_noise=[0, 0.1], time_warp=0.1, **settings)
        data = load_data(given)
        first, second = make_sampler(data, given), make_sampler(data, given)
        first.start_epoch(0)
        for _ in range(30):
            first.batch()
        second.restore(json.loads(json.dumps(first.state())))
        for sampler in (first, second):
            sampler.start_epoch(1)
        for _ in range(20):
            expected, found = first.batch(), second.batch()
            assert np.array_equal(expected[0], found[0])
            assert np.array_equal(expected[1], found[1])
        assert expected[0].shape == (16, 64)
        assert expected[0].dtype == np.float32
        assert not np.array_equal(*expected), "the input carries noise"


def test_people_on_both_sides_are_refused(people, tmp_path):
    with np.load(people) as arrays:
        halves = {name: arrays[name] for name in ("adc", "subject")}
    np.savez(tmp_path / "train.npz", adc=halves["adc"][:10], subject=halves["subject"][:10])
    np.savez(tmp_path / "test.npz", adc=halves["adc"][10:], subject=halves["subject"][10:])
    document = {
        "data": {
            "source": "files",
            "train": [str(tmp_path / "train.npz")],
            "test": [str(tmp_path / "test.npz")],
            "rate_hz": 64.0,
            "frame_size": 64,
        },
        "model": {"num_stages": 2},
    }
    with pytest.raises(InputError, match=r"data\.split: 3 is in both train and test; a codec tested on people"):
        load_data(parse_config(document, "test"))


def test_files_without_people_need_three(tmp_path):
    np.save(tmp_path / "one.npy", ppg_frames(5, 640, 0))
    with pytest.raises(InputError, match="the data is of 1 people"):
        load_data(config(tmp_path))


def test_too_short_for_a_side(tmp_path):
    for person, length in enumerate((640, 640, 50)):
        np.save(tmp_path / f"p{person}.npy", ppg_frames(1, 640, person)[:, :length])
    with pytest.raises(InputError, match=r"data\.split\.test: no 64 usable samples in a row"):
        load_data(config(tmp_path, split={"validation": "first 1", "test": "last 1"}))


def test_broken_collections(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no recordings there"):
        load_data(config(tmp_path / "empty"))
    with pytest.raises(InputError, match="no such file"):
        load_data(config(tmp_path / "none.npz"))
    with pytest.raises(InputError, match="no recordings there"):
        load_data(config(tmp_path / "*.npz"))
    (tmp_path / "notes.txt").write_text("1")
    with pytest.raises(InputError, match=r"notes\.txt: is no file of \.npz"):
        load_data(config(tmp_path / "notes.txt"))
    cases = {
        "truncated": lambda path, whole: path.write_bytes(whole[: len(whole) // 2]),
        "empty": lambda path, whole: path.write_bytes(b""),
        "text": lambda path, whole: path.write_text("hello"),
        "fractions": lambda path, whole: np.savez(path, adc=np.full((3, 640), 0.5)),
        "nan": lambda path, whole: np.savez(path, adc=np.full((3, 640), np.nan)),
        "words": lambda path, whole: np.savez(path, adc=np.full((3, 640), "x")),
        "owners": lambda path, whole: np.savez(path, adc=np.ones((3, 640), int), subject=np.arange(4)),
        "floats": lambda path, whole: np.savez(path, adc=np.ones((3, 640), int), subject=np.zeros(3)),
        "several": lambda path, whole: np.savez(path, a=np.ones((3, 640), int), b=np.ones((3, 640), int)),
        "huge": lambda path, whole: np.savez(path, adc=np.full((3, 640), 40000)),
    }
    np.savez(tmp_path / "good.npz", adc=ppg_frames(3, 640, 0))
    whole = (tmp_path / "good.npz").read_bytes()
    for name, spoil in cases.items():
        path = tmp_path / f"{name} \x1b.npz"
        spoil(path, whole)
        with pytest.raises(InputError) as error:
            load_data(config(path))
        assert name in str(error.value), str(error.value)
        assert "\n" not in str(error.value)
        path.unlink()


def test_whose_rows(tmp_path):
    np.savez(tmp_path / "a.npz", frames=ppg_frames(3, 640, 0), subject=np.array(["b", "a", "b"]), recording=[1, 2, 3])
    assert file_owners(tmp_path / "a.npz") == ["a", "b"]
    assert file_owners(tmp_path / "a.npz", by="recording") == ["1", "2", "3"]
    assert [part.subject for part in file_recordings(tmp_path / "a.npz", 64.0, Reading(64.0))] == ["b", "a", "b"]
    np.save(tmp_path / "b.npy", ppg_frames(1, 640, 0))
    assert file_owners(tmp_path / "b.npy") == []


def test_folders_are_searched_and_hidden_files_left_out(tmp_path):
    for name in ("b.npy", "sub/a.csv", ".hidden/c.npy", ".d.npy", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("1\n2\n")
    assert [file.name for file in find_files([str(tmp_path)])] == ["b.npy", "sub/a.csv"]
    assert [file.name for file in find_files([str(tmp_path / "**" / "*.csv")])] == ["a.csv"]


class TestCache:
    @pytest.fixture(autouse=True)
    def _tensorflow(self):
        require("module:tensorflow")

    @pytest.fixture
    def source(self, people):
        return find_files([str(people)])[0]

    def test_same_data_with_and_without(self, people):
        cached = config(people, cache={"enabled": True})
        first, second, plain = (load_data(settings) for settings in (cached, cached, config(people)))
        for data in (first, second):
            for name in ("calibration", "validation", "test", "verify", "train"):
                assert np.array_equal(getattr(data, name), getattr(plain, name)), name
            assert data.split == plain.split
        assert len(list((people.parent / ".edgecodec-cache").iterdir())) == 1

    def test_written_once(self, source, tmp_path, monkeypatch):
        cache = RecordCache(tmp_path / "cache")
        written = cache.recordings(source, 64.0, Reading(64.0))
        monkeypatch.setattr(type(source), "recordings", None)
        read = cache.recordings(source, 64.0, Reading(64.0))
        for first, second in zip(written, read, strict=True):
            assert (first.name, first.subject, first.rate_hz) == (second.name, second.subject, second.rate_hz)
            assert first.origin == second.origin
            assert np.array_equal(first.samples, second.samples)
            assert np.array_equal(first.valid, second.valid)

    def test_a_changed_source_is_read_again(self, people, source, tmp_path):
        cache = RecordCache(tmp_path / "cache")
        cache.recordings(source, 64.0, Reading(64.0))
        np.savez(people, adc=np.flip(ppg_frames(3, 640, 9)), subject=np.arange(3))
        again = cache.recordings(source, 64.0, Reading(64.0))
        assert np.array_equal(again[0].samples, np.flip(ppg_frames(3, 640, 9))[0])
        assert len(list((tmp_path / "cache").iterdir())) == 2

    def test_damage_is_found_and_mended(self, source, tmp_path):
        cache = RecordCache(tmp_path / "cache")
        expected = cache.recordings(source, 64.0, Reading(64.0))
        (path,) = (tmp_path / "cache").iterdir()
        whole = path.read_bytes()
        flipped = bytearray(whole)
        flipped[len(whole) // 2] ^= 1
        last = whole.rfind(b"people.npz#17")
        for damaged in (b"", whole[:50], whole[: len(whole) // 2], whole[: last - 40], bytes(flipped), b"x" * 99):
            path.write_bytes(damaged)
            found = cache.recordings(source, 64.0, Reading(64.0))
            assert len(found) == len(expected)
            assert path.read_bytes() == whole

    def test_not_cached_and_not_to_be(self, source, tmp_path):
        with pytest.raises(InputError, match="not in the cache"):
            RecordCache(tmp_path / "cache", build=False).recordings(source, 64.0, Reading(64.0))

    def test_unwritable_folder(self, source, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(InputError, match="cannot be written"):
            RecordCache(tmp_path / "file").recordings(source, 64.0, Reading(64.0))
