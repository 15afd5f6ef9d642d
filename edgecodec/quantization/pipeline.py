"""``edgecodec quantize``: a trained codec becomes a bundle."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import edgecodec
from edgecodec.bundle import DECODER, FRAMES, INDEX_PRIOR, KERAS_ENCODER, Bundle, write_bundle
from edgecodec.codec.tflite_reader import read_graph
from edgecodec.decoding.decoder import FloatDecoder
from edgecodec.errors import EdgecodecError, InputError, QuantizationError
from edgecodec.files.atomic import npz_bytes
from edgecodec.quantization.candidates import FIRST, Search, SearchData, float_latents, measure_rounded_input
from edgecodec.quantization.codebooks import check_codebooks, load_codebooks, quantize_float
from edgecodec.quantization.fine_tune import FineTuning
from edgecodec.quantization.measure import Frames, Variant, float_codebooks, int8_latents, measure
from edgecodec.signal.frames import load_frames
from edgecodec.signal.normalize import EPSILON

__all__ = ["QuantizationSummary", "Tuning", "int8_latents", "quantize_files", "quantize_folder", "quantize_run"]

RUN_MARKER = "run.json"
_VERIFY_FRAMES = 1000
_HELD_OUT_EVERY = 5
_FIGURE_FRAMES = 256
_PRIOR_FRAMES = 32768
_PRIOR_VALIDATION_FRAMES = 1024
_HELD_OUT = "every fifth calibration frame, not calibrated on"
_TOO_FEW = "the calibration frames themselves (too few to hold any out)"
_ENCODERS = ("encoder.keras", "encoder.tflite")
_CODEBOOKS = ("codebook.npz", "codebooks.npz")
_DECODER = "decoder.keras"

Progress = Callable[[str], None]


@dataclass(frozen=True)
class QuantizationSummary:
    """The bundle written, and what quantisation cost."""

    bundle: Bundle
    figures: dict[str, float]
    """Of the codec kept, as :func:`edgecodec.quantization.measure.measure` returns them, on a run's test frames or
    the held-out frames of files, with those of rounding nothing but the input. ``prdn_given`` is the float codec's
    as it was trained, which differs from ``prdn_float`` once fine-tuning has changed it. Figures that need the decoder
    or the float encoder are missing without them."""
    report: dict[str, Any]
    """Candidates with their figures on the validation frames, and which was kept."""


@dataclass(frozen=True)
class Tuning:
    """What the search for the best integers may use beyond the calibration frames."""

    validation: str | os.PathLike[str] | None = None
    """Frames to choose on, of people not trained on."""
    train: str | os.PathLike[str] | None = None
    """Frames of the training people; fine-tunes when given."""
    settings: FineTuning = field(default_factory=FineTuning)
    prior: str | os.PathLike[str] | None = None
    """Frames of the training people to fit the bundle's index prior to; needs ``validation``, or a run's."""


@dataclass(frozen=True)
class _EncoderFile:
    """An encoder as the user gave it: a Keras model still to be quantised, or a finished TFLite file."""

    path: Path
    model: Any | None
    tflite: bytes | None
    samples: int
    """Length T of its frames."""

    @classmethod
    def load(cls, path: Path) -> _EncoderFile:
        if path.suffix == ".tflite":
            try:
                data = path.read_bytes()
                return cls(path, None, data, read_graph(data).input.width)
            except OSError as error:
                raise InputError(f"{path}: cannot be read ({error.strerror}); expected an INT8 encoder") from error
            except EdgecodecError as error:
                raise type(error)(f"{path}: {error}") from error
        from edgecodec.quantization.keras_files import load_encoder

        model = load_encoder(path)
        return cls(path, model, None, int(model.input_shape[2]))


@dataclass(frozen=True)
class _Source:
    """A codec and the frames that go with it."""

    encoder: _EncoderFile
    codebooks: str | os.PathLike[str]
    decoder: Path | None
    calibration: Frames
    validation: Frames
    validation_source: str
    frames: Frames
    """To verify with, ``[N, T]``."""
    figure_frames: Frames
    """To measure quality on, ``[N, T]``."""
    epsilon: float
    levels: int | None = None
    """How many codebooks there must be, if known."""


def quantize_run(
    run: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    tuning: Tuning | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> QuantizationSummary:
    """Quantise the run folder of ``edgecodec train`` into the bundle folder ``out``.

    Candidates are chosen on the run's ``validation.npz`` (or ``tuning.validation``), never on its test frames;
    without such frames, on every fifth calibration frame. A run with ``validation.npz`` and ``train.npz`` gives a
    bundle with an index prior. ``progress(stage)`` is called as each stage starts.
    Raises InputError, QuantizationError, UnsupportedOpError or BundleError and leaves nothing half-written.
    """
    folder = Path(run)
    document = _read_run(folder)
    config = document["config"]
    samples = int(config["data"]["frame_size"])
    tuning = _beside(tuning or Tuning(), folder)
    calibration, validation, source = _split(load_frames(folder / "calibration.npz", samples), tuning.validation)
    codec = _Source(
        _EncoderFile.load(folder / "encoder.keras"),
        folder / "codebooks.npz",
        folder / "decoder.keras",
        calibration,
        validation,
        source,
        load_frames(folder / "verify.npz", samples),
        load_frames(folder / "test.npz", samples),
        float(config["data"]["epsilon"]),
        levels=config.get("model", {}).get("num_levels"),
    )
    trained = {key: document[key] for key in ("config", "seed", "versions", "split", "steps", "metrics")}
    return _quantize(
        codec,
        out,
        tuning,
        name=str(config["run_name"]),
        rate_hz=float(config["data"]["sampling_rate"]),
        provenance={"training": trained},
        force=force,
        progress=progress or _silent,
    )


def quantize_files(
    encoder: str | os.PathLike[str],
    codebooks: str | os.PathLike[str],
    decoder: str | os.PathLike[str] | None,
    calibration: str | os.PathLike[str] | None,
    out: str | os.PathLike[str],
    *,
    name: str | None = None,
    rate_hz: float | None = None,
    epsilon: float = EPSILON,
    tuning: Tuning | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> QuantizationSummary:
    """Quantise an encoder trained elsewhere into the bundle folder ``out``.

    ``encoder`` is a ``.keras`` file, a SavedModel folder, or an INT8 ``.tflite``, whose bytes are kept.
    ``codebooks`` is what :func:`edgecodec.quantization.codebooks.load_codebooks` takes. ``calibration`` holds real
    frames of ADC counts (SPEC.md 4); one in five of them is held out to choose on, to measure on and to verify
    with, unless ``tuning.validation`` gives others. Raises as :func:`quantize_run` does.
    """
    if calibration is None:
        raise QuantizationError("no calibration frames; give real frames of the sensor with --calibration FILE")
    source = _EncoderFile.load(Path(encoder))
    tuning = tuning or Tuning()
    used, validation, origin = _split(load_frames(calibration, source.samples), tuning.validation)
    codec = _Source(
        source,
        codebooks,
        None if decoder is None else Path(decoder),
        used,
        validation,
        origin,
        validation[:_VERIFY_FRAMES],
        validation,
        epsilon,
    )
    return _quantize(
        codec,
        out,
        tuning,
        name=name or source.path.stem,
        rate_hz=rate_hz,
        provenance={},
        force=force,
        progress=progress or _silent,
    )


def quantize_folder(
    folder: str | os.PathLike[str],
    calibration: str | os.PathLike[str] | None,
    out: str | os.PathLike[str],
    *,
    name: str | None = None,
    rate_hz: float | None = None,
    epsilon: float = EPSILON,
    tuning: Tuning | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> QuantizationSummary:
    """Quantise a folder of artefacts as compressionKIT names them.

    ``encoder.keras`` (or else ``encoder.tflite``), ``codebook.npz`` and, if there, ``decoder.keras``. Raises as
    :func:`quantize_files` does, and InputError when the folder lacks a part.
    """
    source = Path(folder)
    if not source.is_dir():
        raise InputError(f"{source}: no such folder; expected {', '.join(_ENCODERS)}, {_CODEBOOKS[0]}, {_DECODER}")
    decoder = source / _DECODER
    return quantize_files(
        _first_of(source, _ENCODERS),
        _first_of(source, _CODEBOOKS),
        decoder if decoder.is_file() else None,
        calibration,
        out,
        name=name or source.resolve().name,
        rate_hz=rate_hz,
        epsilon=epsilon,
        tuning=tuning,
        force=force,
        progress=progress,
    )


def _beside(tuning: Tuning, run: Path) -> Tuning:
    """Fill in what the run folder holds. Other people's validation frames are what a prior is stopped on."""
    validation, train = run / "validation.npz", run / "train.npz"
    if tuning.validation is None and validation.is_file():
        tuning = replace(tuning, validation=validation)
    if tuning.prior is None and tuning.validation is not None and train.is_file():
        tuning = replace(tuning, prior=train)
    return tuning


def _first_of(folder: Path, names: Sequence[str]) -> Path:
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise InputError(f"{folder}: holds no {' or '.join(names)}; name the files with --encoder and --codebooks")


def _split(calibration: Frames, validation: str | os.PathLike[str] | None) -> tuple[Frames, Frames, str]:
    """Frames to calibrate on, frames to choose on, and where those come from."""
    if validation is not None:
        return calibration, load_frames(validation, calibration.shape[1]), Path(validation).name
    if len(calibration) < 2 * _HELD_OUT_EVERY:
        return calibration, calibration, _TOO_FEW
    return np.delete(calibration, np.s_[::_HELD_OUT_EVERY], axis=0), calibration[::_HELD_OUT_EVERY], _HELD_OUT


def _silent(stage: str) -> None:
    """Report to nobody."""


def _read_run(folder: Path) -> dict[str, Any]:
    path = folder / RUN_MARKER
    if not path.is_file():
        raise InputError(f"{folder}: no {RUN_MARKER} in it, so it is no run folder; make one with: edgecodec train")
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: cannot be read ({error}); train again") from error
    if not isinstance(document, dict) or (document.get("format"), document.get("version")) != ("edgecodec.run", 1):
        raise InputError(f"{path}: is no edgecodec.run of version 1; train again")
    try:
        data = document["config"]["data"]
        _ = data["frame_size"], data["epsilon"], data["sampling_rate"], document["config"]["run_name"]
        _ = [document[key] for key in ("seed", "versions", "split", "steps", "metrics")]
    except (KeyError, TypeError) as error:
        raise InputError(f"{path}: lacks {error}; train again") from error
    return document


def _quantize(
    source: _Source,
    out: str | os.PathLike[str],
    tuning: Tuning,
    *,
    name: str,
    rate_hz: float | None,
    provenance: dict[str, Any],
    force: bool,
    progress: Progress,
) -> QuantizationSummary:
    first, decoder = _first_variant(source, progress)
    train = None
    if tuning.train is not None:
        train = _moving(load_frames(tuning.train, source.encoder.samples))
        _refuse_shared(train, source.validation)
    validation = _spread(_moving(source.validation))
    held_out = source.validation_source in (_HELD_OUT, _TOO_FEW)
    if tuning.prior is not None and held_out:
        raise QuantizationError("an index prior is stopped on frames of other people; give them with --validation FILE")
    prior_frames = None
    if tuning.prior is not None:
        prior_frames = _moving(load_frames(tuning.prior, source.encoder.samples))
        _refuse_shared(prior_frames, source.validation)
    data = SearchData(source.calibration, validation, source.epsilon, not held_out, train)
    search = Search(data, decoder, tuning.settings, progress)
    best = search.run(first)
    progress("figures")
    figures = _figures(first, best, _spread(_moving(source.figure_frames)), source.epsilon)
    report = {
        "criterion": search.criterion,
        "validation": {"frames": len(validation), "source": source.validation_source},
        "chosen": best.name,
        "candidates": search.record,
    }
    if train is not None:
        report["fine_tuning"] = {"frames": len(train), **asdict(tuning.settings)}
    optional = {FRAMES: npz_bytes({"frames": source.frames})}
    if prior_frames is not None:
        optional[INDEX_PRIOR], report["index_prior"] = _fit_prior(best, source, prior_frames, progress)
    if best.decoder is not None:
        optional[DECODER] = best.decoder
    keras_encoder = _keras_encoder(source.encoder, best)
    if keras_encoder is not None:
        optional[KERAS_ENCODER] = keras_encoder
    bundle = write_bundle(
        out,
        encoder=best.encoder,
        rvq=best.integer_rvq(),
        name=name,
        rate_hz=rate_hz,
        epsilon=source.epsilon,
        optional=optional,
        provenance={
            "edgecodec": edgecodec.__version__,
            **_versions(best),
            "calibration": _calibration_record(source.calibration),
            "quantization": report,
            "figures": figures,
            **provenance,
        },
        force=force,
    )
    return QuantizationSummary(bundle, figures, report)


def _first_variant(source: _Source, progress: Progress) -> tuple[Variant, Callable[[], Any] | None]:
    """The codec as TensorFlow's converter makes it, and how to load its Keras decoder, if it has one."""
    books = load_codebooks(source.codebooks)
    progress("encoder")
    encoder = source.encoder
    if encoder.tflite is not None:
        data, graph = encoder.tflite, read_graph(encoder.tflite)
    else:
        from edgecodec.quantization.convert import convert_encoder

        data, graph = convert_encoder(encoder.model, source.calibration, source.epsilon)
    check_codebooks(books, graph.latent.channels, source.levels)
    first = Variant(FIRST, data, graph, books, None, encoder.model, books)
    first.integer_rvq()
    path = source.decoder
    if path is None:
        return first, None
    progress("decoder")
    latent, samples = graph.latent, graph.input.width
    load: Callable[[], Any] | None = None
    if path.suffix == ".tflite":
        try:
            decoder = path.read_bytes()
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror}); expected a float32 decoder") from error
    else:
        from edgecodec.quantization.convert import convert_decoder
        from edgecodec.quantization.keras_files import load_decoder

        load = partial(load_decoder, path, latent.width, latent.channels, samples)
        decoder = convert_decoder(load())
    FloatDecoder(decoder, latent.width, latent.channels, samples)
    return replace(first, decoder=decoder), load


def _fit_prior(best: Variant, source: _Source, frames: Frames, progress: Progress) -> tuple[bytes, dict[str, Any]]:
    """The index prior of ``best`` as a file, and what was fitted to what."""
    from edgecodec.training.causal_prior import PriorFitting, fit_index_prior

    progress("indices of the training frames")
    used = _spread(frames, _PRIOR_FRAMES)
    judges = _spread(_moving(source.validation), _PRIOR_VALIDATION_FRAMES)
    settings, sizes = PriorFitting(), best.integer_rvq().codebook_sizes
    train, validation = (_indices(best, part, source.epsilon) for part in (used, judges))
    progress("index prior")
    prior = fit_index_prior(train, validation, sizes, settings)
    bits = float(prior.code_lengths(validation).sum(axis=(1, 2)).mean())
    record = {"frames": len(train), "validation_frames": len(validation), "validation_bits_per_frame": bits}
    return prior.to_npz(), record | {"parameters": prior.parameters, **asdict(settings)}


def _indices(best: Variant, frames: Frames, epsilon: float) -> npt.NDArray[np.integer[Any]]:
    """Indices ``[N, P, L]`` of the integer codec."""
    latents = int8_latents(best.encoder, best.graph, frames, epsilon)
    flat = latents.reshape(-1, latents.shape[-1])
    indices, _ = quantize_float(flat, float_codebooks(best.integer_rvq()))
    return indices.reshape(*latents.shape[:2], -1)


def _keras_encoder(given: _EncoderFile, best: Variant) -> bytes | None:
    """The float encoder that the bundle's integers round, as a ``.keras`` file; None when there is none."""
    if best.new_model:
        from edgecodec.nn.backend import save_keras

        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / KERAS_ENCODER
            save_keras(best.model, path)
            return path.read_bytes()
    return given.path.read_bytes() if given.model is not None and given.path.is_file() else None


def _versions(best: Variant) -> dict[str, Any]:
    if best.model is None:
        return {}
    from edgecodec.training.run import versions

    return {"versions": versions()}


def _calibration_record(frames: Frames) -> dict[str, Any]:
    content = np.ascontiguousarray(frames, "<i2").tobytes()
    return {"frames": len(frames), "sha256": hashlib.sha256(content).hexdigest()}


def _figures(first: Variant, best: Variant, frames: Frames, epsilon: float) -> dict[str, float]:
    """Figures of ``best``, and two that bound them.

    ``prdn_given`` is the float codec's before any change. ``prdn_rounded_input`` and ``agreement_rounded_input_l{l}``
    are those of the float codec of ``best`` when nothing but its input is rounded to int8: what no encoder with an
    int8 input can be expected to avoid.
    """
    if len(frames) == 0:
        return {}
    if best.model is None:
        return {"frames": len(frames), **measure(best, frames, epsilon, None)}
    latents = float_latents(best.model, frames, epsilon)
    figures = {"frames": len(frames), **measure(best, frames, epsilon, latents)}
    figures |= measure_rounded_input(best, frames, epsilon, latents)
    if "prdn_float" in figures:
        given = figures
        if best.new_model:
            given = measure(first, frames, epsilon, float_latents(first.model, frames, epsilon))
        figures["prdn_given"] = given["prdn_float"]
    return figures


def _moving(frames: Frames) -> Frames:
    moving: Frames = frames[np.any(frames != frames[:, :1], axis=1)]
    return moving


def _spread(frames: Frames, most: int = _FIGURE_FRAMES) -> Frames:
    """At most ``most`` frames, evenly over all."""
    chosen: Frames = frames[np.linspace(0, len(frames) - 1, min(len(frames), most)).round().astype(int)]
    return chosen


def _refuse_shared(train: Frames, validation: Frames) -> None:
    known = {frame.tobytes() for frame in train}
    shared = sum(frame.tobytes() in known for frame in validation)
    if shared or not len(train):
        raise QuantizationError(
            f"{shared} of the {len(validation)} validation frames are among the {len(train)} training frames; "
            "give other people's with --validation FILE"
        )
