"""docs/models.md: what becomes of each model that people bring, as it is and as the page says."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from edgecodec.codec.tflite_reader import read_graph
from edgecodec.errors import EdgecodecError, QuantizationError
from edgecodec.nn.backend import quiet
from edgecodec.quantization.keras_models import load_plain_encoder, plain_decoder, plain_encoder
from edgecodec.quantization.tflite_ends import without_ends
from tests.emulated.test_models import BOARDS, ON_BOARDS
from tests.models import DECODERS, FOREIGN, REFUSED, RUNS, SAMPLES, conv1d, converted, keras_2_file
from tests.tflite_builder import dynamic_batch_encoder, malformed_encoder
from tests.tools import require

PAGE = Path(__file__).resolve().parents[2] / "docs" / "models.md"
HEAD = """# Models

Which models `edgecodec quantize` takes, and what becomes of their layers. `edgecodec check MODEL` prints it of yours,
without any data. A test writes this page (`make golden`) and compares it; the models are those of `tests/models.py`.

Nothing here adds an op to the device: what can be folded into convolutions is folded on the host, before the model is
quantised, and compared with the model itself on noise.

## What runs

Each is converted, and its integers are equal in the numpy reference and in TensorFlow Lite Micro, which runs the
padding ops that are folded here (`tests/unit/test_models.py`). The last column says where the generated C was compared,
too: on the host and on emulated boards (`tests/emulated/test_models.py`), for the models whose layers no preset has.

"""
TFLITE = """
## TFLite files

"""
FILES = """
## Other files

Of a layer that is neither Keras's nor of `edgecodec.nn` nor heliaEDGE's, a `.keras` file has name, settings and
weights, but not the code. Where it is the quantiser, the encoder ends before it and the code is not needed: codebooks
`[K, D]` are found in it by `--codebooks` with the same file.

"""
DECODED = """
## Decoders

Of `--decoder`: `.keras`, `.h5` or float32 `.tflite`, with a batch of one or of any size, for latents of P positions and
D channels.

"""
REFUSALS = """
## What is refused

Exit code 2, one line that names the layer, and what to use in its place.

"""
ELSEWHERE = """
## From PyTorch and ONNX

A model of another framework is refused with the commands that lead here. In Python, with the model in `model`,
and `frame` a tensor of zeros as it takes them, such as `(1, 1, T)`, after `pip install onnx onnxscript`:

    torch.onnx.export(model.eval(), frame, "encoder.onnx")

The weights go to `encoder.onnx.data`, which must stay beside it. Then, in an environment of its own, for it wants
TensorFlow and packages of its own versions:

    pip install onnx2tf
    onnx2tf -i encoder.onnx -osd -o saved
    edgecodec check saved

`onnx2tf` turns the axes round: `(1, 1, T)` with channels first becomes `(1, T, 1)`, and `saved` is a SavedModel that
`edgecodec quantize --encoder saved` takes. Codebooks are saved as `.npz` with `level_0`, `level_1`, ... float `[K, D]`:

    numpy.savez("codebooks.npz", level_0=books[0].numpy(), level_1=books[1].numpy())

This was run as it stands here (torch 2.13.0, onnx 1.23.2, onnxscript 0.7.2; onnx2tf 1.29.24 with onnx 1.19.1,
TensorFlow 2.19.0 and Keras 3.15.1) on an encoder of three `Conv1d` with strides of 2, batch norms and ReLU, and two
codebooks of 32 codes. On 300 frames its latents, up to 1.0, differ from PyTorch's by at most 4e-7, and all 24,000
indices are PyTorch's; `verify-host` finds the integers that `quantize` makes of it equal everywhere.
"""


def table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [header, ("---",) * len(header), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', '/') for cell in row)} |\n" for row in lines)


def running(keras: Any) -> str:
    rows = []
    for kind, build in RUNS.items():
        encoder = plain_encoder(build(keras), kind)
        verdicts = Counter(str(row.verdict) for row in encoder.layers if row.kind != "InputLayer")
        # Names of models are numbered by Keras as it goes.
        said = [note.partition(" of ")[0] for note in encoder.notes]
        said += [f"{row.kind}: {row.note}" for row in encoder.layers if row.note and row.kind != "InputLayer"]
        layers = ", ".join(f"{count} {verdict}" for verdict, count in sorted(verdicts.items(), reverse=True))
        compared = ", ".join(("host", *BOARDS)) if kind in ON_BOARDS else "-"
        rows.append((kind, layers, "; ".join(dict.fromkeys(said)) or "as it is", compared))
    return table(("model", "layers", "how", "C equal on"), rows)


def tflite_files(keras: Any) -> str:
    files = {
        "INT8 with a batch of any size": dynamic_batch_encoder(),
        "INT8 inside, floats at both ends": converted(keras, inner="int8"),
        "float32": converted(keras, inner="float32"),
        "float16 weights": converted(keras, inner="float16"),
        "16-bit activations (16x8)": converted(keras, inner="int16"),
        "zeros before a convolution without padding (PAD)": converted(keras, inner="int8", build=RUNS["zero padding"]),
        "a skip connection": malformed_encoder("op_add"),
        "a fused activation that is no ReLU": malformed_encoder("tanh"),
        "frames of any length": malformed_encoder("dynamic_width"),
    }
    rows = []
    for kind, given in files.items():
        try:
            data, notes = without_ends(given)
            read_graph(data)
            rows.append((kind, "runs", "; ".join(notes) or "as it is"))
        except EdgecodecError as error:
            rows.append((kind, "refused", str(error.hint)))
    return table(("file", "", "how, or what to do"), rows)


def other_files(keras: Any, folder: Path) -> str:
    """What becomes of files that are no plain .keras or .tflite."""
    files = {"`.h5` of Keras 2": folder / "keras_2.h5", "SavedModel": folder / "saved"}
    keras_2_file(keras, folder / "keras_2.h5")
    with quiet():
        conv1d(keras).export(str(folder / "saved"), verbose=False)
        for number, (kind, (build, _)) in enumerate(FOREIGN.items()):
            files[f"`.keras` with {kind}" + ("" if "Lambda" in kind else " of a class that is not here")] = (
                folder / f"{number}.keras"
            )
            build(keras).save(folder / f"{number}.keras")
    for suffix in (".onnx", ".pt", ".pth", ".safetensors"):
        files[f"`{suffix}`"] = folder / f"model{suffix}"
        (folder / f"model{suffix}").write_bytes(b"another framework's")
    rows = []
    for kind, path in files.items():
        try:
            notes = [note.partition(" of '")[0] for note in load_plain_encoder(path).notes]
            rows.append((kind, "runs", "; ".join(notes) or "as it is"))
        except EdgecodecError as error:
            rows.append((kind, "refused", str(error.hint)))
    return table(("file", "", "how, or what to do"), rows)


def decoders(keras: Any) -> str:
    """What becomes of decoders of an encoder from 64 samples to 16 positions of 4 channels."""
    rows = []
    for kind, build in DECODERS.items():
        given = build(keras)
        try:
            made = plain_decoder(given, "decoder", 16, 4, SAMPLES)
            how = "as it is" if made is given else "axes of size 1 are put on"
            rows.append((kind, "runs", "the decoder is its part" if made in given.layers else how))
        except EdgecodecError as error:
            rows.append((kind, "refused", error.message.partition(": ")[2]))
    return table(("decoder", "", "how, or why not"), rows)


def refused(keras: Any) -> str:
    rows = []
    for kind, (build, _) in REFUSED.items():
        with pytest.raises(QuantizationError) as caught:
            plain_encoder(build(keras), "model")
        rows.append((kind, str(caught.value.hint)))
    return table(("model", "what it says"), rows)


def test_page(tmp_path: Path) -> None:
    require("module:tensorflow")
    from edgecodec.nn.backend import import_keras

    keras = import_keras()
    keras.utils.set_random_seed(4)
    text = HEAD + running(keras) + TFLITE + tflite_files(keras) + FILES + other_files(keras, tmp_path)
    text += DECODED + decoders(keras) + REFUSALS + refused(keras) + ELSEWHERE
    if os.environ.get("EDGECODEC_UPDATE_GOLDEN") == "1":
        PAGE.write_text(text, encoding="utf-8")
    assert PAGE.read_text(encoding="utf-8") == text, "run `make golden` and look at the difference"
