"""What a codec is quantised from: encoder, decoder and codebooks as files or objects, and frames to judge with."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from edgecodec.codec.arrays import Frames, as_frames
from edgecodec.codec.graph import Graph
from edgecodec.codec.numerics import BY_BITS
from edgecodec.codec.tflite_reader import read_graph
from edgecodec.decoding.decoder import FloatDecoder
from edgecodec.documents import Json
from edgecodec.errors import EdgecodecError, InputError, QuantizationError
from edgecodec.files.limits import MODEL
from edgecodec.files.regular import read_regular
from edgecodec.nn.backend import keras_bytes
from edgecodec.quantization.codebooks import FloatArray, check_codebooks, open_codebooks
from edgecodec.quantization.convert import check_calibration, convert_decoder, convert_encoder
from edgecodec.quantization.deploy_manifest import read_deploy_manifest
from edgecodec.quantization.keras_files import copy_of
from edgecodec.quantization.keras_models import load_plain_decoder, load_plain_encoder, plain_decoder, plain_encoder
from edgecodec.quantization.tflite_ends import without_ends
from edgecodec.signal.frames import read_frames
from edgecodec.signal.normalize import ZSCORE, Normalization, ZScore
from edgecodec.signal.reading import AS_SAID, Reading, check_ppg_rate
from edgecodec.signal.summary import RecordingsSummary
from edgecodec.training.run import TrainingRun

File = str | os.PathLike[str]
GivenFrames = File | npt.NDArray[np.integer[Any]]
"""A file or folder of recordings (SPEC.md 4), or ADC counts as whole numbers ``[N, T]`` that fit int16."""
GivenCodebooks = File | Sequence[npt.NDArray[np.floating[Any]]]
"""What :func:`edgecodec.quantization.codebooks.open_codebooks` reads: files, or ``[K, D]``, one a level."""

_VERIFY_FRAMES = 1000
_HELD_OUT_EVERY = 5
_HELD_OUT = "every fifth calibration frame, not calibrated on"
_TOO_FEW = "the calibration frames themselves (too few to hold any out)"
_IN_MEMORY = "frames given"
_ENCODERS = ("encoder.keras", "encoder.tflite", "encoder_int8.tflite")
_CODEBOOKS = ("codebook.npz", "codebooks.npz")
_DECODERS = ("decoder.keras", "decoder_float32.tflite")


class Encoder(Protocol):
    """An encoder to make a bundle of."""

    @property
    def name(self) -> str:
        """What the bundle is called unless the user says otherwise."""
        ...

    @property
    def samples(self) -> int:
        """T, ADC counts of a frame."""
        ...

    @property
    def channels(self) -> int:
        """D, channels of the latent."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """What was done to the model that was given, a phrase each."""
        ...

    @property
    def float_model(self) -> Any | None:
        """Keras model from normalised frames ``(1, T, 1)`` to latents ``(1, P, D)``; None where only integers are."""
        ...

    @property
    def keras_file(self) -> bytes | None:
        """:attr:`float_model` as a ``.keras`` file; None where it cannot be saved as one."""
        ...

    def to_integers(self, calibration: Frames, normalization: Normalization, activations: int | None = None) -> bytes:
        """TFLite file in integers, ranges from frames ``calibration`` int16 ``[N, T]`` after ``normalization``.

        ``activations`` are their bits, 8 or 16.
        """
        ...


@dataclass(frozen=True)
class KerasEncoder:
    """A float encoder still to be quantised: a Keras model, or a SavedModel."""

    name: str
    """Name of its file without suffix, or of the model."""
    float_model: Any
    """Keras model or :class:`~edgecodec.quantization.keras_files.SavedEncoder`, ``(1, T, 1)`` to ``(1, P, D)``."""
    keras_file: bytes | None
    """The model as a ``.keras`` file; None for a SavedModel, of which only a function is known."""

    notes: tuple[str, ...] = ()
    """What was done to the model that was given, a phrase each."""

    @classmethod
    def load(cls, path: Path) -> KerasEncoder:
        """Load a ``.keras`` or ``.h5`` file or SavedModel folder. Raises InputError or QuantizationError."""
        plain = load_plain_encoder(path)
        if path.is_dir():
            return cls(path.stem, plain.model, None, plain.notes)
        as_it_is = plain.is_given and path.suffix == ".keras"
        data = read_regular(path, "a Keras model", MODEL) if as_it_is else keras_bytes(plain.model)
        return cls(path.stem, plain.model, data, plain.notes)

    @classmethod
    def of(cls, model: Any) -> KerasEncoder:
        """Take a Keras model. Raises QuantizationError when its shape or a layer cannot be quantised."""
        plain = plain_encoder(model, "encoder")
        return cls(str(model.name), plain.model, keras_bytes(plain.model), plain.notes)

    @property
    def samples(self) -> int:
        """T, ADC counts of a frame."""
        return int(self.float_model.input_shape[2])

    @property
    def channels(self) -> int:
        """D, channels of the latent."""
        return int(self.float_model.output_shape[-1])

    def to_integers(self, calibration: Frames, normalization: Normalization, activations: int | None = None) -> bytes:
        """Convert by the ranges on ``calibration`` int16 ``[N, T]``; raises as ``convert_encoder`` does."""
        data, _ = convert_encoder(self.float_model, calibration, normalization, BY_BITS[activations or 8])
        return data


@dataclass(frozen=True)
class TfliteEncoder:
    """A finished encoder in integers, whose bytes are kept but for float ends."""

    name: str
    """Name of its file without suffix."""
    data: bytes
    """TFLite file, integers at both ends."""
    notes: tuple[str, ...] = ()
    """What was done to the file that was given, a phrase each."""
    float_model: None = field(default=None, init=False)
    """None: what the integers were rounded from is not known."""
    keras_file: None = field(default=None, init=False)
    """None: there is no float encoder to keep."""

    @classmethod
    def load(cls, path: Path) -> TfliteEncoder:
        """Read a ``.tflite`` file. Raises InputError or UnsupportedOpError, which name it."""
        given = read_regular(path, "an INT8 encoder", MODEL)
        try:
            return cls.of(given, path.stem)
        except EdgecodecError as error:
            error.within(str(path))
            raise

    @classmethod
    def of(cls, given: bytes, name: str = "encoder") -> TfliteEncoder:
        """Take the bytes of a ``.tflite`` file. Raises InputError or UnsupportedOpError."""
        data, notes = without_ends(given)
        read_graph(data)
        return cls(name, data, notes)

    @property
    def samples(self) -> int:
        """T, ADC counts of a frame."""
        return read_graph(self.data).input.width

    @property
    def channels(self) -> int:
        """D, channels of the latent."""
        return read_graph(self.data).latent.channels

    def to_integers(self, calibration: Frames, normalization: Normalization, activations: int | None = None) -> bytes:
        """The file as it is; ``calibration`` and ``normalization`` change nothing.

        Raises QuantizationError when its ``activations`` have other bits.
        """
        numerics = read_graph(self.data).input.numerics
        if activations is not None and numerics != BY_BITS[activations]:
            raise QuantizationError(
                f"the encoder is a finished file of {numerics.name}, not of {activations}-bit activations",
                hint="leave --activations out, or give the Keras model that it was converted from",
            )
        return self.data


def open_encoder(given: Any) -> Encoder:
    """An encoder from a ``.keras`` or ``.tflite`` file, a SavedModel folder, a Keras model or bytes of a TFLite file.

    One that was opened is returned as it is.

    Raises InputError, QuantizationError or UnsupportedOpError.
    """
    if isinstance(given, KerasEncoder | TfliteEncoder):
        return given
    if isinstance(given, bytes):
        return TfliteEncoder.of(given)
    if not isinstance(given, str | os.PathLike):
        return KerasEncoder.of(given)
    path = Path(given)
    return TfliteEncoder.load(path) if path.suffix == ".tflite" else KerasEncoder.load(path)


@dataclass(frozen=True)
class KerasDecoder:
    """A float decoder as a Keras model."""

    given: Any
    """Path of a ``.keras`` or ``.h5`` file, or the model, ``(1, P, D)`` to ``(1, T, 1)`` or with
    other axes of size 1."""

    def model(self, graph: Graph) -> Any:
        """A copy of the model of its own, to train, checked against the encoder's ``graph``.

        Raises InputError or QuantizationError.
        """
        shape = (graph.latent.width, graph.latent.channels, graph.input.width)
        if isinstance(self.given, Path):
            return load_plain_decoder(self.given, *shape)
        return copy_of(plain_decoder(self.given, "decoder", *shape))

    def to_tflite(self, graph: Graph) -> bytes:
        """The float32 TFLite file for latents of ``graph``. Raises InputError or QuantizationError."""
        return convert_decoder(self.model(graph))


@dataclass(frozen=True)
class TfliteDecoder:
    """A finished float32 decoder."""

    data: bytes
    """TFLite file."""
    where: str = "decoder"
    """What messages call it."""

    @classmethod
    def load(cls, path: Path) -> TfliteDecoder:
        """Read a ``.tflite`` file. Raises InputError."""
        return cls(read_regular(path, "a float32 decoder", MODEL), str(path))

    def to_tflite(self, graph: Graph) -> bytes:
        """The file as it is. Raises BundleError unless it is for latents of ``graph``."""
        FloatDecoder(self.data, graph.latent.width, graph.latent.channels, graph.input.width, self.where)
        return self.data


Decoder = KerasDecoder | TfliteDecoder


def open_decoder(given: Any) -> Decoder:
    """A decoder from a ``.keras`` or ``.tflite`` file, a Keras model or the bytes of a TFLite file.

    Raises InputError when a ``.tflite`` file cannot be read; Keras files are read when they are used.
    """
    if isinstance(given, bytes):
        return TfliteDecoder(given)
    if not isinstance(given, str | os.PathLike):
        return KerasDecoder(given)
    path = Path(given)
    return TfliteDecoder.load(path) if path.suffix == ".tflite" else KerasDecoder(path)


@dataclass(frozen=True)
class Source:
    """A trained codec and the frames that go with it, all ADC counts int16 ``[N, T]``.

    Raises QuantizationError when the calibration frames cannot calibrate.
    """

    name: str
    """What the bundle is called."""
    encoder: Encoder
    """Float or INT8 encoder."""
    codebooks: Sequence[FloatArray]
    """Float codebooks ``[K, D]``, one a level."""
    decoder: Decoder | None
    """Float decoder; None when the bundle is to have none."""
    calibration: Frames
    """Frames that show the ranges of activations."""
    validation: Frames
    """Frames to choose the best candidate on."""
    validation_source: str
    """Name of the file that :attr:`validation` is from, or how it was held out."""
    held_out: bool
    """Whether :attr:`validation` is of the same recordings as :attr:`calibration`."""
    verify: Frames
    """Frames that the bundle ships for verification."""
    figures: Frames
    """Frames that the quality of the candidate kept is measured on."""
    normalization: Normalization
    """How the encoder's frames are normalised."""
    biases: Sequence[FloatArray] | None = None
    """What choosing each code costs beside its squared distance, ``[K]`` a level in squared units of the latent."""
    rate_hz: float | None = None
    """Sampling rate in Hz; None when it is not known."""
    levels: int | None = None
    """Number of codebooks that the model was trained with; None when it is not known."""
    train: Frames | None = None
    """Frames of people trained on, to fit an index prior to; None when there are none."""
    provenance: Json = field(default_factory=dict)
    """What the bundle's manifest keeps of training."""
    notes: tuple[str, ...] = ()
    """What was left out, taken apart or taken from other files to read the parts, a phrase each."""
    reading: Reading = AS_SAID
    """What the user says of recordings."""
    recordings: dict[str, RecordingsSummary] = field(default_factory=dict)
    """What was read of each file, used and dropped, by what its frames are for."""

    def __post_init__(self) -> None:
        check_calibration(self.calibration, self.encoder.samples)

    @classmethod
    def of(
        cls,
        encoder: Any,
        codebooks: GivenCodebooks,
        calibration: GivenFrames | None,
        *,
        decoder: Any | None = None,
        validation: GivenFrames | None = None,
        name: str | None = None,
        rate_hz: float | None = None,
        normalization: Normalization | None = None,
        reading: Reading = AS_SAID,
    ) -> Source:
        """A codec trained elsewhere, as :func:`edgecodec.quantization.quantize` takes it.

        Without ``validation``, one in five of the calibration frames is held out in its place.
        Raises InputError, QuantizationError or UnsupportedOpError.
        """
        if calibration is None:
            raise QuantizationError(
                "no calibration frames", hint="give real frames of the sensor with --calibration FILE"
            )
        if rate_hz is not None:
            check_ppg_rate(rate_hz)
        opened = open_encoder(encoder)
        recordings: dict[str, RecordingsSummary] = {}
        given = FrameReader(opened.samples, rate_hz, reading, recordings)
        frames = given.frames(calibration, "calibration")
        try:
            check_calibration(frames, opened.samples)
        except EdgecodecError as error:
            error.within(str(calibration) if isinstance(calibration, str | os.PathLike) else "calibration")
            raise
        used, judged, origin, held_out = _split(frames, validation, given)
        books = open_codebooks(codebooks)
        try:
            check_codebooks(books.levels, opened.channels)
        except EdgecodecError as error:
            if isinstance(codebooks, str | os.PathLike):
                error.within(str(codebooks))
            raise
        return cls(
            name=name or opened.name,
            encoder=opened,
            codebooks=books.levels,
            decoder=None if decoder is None else open_decoder(decoder),
            calibration=used,
            validation=judged,
            validation_source=origin,
            held_out=held_out,
            verify=judged[:_VERIFY_FRAMES],
            figures=judged,
            normalization=normalization or ZSCORE,
            biases=books.biases,
            rate_hz=rate_hz,
            notes=books.notes,
            reading=reading,
            recordings=recordings,
        )

    @classmethod
    def of_run(
        cls, run: TrainingRun | File, *, validation: GivenFrames | None = None, reading: Reading = AS_SAID
    ) -> Source:
        """The codec of a run folder.

        Candidates are chosen on ``validation``, or on the run's frames of other people, never on its test frames.
        Raises InputError or QuantizationError.
        """
        loaded = run if isinstance(run, TrainingRun) else TrainingRun.load(run)
        data = loaded.config.data
        recordings: dict[str, RecordingsSummary] = {}
        given = FrameReader(loaded.samples, data.sampling_rate, reading, recordings)
        own = loaded.validation() if validation is None else None
        used, judged, origin, held_out = _split(loaded.calibration(), validation if own is None else own, given)
        if own is not None and loaded.validation_file is not None:
            origin = loaded.validation_file.name
        books = open_codebooks(loaded.codebooks)
        return cls(
            name=loaded.config.run_name,
            encoder=KerasEncoder.load(loaded.encoder),
            codebooks=books.levels,
            decoder=KerasDecoder(loaded.decoder),
            calibration=used,
            validation=judged,
            validation_source=origin,
            held_out=held_out,
            verify=loaded.verify(),
            figures=loaded.test(),
            normalization=ZScore(data.epsilon),
            biases=books.biases,
            rate_hz=data.sampling_rate,
            levels=loaded.config.model.num_levels,
            train=None if held_out else loaded.train(),
            provenance={"training": loaded.provenance},
            reading=reading,
            recordings=recordings,
        )

    @classmethod
    def of_folder(
        cls,
        folder: File,
        calibration: GivenFrames | None,
        *,
        validation: GivenFrames | None = None,
        name: str | None = None,
        rate_hz: float | None = None,
        normalization: Normalization | None = None,
        reading: Reading = AS_SAID,
    ) -> Source:
        """A folder of artefacts as compressionKIT names them, or publishes them.

        An encoder (``encoder.keras``, or else ``encoder.tflite`` or ``encoder_int8.tflite``), ``codebook.npz`` and, if
        there, a decoder (``decoder.keras`` or ``decoder_float32.tflite``). A ``deploy_manifest.json`` or
        ``config.json`` gives rate and normalisation where the arguments do not. Raises InputError when the folder
        lacks a part or the manifest is of another codec, QuantizationError or UnsupportedOpError when a part does not
        fit.
        """
        source = Path(folder)
        if not source.is_dir():
            raise InputError(
                f"{source}: no such folder; expected {', '.join(_ENCODERS)}, {_CODEBOOKS[0]}, {_DECODERS[0]}"
            )
        manifest = read_deploy_manifest(source)
        encoder = open_encoder(_first_of(source, _ENCODERS))
        # Before recordings are read, which are brought to the codec's rate.
        notes = () if manifest is None else manifest.check(encoder.samples, rate_hz, normalization)
        if manifest is not None and rate_hz is None:
            rate_hz = manifest.rate_hz
        decoder = next((source / name for name in _DECODERS if (source / name).is_file()), None)
        made = cls.of(
            encoder,
            _first_of(source, _CODEBOOKS),
            calibration,
            decoder=decoder,
            validation=validation,
            name=name or source.resolve().name,
            rate_hz=rate_hz,
            normalization=normalization or (None if manifest is None else manifest.meant),
            reading=reading,
        )
        return replace(made, notes=(*made.notes, *notes))

    def frames(self, given: GivenFrames, role: str) -> Frames:
        """Frames of the codec's length and rate, int16 ``[N, T]``, to use as ``role`` says. Raises InputError."""
        return FrameReader(self.encoder.samples, self.rate_hz, self.reading, self.recordings).frames(given, role)


@dataclass(frozen=True)
class FrameReader:
    """Reads frames for one codec, and keeps what it read."""

    samples: int
    """T, ADC counts of a frame."""
    rate_hz: float | None
    """Sampling rate of the codec in Hz; None when it is not known."""
    reading: Reading
    """What the user says of recordings."""
    recordings: dict[str, RecordingsSummary]
    """What was read of each file, by what its frames are for."""

    def frames(self, given: GivenFrames, role: str) -> Frames:
        """Frames int16 ``[N, T]`` from files or an array; ``role`` names what they are for. Raises InputError."""
        if isinstance(given, str | os.PathLike):
            found = read_frames(given, self.samples, self.rate_hz, self.reading)
            self.recordings[role] = found.summary
            return found.frames
        try:
            return as_frames(given, self.samples)
        except InputError as error:
            error.within(role)
            raise


def _split(calibration: Frames, validation: GivenFrames | None, given: FrameReader) -> tuple[Frames, Frames, str, bool]:
    """Frames to calibrate on, frames to choose on, where those come from, and whether they were held out."""
    if validation is not None:
        origin = Path(validation).name if isinstance(validation, str | os.PathLike) else _IN_MEMORY
        return calibration, given.frames(validation, "validation"), origin, False
    if len(calibration) < 2 * _HELD_OUT_EVERY:
        return calibration, calibration, _TOO_FEW, True
    return np.delete(calibration, np.s_[::_HELD_OUT_EVERY], axis=0), calibration[::_HELD_OUT_EVERY], _HELD_OUT, True


def _first_of(folder: Path, names: Sequence[str]) -> Path:
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise InputError(f"{folder}: holds no {' or '.join(names)}", hint="name the files with --encoder and --codebooks")
