"""Whether a model can be quantised and run, layer by layer, without any data: the document of ``edgecodec check``."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np

from edgecodec.codec.graph import Graph, Op
from edgecodec.codec.tflite_reader import MOVING_OPS, WAYS_OUT, op_names, read_graph
from edgecodec.documents import Document
from edgecodec.errors import EdgecodecError, InputError, UnsupportedOpError
from edgecodec.files.limits import MODEL
from edgecodec.files.regular import read_regular
from edgecodec.quantization.convert import convert_encoder
from edgecodec.quantization.keras_files import SavedEncoder, load_encoder_model
from edgecodec.quantization.keras_layers import CheckedLayer, Verdict
from edgecodec.quantization.keras_models import examine_encoder, plain_encoder
from edgecodec.quantization.tflite_ends import without_ends

_FRAMES = 8
_UNSEEN = "as the converter made it"


@dataclass(frozen=True)
class RunningLayer:
    """A convolution that the engine runs."""

    name: str
    """Name of the Keras layer that it comes from, or of its output tensor."""
    op: str
    """TFLite op: ``CONV_2D`` or ``DEPTHWISE_CONV_2D``."""
    input: tuple[int, int]
    """Positions and channels that it reads."""
    output: tuple[int, int]
    """Positions and channels that it returns."""
    kernel: int
    """Taps, those of zero that dilation puts between others included."""
    stride: int
    """Input positions from one output to the next."""
    pad_left: int
    """Positions before the first sample that the first output's taps meet."""
    macs: int
    """Multiply-accumulates of a frame."""


@dataclass(frozen=True)
class CheckDocument(Document):
    """What becomes of each layer of a model, and what runs in the end."""

    SCHEMA: ClassVar[str] = "edgecodec.check"

    model: str
    """Path of the model."""
    verdict: str
    """``runs`` when every layer runs or is folded into one that does, else ``refused``."""
    notes: tuple[str, ...]
    """What is done to the model before it is quantised, a phrase each, such as which part of it is the encoder."""
    layers: tuple[CheckedLayer, ...]
    """The model's own layers, or the ops of a TFLite file, in the order in which they run."""
    error: str | None
    """Why it is refused, in the words of `edgecodec quantize`; null when it runs."""
    encoder: tuple[RunningLayer, ...]
    """The convolutions that run; empty when the model is refused."""
    macs: int
    """Multiply-accumulates of a frame; 0 when the model is refused."""


def check_model(path: Path) -> CheckDocument:
    """Find out what becomes of the encoder in a ``.keras``, ``.h5`` or ``.tflite`` file or a SavedModel folder.

    A float model is converted by the ranges of noise, so that what comes out is certain to run; the integers of
    `edgecodec quantize` will be others. Raises InputError when the path leads to no readable model.
    """
    if path.suffix == ".tflite":
        return _check_tflite(path)
    given = load_encoder_model(path)
    rows: tuple[CheckedLayer, ...] = ()
    notes: tuple[str, ...] = ()
    try:
        if not isinstance(given, SavedEncoder):
            examined, notes = examine_encoder(given, str(path))
            rows = tuple(examined)
        plain = plain_encoder(given, str(path))
        notes = plain.notes or notes
        samples = int(plain.model.input_shape[2])
        noise = np.random.default_rng(0).normal(2000, 300, (_FRAMES, samples)).astype(np.int16)
        _, graph = convert_encoder(plain.model, noise)
        _check_channels(graph)
    except InputError:
        raise
    except EdgecodecError as error:
        return _refused(path, notes, rows, error)
    return _running(path, notes, rows, graph)


def _check_tflite(path: Path) -> CheckDocument:
    given = read_regular(path, "an INT8 encoder", MODEL)
    rows: tuple[CheckedLayer, ...] = ()
    notes: tuple[str, ...] = ()
    try:
        data, notes = without_ends(given)
        rows = tuple(_op_row(name, tensor) for name, tensor in op_names(data))
        graph = read_graph(data)
        _check_channels(graph)
    except EdgecodecError as error:
        error.within(str(path))
        if isinstance(error, InputError):
            raise
        # Where each op is one that runs, it is not the layers that are wrong but their type or order.
        refused = any(row.verdict is Verdict.REFUSED for row in rows)
        return _refused(path, notes, rows if refused else (), error)
    return _running(path, notes, rows, graph)


def _op_row(op: str, tensor: str) -> CheckedLayer:
    if op in list(Op):
        return CheckedLayer(tensor, op, Verdict.RUNS, "")
    if op in MOVING_OPS:
        folded = "into the padding of the next convolution" if "PAD" in op else "axes of size 1 come and go"
        return CheckedLayer(tensor, op, Verdict.FOLDED, folded)
    return CheckedLayer(tensor, op, Verdict.REFUSED, WAYS_OUT.get(op, "remove the layer from the encoder"))


def _check_channels(graph: Graph) -> None:
    if graph.input.channels != 1:
        raise UnsupportedOpError(
            f"the encoder takes {graph.input.channels} channels; expected 1, frames (1, T, 1)",
            hint="one codec runs one channel of PPG",
        )


def _refused(
    path: Path, notes: tuple[str, ...], rows: tuple[CheckedLayer, ...], error: EdgecodecError
) -> CheckDocument:
    return CheckDocument(str(path), Verdict.REFUSED, notes, rows, str(error), (), 0)


def _running(path: Path, notes: tuple[str, ...], rows: tuple[CheckedLayer, ...], graph: Graph) -> CheckDocument:
    layers = tuple(
        RunningLayer(
            layer.name,
            str(layer.op),
            (layer.input.width, layer.input.channels),
            (layer.output.width, layer.output.channels),
            layer.kernel,
            layer.stride,
            layer.pad_left,
            layer.macs,
        )
        for layer in graph.layers
    )
    # A layer of somebody's own is one that the converter knew what to make of.
    rows = tuple(
        replace(row, verdict=Verdict.RUNS, note=_UNSEEN) if row.verdict is Verdict.REFUSED else row for row in rows
    )
    rows = rows or tuple(CheckedLayer(layer.name, layer.op, Verdict.RUNS, _UNSEEN) for layer in layers)
    return CheckDocument(str(path), Verdict.RUNS, notes, rows, None, layers, graph.macs)
