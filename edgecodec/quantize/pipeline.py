"""``edgecodec quantize``: a trained codec becomes a bundle."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import edgecodec
from edgecodec.bundle import DECODER, FRAMES, KERAS_ENCODER, Bundle, write_bundle
from edgecodec.compile.graph import Graph
from edgecodec.compile.tflite_reader import read_graph
from edgecodec.errors import EdgecodecError, InputError, QuantizationError
from edgecodec.outputs import npz_bytes
from edgecodec.quantize.codebooks import FloatArray, check_codebooks, load_codebooks, quantize_float
from edgecodec.rvq import IntegerRvq
from edgecodec.signal.frames import load_frames
from edgecodec.signal.normalize import EPSILON, normalize
from edgecodec.signal.quality import prdn
from edgecodec.stream.decoder import FloatDecoder

RUN_MARKER = "run.json"
_VERIFY_FRAMES = 1000
_HELD_OUT_EVERY = 5
_FIGURE_FRAMES = 256

Frames = npt.NDArray[np.int16]
Progress = Callable[[str], None]


@dataclass(frozen=True)
class QuantizationSummary:
    """The bundle written, and what quantisation cost."""

    bundle: Bundle
    figures: dict[str, float]
    """PRDN in percent (mean over frames) for ``prdn_float``, ``prdn_int8`` (INT8 latents, float codebooks) and
    ``prdn_integer``, and the share of equal indices ``agreement_l{l}`` between float and integer codec. Figures
    that need the decoder or the Keras encoder are missing without them."""


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
        from edgecodec.quantize.keras_files import load_encoder

        model = load_encoder(path)
        return cls(path, model, None, int(model.input_shape[2]))


@dataclass(frozen=True)
class _Codec:
    """Everything that goes into a bundle."""

    encoder: Any | None
    """Keras model; None when the encoder came as TFLite."""
    encoder_tflite: bytes
    graph: Graph
    codebooks: Sequence[FloatArray]
    decoder_tflite: bytes | None
    calibration: Frames
    frames: Frames
    """To verify with, ``[N, T]``."""
    figure_frames: Frames
    """To measure quality on, ``[N, T]``, none constant."""
    epsilon: float


def quantize_run(
    run: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    force: bool = False,
    progress: Progress | None = None,
) -> QuantizationSummary:
    """Quantise the run folder of ``edgecodec train`` into the bundle folder ``out``.

    ``progress(stage)`` is called as each stage starts. Raises InputError, QuantizationError, UnsupportedOpError
    or BundleError and leaves nothing half-written.
    """
    folder = Path(run)
    document = _read_run(folder)
    config = document["config"]
    samples, epsilon = int(config["data"]["frame_size"]), float(config["data"]["epsilon"])
    codec = _prepare(
        _EncoderFile.load(folder / "encoder.keras"),
        folder / "codebooks.npz",
        folder / "decoder.keras",
        load_frames(folder / "calibration.npz", samples),
        (load_frames(folder / "verify.npz", samples), load_frames(folder / "test.npz", samples)),
        epsilon,
        progress or _silent,
    )
    trained = {key: document[key] for key in ("config", "seed", "versions", "split", "steps", "metrics")}
    return _write(
        codec,
        out,
        name=str(config["run_name"]),
        rate_hz=float(config["data"]["sampling_rate"]),
        keras_file=folder / "encoder.keras",
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
    force: bool = False,
    progress: Progress | None = None,
) -> QuantizationSummary:
    """Quantise an encoder trained elsewhere into the bundle folder ``out``.

    ``encoder`` is a ``.keras`` file, or an INT8 ``.tflite`` that is taken as it is. ``calibration`` holds real
    frames of ADC counts (SPEC.md 4); one in five of them is held out to verify with. Raises as
    :func:`quantize_run` does.
    """
    report = progress or _silent
    if calibration is None:
        raise QuantizationError("no calibration frames; give real frames of the sensor with --calibration FILE")
    source = _EncoderFile.load(Path(encoder))
    frames = load_frames(calibration, source.samples)
    held_out = frames[::_HELD_OUT_EVERY] if len(frames) >= 2 * _HELD_OUT_EVERY else frames
    used = np.delete(frames, np.s_[::_HELD_OUT_EVERY], axis=0) if len(frames) >= 2 * _HELD_OUT_EVERY else frames
    codec = _prepare(source, codebooks, decoder, used, (held_out[:_VERIFY_FRAMES], held_out), epsilon, report)
    return _write(
        codec,
        out,
        name=name or source.path.stem,
        rate_hz=rate_hz,
        keras_file=None if source.model is None else source.path,
        provenance={},
        force=force,
        progress=report,
    )


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


def _prepare(
    encoder: _EncoderFile,
    codebooks: str | os.PathLike[str],
    decoder: str | os.PathLike[str] | None,
    calibration: Frames,
    verification: tuple[Frames, Frames],
    epsilon: float,
    progress: Progress,
) -> _Codec:
    books = load_codebooks(codebooks)
    progress("encoder")
    if encoder.tflite is not None:
        data, graph = encoder.tflite, read_graph(encoder.tflite)
    else:
        from edgecodec.quantize.convert import convert_encoder

        data, graph = convert_encoder(encoder.model, calibration, epsilon)
    check_codebooks(books, graph.latent.channels)
    decoder_data = None
    if decoder is not None:
        progress("decoder")
        decoder_data = _decoder_tflite(Path(decoder), graph)
    frames, figure_frames = verification
    moving = figure_frames[np.any(figure_frames != figure_frames[:, :1], axis=1)]
    spread = np.linspace(0, len(moving) - 1, min(len(moving), _FIGURE_FRAMES)).round().astype(int)
    return _Codec(encoder.model, data, graph, books, decoder_data, calibration, frames, moving[spread], epsilon)


def _decoder_tflite(path: Path, graph: Graph) -> bytes:
    latent = graph.latent
    if path.suffix == ".tflite":
        try:
            data = path.read_bytes()
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror}); expected a float32 decoder") from error
    else:
        from edgecodec.quantize.convert import convert_decoder
        from edgecodec.quantize.keras_files import load_decoder

        data = convert_decoder(load_decoder(path, latent.width, latent.channels, graph.input.width))
    FloatDecoder(data, latent.width, latent.channels, graph.input.width)
    return data


def _write(
    codec: _Codec,
    out: str | os.PathLike[str],
    *,
    name: str,
    rate_hz: float | None,
    keras_file: Path | None,
    provenance: dict[str, Any],
    force: bool,
    progress: Progress,
) -> QuantizationSummary:
    progress("codebooks")
    latent = codec.graph.latent
    rvq = IntegerRvq.from_float(codec.codebooks, latent.scale, latent.zero_point)
    progress("figures")
    figures = _figures(codec, rvq)
    optional = {FRAMES: npz_bytes({"frames": codec.frames})}
    if codec.decoder_tflite is not None:
        optional[DECODER] = codec.decoder_tflite
    if keras_file is not None:
        optional[KERAS_ENCODER] = keras_file.read_bytes()
    bundle = write_bundle(
        out,
        encoder=codec.encoder_tflite,
        rvq=rvq,
        name=name,
        rate_hz=rate_hz,
        epsilon=codec.epsilon,
        optional=optional,
        provenance={
            "edgecodec": edgecodec.__version__,
            **_versions(codec),
            "calibration": _calibration_record(codec.calibration),
            "figures": {"frames": len(codec.figure_frames), **figures},
            **provenance,
        },
        force=force,
    )
    return QuantizationSummary(bundle, figures)


def _versions(codec: _Codec) -> dict[str, Any]:
    if codec.encoder is None:
        return {}
    from edgecodec.nn.training import versions

    return {"versions": versions()}


def _calibration_record(frames: Frames) -> dict[str, Any]:
    content = np.ascontiguousarray(frames, "<i2").tobytes()
    return {"frames": len(frames), "sha256": hashlib.sha256(content).hexdigest()}


def _figures(codec: _Codec, rvq: IntegerRvq) -> dict[str, float]:
    """Quality of the float, the INT8 and the integer codec, to 4 decimals."""
    frames = codec.figure_frames
    if len(frames) == 0:
        return {}
    latents = int8_latents(codec.encoder_tflite, codec.graph, frames, codec.epsilon)
    flat = latents.reshape(-1, rvq.dimension)
    integer_indices, integer_sum = quantize_float(flat, _float_codebooks(rvq))
    chosen = {"int8": quantize_float(flat, codec.codebooks)[1], "integer": integer_sum}
    figures: dict[str, float] = {}
    if codec.encoder is not None:
        from edgecodec.quantize.convert import predict

        inputs = normalize(frames, codec.epsilon).astype(np.float32)[:, None, :, None]
        float_latents = predict(codec.encoder, inputs).reshape(-1, rvq.dimension).astype(np.float64)
        float_indices, chosen["float"] = quantize_float(float_latents, codec.codebooks)
        for level, same in enumerate((float_indices == integer_indices).mean(axis=0), start=1):
            figures[f"agreement_l{level}"] = round(float(same), 4)
    if codec.decoder_tflite is not None:
        latent = codec.graph.latent
        decoder = FloatDecoder(codec.decoder_tflite, latent.width, latent.channels, codec.graph.input.width)
        for key in sorted(chosen):
            decoded = decoder.run(chosen[key].reshape(latents.shape).astype(np.float32))
            figures[f"prdn_{key}"] = round(float(prdn(normalize(frames, codec.epsilon), decoded).mean()), 4)
            if not math.isfinite(figures[f"prdn_{key}"]):
                raise QuantizationError("the decoder returns NaN or infinity on real frames; check its weights")
    return figures


def _float_codebooks(rvq: IntegerRvq) -> list[npt.NDArray[np.float64]]:
    """The integer codebooks in the latent's real units; searching them gives the integer answer."""
    step = rvq.latent_scale / 2.0**rvq.fraction_bits
    return [book.astype(np.float64) * step for book in rvq.codebooks]


def int8_latents(encoder: bytes, graph: Graph, frames: Frames, epsilon: float) -> npt.NDArray[np.float64]:
    """Dequantised latents float64 ``[N, P, D]`` of the INT8 encoder for ADC counts ``[N, T]``.

    Run by TFLite's reference kernels, which round as the integer engine does (SPEC.md 1.2).
    """
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    interpreter: Any = Interpreter(
        model_content=encoder, num_threads=1, experimental_op_resolver_type=OpResolverType.BUILTIN_REF
    )
    interpreter.allocate_tensors()
    detail, result = interpreter.get_input_details()[0], interpreter.get_output_details()[0]["index"]
    source, latent = graph.input, graph.latent
    levels = np.rint(normalize(frames, epsilon) / source.scale) + source.zero_point
    inputs = np.clip(levels, -128, 127).astype(np.int8)
    latents = np.empty((len(frames), latent.width, latent.channels))
    for frame, target in zip(inputs, latents, strict=True):
        interpreter.set_tensor(detail["index"], frame.reshape(detail["shape"]))
        interpreter.invoke()
        target[:] = interpreter.get_tensor(result).reshape(target.shape)
    return (latents - latent.zero_point) * latent.scale
