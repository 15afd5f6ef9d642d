"""From a trained codec to integers: convert, search for the best roundings, measure, fit what packets are made with."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from edgecodec._version import __version__
from edgecodec.codec.arrays import Frames
from edgecodec.codec.numerics import BY_BITS
from edgecodec.decoding.decoder import FloatDecoder
from edgecodec.documents import Json
from edgecodec.entropy.causal_network import CausalNetwork
from edgecodec.entropy.context_tables import ContextTables
from edgecodec.entropy.packet_file import PacketConstants
from edgecodec.errors import QuantizationError
from edgecodec.nn.backend import keras_bytes
from edgecodec.quantization.candidates import FIRST, Progress, Search, SearchData, float_latents, measure_rounded_input
from edgecodec.quantization.codebooks import check_codebooks, quantize_float
from edgecodec.quantization.fine_tune import FineTuning
from edgecodec.quantization.floor import other_convention, refuse, shortfalls_of_codec, shortfalls_of_parts
from edgecodec.quantization.measure import Variant, float_biases, float_codebooks, int8_latents, measure
from edgecodec.quantization.quantized import Quantized
from edgecodec.quantization.refit import side_information
from edgecodec.quantization.report import (
    ActivationsReport,
    Figures,
    FineTuningReport,
    IndexModelReport,
    QuantizationReport,
    Shortfall,
    Validation,
)
from edgecodec.quantization.sources import File, GivenCodebooks, GivenFrames, KerasDecoder, Source
from edgecodec.signal.normalize import Normalization
from edgecodec.signal.reading import AS_SAID, Reading
from edgecodec.training.index_models import ModelBudget, fit_index_model
from edgecodec.training.run import TrainingRun, versions

Activations = int | Literal["auto"]
"""Bits of an encoder's activations, or that the frames shall say."""
_WIDER_GAIN = 0.02
"""Share of the criterion that 16-bit activations must save to be worth what they cost a device."""
_FIGURE_FRAMES = 256
_MODEL_FRAMES = 32768
_MODEL_VALIDATION_FRAMES = 1024


@dataclass(frozen=True)
class Tuning:
    """What may be trained while quantising, beyond the calibration and validation frames."""

    train: GivenFrames | None = None
    """Frames of the training people, a file or ADC counts ``[N, T]``, to fine-tune on; None for no fine-tuning."""
    settings: FineTuning = field(default_factory=FineTuning)
    """How to fine-tune."""
    index_frames: GivenFrames | bool = False
    """Frames of the training people, a file or ADC counts ``[N, T]``, to fit the model of packets' indices to; True for
    a run's own, False for plain packets. It takes validation frames of other people."""
    budget: ModelBudget = field(default_factory=ModelBudget)
    """What a device has for that model; networks, which take minutes each to fit, are fitted where they fit it."""
    network_steps: int | None = None
    """Steps of fitting each network; None for their own number."""


def quantize(
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
    activations: Activations | None = None,
    tuning: Tuning | None = None,
    accept_quality: bool = True,
    progress: Progress | None = None,
) -> Quantized:
    """Quantise a trained codec and find the roundings that cost it least.

    Args:
        encoder: From normalised frames ``(1, T, 1)`` to latents ``(1, P, D)``: a Keras model, the path of a ``.keras``
            file, SavedModel folder or INT8 or 16x8 ``.tflite``, or the bytes of the last; integers are kept as is.
        codebooks: Arrays ``[K, D]``, one a level; or the path of a ``.npz`` with ``level_0``, ``level_1``, ..., of one
            array ``[M, K, D]``, of a Keras model with the quantiser, or a folder or pattern of ``.npy`` files.
        calibration: Real frames of ADC counts, whole numbers ``[N, T]``, or a file of them (SPEC.md 4).
        decoder: From latents ``(1, P, D)`` to frames ``(1, T, 1)``: a Keras model, the path of a ``.keras`` or float32
            ``.tflite`` file, or the bytes of the last. Without one the bundle cannot be decoded.
        validation: Frames, as ``calibration``, to choose the best roundings on, of people not trained on. Without them
            one in five calibration frames is held out to choose on, to measure on and to verify with.
        name: Name of the bundle; that of the encoder by default.
        rate_hz: Sampling rate of the codec in Hz; files of recordings must say theirs then, and are brought to it.
        normalization: How the encoder's frames are normalised: :class:`~edgecodec.ZScore` by default, or
            :class:`~edgecodec.MinMax` or :class:`~edgecodec.Fixed`.
        reading: What files of recordings do not say: rate, column, channel, scale.
        activations: Bits of the encoder's activations, 8 or 16 (SPEC.md 1.4), or ``"auto"``, which searches both and
            takes 16 where they lower the criterion on the validation frames by more than 2 %; 8 by default. A
            ``.tflite`` keeps its own.
        tuning: What may be trained, too: the codec itself, and a model of its indices.
        accept_quality: Whether to return a codec that is no better than chance, with its report's ``shortfalls``, as
            one is whose parts are not of one model; refused otherwise, as soon as it is known.
        progress: Called as ``progress(done, total, stage)`` with the steps of the stage that runs; where they are not
            counted, as it starts, with ``(0, 0, stage)``.

    Raises:
        InputError: A file is missing or damaged, or frames or codebooks are of another shape or type.
        QuantizationError: The parts do not fit each other, cannot be quantised, or make a codec that is not accepted.
        UnsupportedOpError: The encoder holds an op or a shape that the integer engine does not run.
        PlanError: The integers of the encoder could overflow.
    """
    source = Source.of(
        encoder,
        codebooks,
        calibration,
        decoder=decoder,
        validation=validation,
        name=name,
        rate_hz=rate_hz,
        normalization=normalization,
        reading=reading,
    )
    return quantize_source(source, tuning, progress, activations=activations, accept_quality=accept_quality)


def quantize_run(
    run: TrainingRun | File,
    *,
    validation: GivenFrames | None = None,
    reading: Reading = AS_SAID,
    activations: Activations | None = None,
    tuning: Tuning | None = None,
    progress: Progress | None = None,
) -> Quantized:
    """Quantise a run of :func:`edgecodec.training.train`, or the run folder at that path.

    Candidates are chosen on ``validation``, or else on the run's frames of other people, never on its test frames; a
    run that was not split by person has every fifth calibration frame held out. Its parts are of one model, so a codec
    no better than chance, of a training that was cut short, is returned with the report's ``shortfalls``.
    ``progress(done, total, stage)`` counts the steps of the stage that runs. Raises InputError, QuantizationError,
    UnsupportedOpError or PlanError.
    """
    source = Source.of_run(run, validation=validation, reading=reading)
    return quantize_source(source, tuning, progress, activations=activations)


def quantize_folder(
    folder: File,
    calibration: GivenFrames | None,
    *,
    validation: GivenFrames | None = None,
    name: str | None = None,
    rate_hz: float | None = None,
    normalization: Normalization | None = None,
    reading: Reading = AS_SAID,
    activations: Activations | None = None,
    tuning: Tuning | None = None,
    accept_quality: bool = True,
    progress: Progress | None = None,
) -> Quantized:
    """Quantise a folder of artefacts as compressionKIT names them.

    ``folder`` holds ``encoder.keras`` (or else ``encoder.tflite`` or ``encoder_int8.tflite``), ``codebook.npz`` and,
    if there, ``decoder.keras`` or ``decoder_float32.tflite``; its ``deploy_manifest.json`` or ``config.json`` gives
    rate and normalisation where the arguments do not. The other arguments are those of :func:`quantize`. Raises
    InputError when the folder lacks a part or the manifest is of another codec, and QuantizationError,
    UnsupportedOpError or PlanError when a part cannot be quantised.
    """
    source = Source.of_folder(
        folder,
        calibration,
        validation=validation,
        name=name,
        rate_hz=rate_hz,
        normalization=normalization,
        reading=reading,
    )
    return quantize_source(source, tuning, progress, activations=activations, accept_quality=accept_quality)


def quantize_source(
    source: Source,
    tuning: Tuning | None = None,
    progress: Progress | None = None,
    *,
    activations: Activations | None = None,
    accept_quality: bool = True,
) -> Quantized:
    """Quantise ``source``; arguments and errors are those of :func:`quantize`."""
    tuning, progress = tuning or Tuning(), progress or _silent
    if activations not in (None, "auto", *BY_BITS):
        expected = f"{', '.join(map(str, BY_BITS))} or 'auto'"
        raise QuantizationError(f"activations of {activations} bits; expected {expected}")
    data = _search_data(source, tuning)
    index_frames = _index_frames(source, tuning)
    searched = [_search(source, data, tuning, bits, accept_quality, progress) for bits in _widths(source, activations)]
    kept, choice = searched[0], None
    if len(searched) > 1:
        kept, choice = _choose_width(*searched)
    first, best, search, found = kept.first, kept.best, kept.search, kept.shortfalls
    progress(0, 0, "figures")
    figures = _figures(first, best, _spread(_moving(source.figures)))
    found = (*found, *shortfalls_of_codec(figures))
    if not accept_quality:
        refuse(source.name, found)
    report = QuantizationReport(
        criterion=search.criterion,
        validation=Validation(len(data.validation), source.validation_source),
        chosen=best.name,
        candidates=search.candidates,
        fine_tuning=_fine_tuning_report(data, tuning),
        activations=choice,
        notes=(*source.encoder.notes, *source.notes),
        shortfalls=found,
        recordings=dict(source.recordings),
    )
    model = None
    if index_frames is not None:
        model, fitted = _fit_model(best, index_frames, source.validation, tuning, progress)
        report = replace(report, index_model=fitted)
    side = side_information(best.codec.normalizer, _moving(source.calibration), figures)
    return Quantized(
        name=source.name,
        rate_hz=source.rate_hz,
        codec=best.codec,
        encoder=best.encoder,
        decoder=best.decoder,
        keras_encoder=keras_bytes(best.model) if best.new_model else source.encoder.keras_file,
        packets=PacketConstants(side, model),
        frames=source.verify,
        figures=figures,
        report=report,
        provenance={**_origin(source), **source.provenance},
    )


@dataclass(frozen=True)
class _Searched:
    """What the search made of one numerics."""

    first: Variant
    """The codec as TensorFlow's converter makes it."""
    best: Variant
    """The candidate that was kept."""
    search: Search
    """The search, done."""
    shortfalls: tuple[Shortfall, ...]
    """What is wrong with the parts."""


def _search(
    source: Source, data: SearchData, tuning: Tuning, bits: int | None, accept_quality: bool, progress: Progress
) -> _Searched:
    """Search the roundings of ``source`` with activations of ``bits``. Raises as :func:`quantize` does."""
    first = _first_variant(source, bits, progress)
    search = Search(data, _keras_decoder(source, first), tuning.settings, progress)
    found = _shortfalls(first, search.start(first), _moving(source.calibration))
    if not accept_quality:
        refuse(source.name, found)
    return _Searched(first, search.run(first), search, found)


def _widths(source: Source, activations: Activations | None) -> tuple[int | None, ...]:
    """Bits to search; None for the source's own."""
    if activations != "auto":
        return (activations,)
    return (None,) if source.encoder.float_model is None else tuple(BY_BITS)


def _choose_width(narrow: _Searched, wide: _Searched) -> tuple[_Searched, ActivationsReport]:
    """The one of two that the frames say, and why: ``wide`` where it saves more than :data:`_WIDER_GAIN`."""
    bits = [8 * each.first.graph.input.numerics.activation.itemsize for each in (narrow, wide)]
    values = [value for each in (narrow, wide) if (value := each.search.best_value) is not None]
    if len(values) < 2:
        return narrow, ActivationsReport(bits[0], f"{bits[0]} bits: there are no frames to compare on", {})
    gain = 1 - values[1] / max(values[0], 1e-30)
    pays = gain > _WIDER_GAIN
    reason = (
        f"{bits[pays]} bits: {bits[1]} {'lower' if gain > 0 else 'raise'} {narrow.search.criterion} by "
        f"{100 * abs(gain):.1f} %, {'more' if pays else 'not more'} than {100 * _WIDER_GAIN:g} %"
    )
    measured = {str(width): value for width, value in zip(bits, values, strict=True)}
    return (narrow, wide)[pays], ActivationsReport(bits[pays], reason, measured)


def _silent(done: int, total: int, stage: str) -> None:
    """Report to nobody."""


def _search_data(source: Source, tuning: Tuning) -> SearchData:
    """Frames to search with. Raises QuantizationError for training frames that are validated on."""
    train = None
    if tuning.train is not None:
        if source.encoder.float_model is None or not isinstance(source.decoder, KerasDecoder):
            raise QuantizationError("fine-tuning needs the float encoder and the decoder as Keras models")
        train = _moving(source.frames(tuning.train, "training"))
        _refuse_shared(train, source.validation)
    return SearchData(source.calibration, _spread(_moving(source.validation)), not source.held_out, train)


def _index_frames(source: Source, tuning: Tuning) -> Frames | None:
    """Frames to fit the model of indices to, if any. Raises QuantizationError unless judged on other people's."""
    if tuning.index_frames is False:
        return None
    if source.held_out:
        raise QuantizationError(
            "a model of indices is judged on frames of other people", hint="give them with --validation FILE"
        )
    given = source.train if tuning.index_frames is True else tuning.index_frames
    frames = None if given is None else source.frames(given, "index model")
    if frames is None:
        raise QuantizationError(
            "there are no frames of the training people to fit a model of indices to",
            hint="give them with --index-frames FILE; a run split by person has them",
        )
    moving = _moving(frames)
    _refuse_shared(moving, source.validation)
    return moving


def _first_variant(source: Source, activations: int | None, progress: Progress) -> Variant:
    """The codec as TensorFlow's converter makes it, proven to be executable, with its decoder."""
    progress(0, 0, "encoder")
    books, model = source.codebooks, source.encoder.float_model
    data = source.encoder.to_integers(source.calibration, source.normalization, activations)
    variant = Variant(FIRST, data, source.normalization, books, None, source.biases, model, books)
    check_codebooks(books, variant.graph.latent.channels, source.levels)
    _ = variant.codec
    if source.decoder is None:
        return variant
    progress(0, 0, "decoder")
    decoder, graph = source.decoder.to_tflite(variant.graph), variant.graph
    FloatDecoder(decoder, graph.latent.width, graph.latent.channels, graph.input.width)
    return replace(variant, decoder=decoder)


def _shortfalls(first: Variant, figures: Figures, calibration: Frames) -> tuple[Shortfall, ...]:
    """What the figures of ``first``, and other ways to scale the calibration frames, say against the codec's parts."""
    found = shortfalls_of_parts(figures)
    measured = figures.get("prdn_float", figures.get("prdn_int8"))
    other = None if measured is None else other_convention(first, calibration, measured)
    return found if other is None else (*found, other)


def _keras_decoder(source: Source, first: Variant) -> Callable[[], Any] | None:
    """How to get a copy of the Keras decoder, if there is one."""
    return partial(source.decoder.model, first.graph) if isinstance(source.decoder, KerasDecoder) else None


def _fine_tuning_report(data: SearchData, tuning: Tuning) -> FineTuningReport | None:
    if data.fine_tuning is None:
        return None
    return FineTuningReport(frames=len(data.fine_tuning), **asdict(tuning.settings))


def _fit_model(
    best: Variant, train: Frames, validation: Frames, tuning: Tuning, progress: Progress
) -> tuple[ContextTables | CausalNetwork | None, IndexModelReport]:
    """The model of the indices of ``best``, and what was fitted to what; frames are ADC counts int16 ``[N, T]``."""
    progress(0, 0, "indices of the training frames")
    used = _indices(best, _spread(train, _MODEL_FRAMES))
    judges = _indices(best, _spread(_moving(validation), _MODEL_VALIDATION_FRAMES))
    progress(0, 0, "index model")
    model, curve = fit_index_model(
        used,
        judges,
        best.codec.rvq.codebooks,
        tuning.budget,
        tuning.network_steps,
        lambda done, total, what: progress(done, total, f"index model, {what}"),
    )
    return model, IndexModelReport(len(used), len(judges), tuning.budget, curve)


def _indices(best: Variant, frames: Frames) -> npt.NDArray[np.integer[Any]]:
    """Indices ``[N, P, L]`` of the integer codec."""
    latents = int8_latents(best, frames)
    flat = latents.reshape(-1, latents.shape[-1])
    indices, _ = quantize_float(flat, float_codebooks(best.codec.rvq), float_biases(best.codec.rvq))
    return indices.reshape(*latents.shape[:2], -1)


def _origin(source: Source) -> Json:
    """Versions that the integers depend on, and the frames calibrated on."""
    content = np.ascontiguousarray(source.calibration, "<i2").tobytes()
    calibration = {"frames": len(source.calibration), "sha256": hashlib.sha256(content).hexdigest()}
    made_with = {} if source.encoder.float_model is None else {"versions": versions()}
    return {"edgecodec": __version__, **made_with, "calibration": calibration}


def _figures(first: Variant, best: Variant, frames: Frames) -> dict[str, float]:
    """Figures of ``best`` on ``frames`` of ADC counts int16 ``[N, T]``, and two that bound them.

    ``prdn_given`` is the float codec's before any change. ``prdn_rounded_input`` and ``agreement_rounded_input_l{l}``
    are those of the float codec of ``best`` when nothing but its input is rounded: what no encoder with an input of
    that type can be expected to avoid.
    """
    if len(frames) == 0:
        return {}
    if best.model is None:
        return {"frames": len(frames), **measure(best, frames, None)}
    latents = float_latents(best.model, frames, best.normalization)
    figures = {"frames": len(frames), **measure(best, frames, latents)}
    figures |= measure_rounded_input(best, frames, latents)
    if "prdn_float" in figures:
        given = figures
        if best.new_model:
            given = measure(first, frames, float_latents(first.model, frames, first.normalization))
        figures["prdn_given"] = given["prdn_float"]
    return figures


def _moving(frames: Frames) -> Frames:
    """The frames that are not constant."""
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
            f"{shared} of the {len(validation)} validation frames are among the {len(train)} training frames",
            hint="give other people's with --validation FILE",
        )
