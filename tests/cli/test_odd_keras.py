"""Odd Keras models and SavedModels: one line that names the file, exit code 2, nothing written."""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.cli.odd_files import (
    SAMPLES,
    Make,
    archive,
    content,
    everywhere,
    flipped,
    named,
    quantized,
    refused_alone,
)
from tests.tools import require


@cache
def keras_file() -> dict[str, bytes]:
    """The members of a .keras file of a good encoder, and ``whole`` and ``h5``, itself and as HDF5."""
    import tempfile

    from edgecodec.nn.backend import import_keras, keras_bytes, quiet
    from tests.models import head, stack

    model = stack(import_keras(), *head(import_keras()))
    whole = keras_bytes(model)
    with zipfile.ZipFile(io.BytesIO(whole)) as file:
        members = {name: file.read(name) for name in file.namelist()}
    with tempfile.TemporaryDirectory() as folder, quiet():
        model.save(f"{folder}/model.h5")
        h5 = Path(folder, "model.h5").read_bytes()
    return {**members, "whole": whole, "h5": h5}


def _keras(path: Path, **other: bytes | None) -> None:
    """The good file with members replaced, or left out; ``config_json`` stands for ``config.json``."""
    members = {name: keras_file()[name] for name in ("config.json", "metadata.json", "model.weights.h5")}
    members |= {name.replace("_json", ".json").replace("_h5", ".weights.h5"): data for name, data in other.items()}
    path.write_bytes(archive({name: data for name, data in members.items() if data is not None}))


def _whole(change: Callable[[bytes], bytes], member: str, path: Path) -> None:
    path.write_bytes(change(keras_file()[member]))


def _config(change: Callable[[dict[str, Any]], Any], path: Path) -> None:
    """The good file with what ``change`` makes of its parsed configuration, or leaves in it."""
    config = json.loads(keras_file()["config.json"])
    changed = change(config)
    _keras(path, config_json=json.dumps(config if changed is None else changed).encode())


def _layer(number: int, **settings: Any) -> Make:
    """The good file with settings of a layer replaced; the input is layer 0."""
    return partial(_config, lambda config: config["config"]["layers"][number]["config"].update(settings))


def _input(*shape: int | None) -> Make:
    return _layer(0, batch_shape=[None, *shape])


def _weights(change: Callable[[Any], Any], path: Path) -> None:
    """The good file with the HDF5 file of its weights changed."""
    import h5py

    buffer = io.BytesIO(keras_file()["model.weights.h5"])
    with h5py.File(buffer, "a") as file:
        change(file)
    _keras(path, model_h5=buffer.getvalue())


def _kernel(value: Any) -> Make:
    def change(file: Any) -> None:
        del file["layers/conv2d/vars/0"]
        file["layers/conv2d/vars/0"] = value

    return partial(_weights, change)


def _saved_model(path: Path, pb: bytes, **files: bytes) -> None:
    path.mkdir()
    (path / "saved_model.pb").write_bytes(pb)
    for name, data in files.items():
        (path / name).write_bytes(data)


def keras_models() -> dict[str, tuple[str, Make]]:
    """Files and folders that hold no encoder."""
    shares = (0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99)
    makes: dict[str, Make] = {
        f"cut after {share:.0%}": partial(_whole, lambda data, share=share: data[: int(share * len(data))], "whole")
        for share in shares
    }
    makes |= {
        f"bits flipped, {seed}": partial(_whole, lambda data, seed=seed: flipped(data, seed, 400), "whole")
        for seed in range(8)
    }
    texts = {
        "nothing": b"",
        "no JSON": b"{'a': 1}",
        "a list": b"[]",
        "null": b"null",
        "a number": b"1e999",
        "an empty object": b"{}",
        "a key twice": keras_file()["config.json"].replace(b"{", b'{"module": "keras", ', 1),
        "deep brackets": b"[" * 100_000,
        "deep objects": b'{"config":' * 50_000,
        "no UTF-8": b'{"class_name": "\xff\xfe"}',
        "a class of the system": b'{"module": "os", "class_name": "system", "config": {"command": "false"}}',
        "a class of nobody": b'{"module": "nobody", "class_name": "Nobody", "registered_name": "x>y", "config": {}}',
        "a layer": b'{"module": "keras.layers", "class_name": "ReLU", "config": {"name": "r"}}',
        "an optimiser": b'{"module": "keras.optimizers", "class_name": "SGD", "config": {"name": "SGD"}}',
        "a model of no layers": b'{"module": "keras", "class_name": "Sequential", "config": {"layers": []}}',
    }
    makes |= {f"a configuration of {kind}": partial(_keras, config_json=text) for kind, text in texts.items()}
    makes |= {
        "no configuration": partial(_keras, config_json=None),
        "no weights": partial(_keras, model_h5=None),
        "weights of nothing": partial(_keras, model_h5=b""),
        "weights of text": partial(_keras, model_h5=b"all work"),
        "weights cut off": lambda path: _keras(path, model_h5=keras_file()["model.weights.h5"][:900]),
        "layers of a text": partial(_config, lambda config: config["config"].update(layers="none")),
        "no inputs": partial(_config, lambda config: config["config"].update(input_layers=[])),
        "an output of nowhere": partial(_config, lambda c: c["config"].update(output_layers=[["none", 0, 0]])),
        "a layer that reads itself": partial(_config, _of_itself),
        "a layer of nobody": partial(_config, lambda c: c["config"]["layers"][1].update(module="me", class_name="Me")),
        "filters below zero": _layer(1, filters=-3),
        "no filters": _layer(1, filters=0),
        "filters beyond memory": _layer(1, filters=10**13),
        "filters of a text": _layer(1, filters="six"),
        "a kernel of none": _layer(1, kernel_size=[1, 0]),
        "a stride of none": _layer(1, strides=[0, 0]),
        "padding of a word": _layer(1, padding="around"),
        "an activation of nobody": _layer(1, activation="snake"),
        "channels first": _layer(1, data_format="channels_first"),
        "two channels": _input(1, SAMPLES, 2),
        "frames of any length": _input(1, None, 1),
        "frames longer than memory": _input(1, 2**40, 1),
        "frames of no sample": _input(1, 0, 1),
        "a picture": _input(8, 8, 1),
        "five axes": _input(1, 1, SAMPLES, 1),
        "one axis": _input(SAMPLES),
        "weights of NaN": _kernel(np.full((1, 5, 1, 6), np.nan)),
        "weights of infinity": _kernel(np.full((1, 5, 1, 6), np.inf)),
        "weights of texts": _kernel(np.full((1, 5, 1, 6), b"x")),
        "weights of another shape": _kernel(np.zeros((1, 5, 1, 7))),
        "weights of one number": _kernel(1.0),
        "weights without a layer": partial(_weights, lambda file: file.__delitem__("layers/conv2d")),
    }
    found = everywhere(".keras") | named(".keras", makes)
    found |= named(
        ".h5",
        {f"h5 cut after {share:.0%}": partial(_whole, lambda data, share=share: data[: int(share * len(data))], "h5")
         for share in shares}
        | {
            "h5 of weights alone": partial(_whole, lambda data: keras_file()["model.weights.h5"], "h5"),
            "h5 of a damaged head": partial(_whole, lambda data: flipped(data, 1, 60, 8, 96), "h5"),
            "h5 of text": content("all work"),
        },
    )  # fmt: skip
    found |= named(
        "",
        {
            "a SavedModel of nothing": partial(_saved_model, pb=b""),
            "a SavedModel of text": partial(_saved_model, pb=b"all work and no play"),
            "a SavedModel of zeros": partial(_saved_model, pb=bytes(100)),
            "a SavedModel of noise": partial(_saved_model, pb=np.random.default_rng(1).bytes(500)),
            "a folder of a .keras": lambda path: (path.mkdir(), (path / "model.keras").write_bytes(b"PK"))[0],
        },
    )
    for suffix in (".onnx", ".pt", ".pth", ".safetensors", ".ckpt"):
        found[f"{suffix}"] = (f"file{suffix}", content(b"PK\x03\x04 of another framework"))
    return found


def _of_itself(config: dict[str, Any]) -> None:
    layers = config["config"]["layers"]
    history = layers[1]["inbound_nodes"][0]["args"][0]["config"]["keras_history"]
    history[0] = layers[1]["config"]["name"]


KERAS = keras_models()


@pytest.mark.parametrize("kind", KERAS)
def test_keras(kind: str, good: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    require("module:tensorflow")
    (tmp_path / "checking").mkdir()
    said = refused_alone(capfd, tmp_path / "checking", KERAS[kind], "check", "FILE")
    (tmp_path / "quantize").mkdir()
    again = refused_alone(
        capfd, tmp_path / "quantize", KERAS[kind], *quantized(good, tmp_path / "quantize", encoder="FILE")
    )
    # Keras numbers tensors as it goes, and names them when it is at a loss; what it says is cut at a length.
    numbers = re.compile(r"\d+")
    one, other = numbers.sub("", said), numbers.sub("", again.replace("/quantize/", "/checking/"))
    assert one[:-8] == other[: len(one) - 8]
    assert abs(len(one) - len(other)) <= 8


def test_there_are_sixty() -> None:
    assert len(KERAS) >= 60
