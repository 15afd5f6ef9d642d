"""Recordings as TFRecord files: parsed and resampled once, checked, and read back from then on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgecodec.errors import InputError
from edgecodec.files.atomic import write_file
from edgecodec.files.writing import writing
from edgecodec.nn.backend import import_tensorflow, quiet
from edgecodec.signal.collection import SourceFile
from edgecodec.signal.reading import Reading, check_file
from edgecodec.signal.sources import Origin, Recording

FOLDER = ".edgecodec-cache"
"""Beside the data, unless the configuration names another."""
_FORMAT = "edgecodec.recordings.2"
_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class RecordCache:
    """TFRecord files in one folder, each named after the digest of what it was made from.

    A file holds a header and then one ``tf.train.Example`` a recording: ``name``, ``subject``, ``rate_hz``,
    ``samples`` (int16 little-endian bytes), ``valid`` (bits packed into bytes) and ``origin`` (JSON). TFRecord's
    own CRC guards each.
    """

    folder: Path
    build: bool = True
    """Whether to make what is not there."""
    rebuild: bool = False
    """Whether to make it again even if it is."""

    def recordings(self, source: SourceFile, rate_hz: float, reading: Reading) -> list[Recording]:
        """``source.recordings(rate_hz, reading)``, from the cache if its file there is whole.

        A source or setting that changed has another digest, so stale files are never read. Raises InputError when
        the source cannot be read, or when it is not cached and :attr:`build` is off.
        """
        key = _key(source, rate_hz, reading)
        path = self.folder / f"{key}.tfrecord"
        if not self.rebuild:
            found = _read(path, key)
            if found is not None:
                return found
            if not self.build:
                raise InputError(f"{source.path}: not in the cache {self.folder}", hint="set data.cache.auto_build")
        recordings = source.recordings(rate_hz, reading)
        _write(path, key, recordings)
        return recordings


def _key(source: SourceFile, rate_hz: float, reading: Reading) -> str:
    check_file(source.path)
    sha = hashlib.sha256(f"{_FORMAT}\0{source.name}\0{source.person}\0{rate_hz!r}\0{reading!r}\0".encode())
    # The samples of a WFDB record lie beside its header.
    siblings = sorted(source.path.parent.glob(f"{source.path.stem}.*")) if source.path.suffix == ".hea" else []
    try:
        for path in siblings or [source.path]:
            sha.update(path.name.encode() + b"\0")
            with path.open("rb") as file:
                while block := file.read(_BLOCK_BYTES):
                    sha.update(block)
    except OSError as error:
        raise InputError(f"{source.path}: cannot be read ({error.strerror})") from error
    return sha.hexdigest()


def _write(path: Path, key: str, recordings: Sequence[Recording]) -> None:
    tf = import_tensorflow()
    header = _example(tf, format=_FORMAT.encode(), key=key.encode(), count=len(recordings))
    examples = [header, *(_recording_example(tf, recording) for recording in recordings)]
    # TensorFlow writes to a path of its own, and only a whole file takes the name that is looked for.
    with writing(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".part")
    try:
        with quiet(), tf.io.TFRecordWriter(str(beside)) as writer:
            for example in examples:
                writer.write(example.SerializeToString())
        write_file(path, beside.read_bytes())
    except tf.errors.OpError as error:
        raise InputError(f"{path}: cannot be written ({error.message})") from error
    finally:
        beside.unlink(missing_ok=True)


def _read(path: Path, key: str) -> list[Recording] | None:
    """The recordings of a cache file; None when it is missing, cut off, damaged or of another key."""
    if not path.is_file():
        return None
    tf = import_tensorflow()
    try:
        with quiet():
            examples = [tf.train.Example.FromString(data) for data in _records(tf, path)]
        header, body = _values(examples[0]), examples[1:]
        if header["format"] != _FORMAT.encode() or header["key"] != key.encode() or header["count"] != len(body):
            return None
        return [_recording(_values(example)) for example in body]
    except Exception:  # a damaged file raises whatever TensorFlow and protobuf raise; it is made again
        return None


def _records(tf: Any, path: Path) -> Iterator[bytes]:
    yield from tf.data.TFRecordDataset(str(path)).as_numpy_iterator()


def _example(tf: Any, **values: bytes | int | float) -> Any:
    feature = {}
    for name, value in values.items():
        if isinstance(value, bytes):
            feature[name] = tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
        elif isinstance(value, int):
            feature[name] = tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))
        else:
            # A TFRecord's floats are 32 bits; a sampling rate is not always.
            feature[name] = tf.train.Feature(bytes_list=tf.train.BytesList(value=[value.hex().encode()]))
    return tf.train.Example(features=tf.train.Features(feature=feature))


def _recording_example(tf: Any, recording: Recording) -> Any:
    return _example(
        tf,
        name=recording.name.encode(errors="surrogateescape"),
        subject=recording.subject.encode(errors="surrogateescape"),
        rate_hz=float(recording.rate_hz),
        samples=recording.samples.astype("<i2").tobytes(),
        valid=np.packbits(recording.valid).tobytes(),
        origin=json.dumps(asdict(recording.origin)).encode(),
    )


def _values(example: Any) -> dict[str, Any]:
    values = {}
    for name, feature in example.features.feature.items():
        kind = feature.WhichOneof("kind")
        values[name] = getattr(feature, kind).value[0]
    return values


def _recording(values: dict[str, Any]) -> Recording:
    samples = np.frombuffer(values["samples"], "<i2").astype(np.int16)
    valid = np.unpackbits(np.frombuffer(values["valid"], np.uint8), count=len(samples)).astype(bool)
    name, subject = (values[key].decode(errors="surrogateescape") for key in ("name", "subject"))
    origin = json.loads(values["origin"])
    made = Origin(**{**origin, "notes": tuple(origin["notes"])})
    return Recording(name, samples, valid, float.fromhex(values["rate_hz"].decode()), subject, made)
