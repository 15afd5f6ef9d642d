"""TensorFlow's converter in a process of its own, for graphs on which it may crash.

Its own process takes seconds, so graphs of layers that are known to convert stay in the caller's.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecodec import processes
from edgecodec.codec.numerics import INT8, NUMERICS, Numerics
from edgecodec.errors import QuantizationError
from edgecodec.files.temporary import temporary_folder
from edgecodec.nn.backend import import_tensorflow, quiet

_GRAPH, _REQUEST, _INPUTS, _MODEL, _ERROR = "graph.pb", "request.json", "inputs.npy", "model.tflite", "error.txt"
_REASON_LENGTH = 300


def configure(tf: Any, converter: Any, inputs: npt.NDArray[np.float32] | None, numerics: Numerics = INT8) -> None:
    """Have ``converter`` make integers of ``numerics`` by the ranges on ``inputs [N, 1, ...]``.

    Without inputs it makes float32 of built-in ops.
    """
    if inputs is None:
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        return
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    sets = tf.lite.OpsSet
    wide = sets.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
    converter.target_spec.supported_ops = [sets.TFLITE_BUILTINS_INT8 if numerics == INT8 else wide]
    converter.inference_input_type = converter.inference_output_type = tf.as_dtype(numerics.activation)
    converter.representative_dataset = lambda: ([frame] for frame in inputs)


def failure(role: str, error: Exception) -> QuantizationError:
    """The error of a conversion that TensorFlow gave up with ``error``."""
    found = re.search(r"error: (.+)", str(error))
    reason = " ".join((found[1] if found else str(error)).split())[:_REASON_LENGTH] or type(error).__name__
    return QuantizationError(f"TensorFlow cannot convert the {role} to TFLite: {reason}")


def convert_apart(function: Any, role: str, inputs: npt.NDArray[np.float32] | None, numerics: Numerics = INT8) -> bytes:
    """Convert a concrete function of one input and one output in another process, as :func:`configure` says.

    Raises QuantizationError when the converter fails, or crashes.
    """
    import_tensorflow()
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    with temporary_folder("convert") as folder, quiet():
        frozen = convert_variables_to_constants_v2(function, lower_control_flow=False)
        (folder / _GRAPH).write_bytes(frozen.graph.as_graph_def().SerializeToString())
        request: dict[str, Any] = {
            "inputs": [x.name for x in frozen.inputs],
            "outputs": [x.name for x in frozen.outputs],
        }
        request["numerics"] = numerics.name
        (folder / _REQUEST).write_text(json.dumps(request))
        if inputs is not None:
            np.save(folder / _INPUTS, inputs)
        done = processes.run([sys.executable, "-m", __name__, folder], env={**os.environ, "TMPDIR": str(folder)})
        if (folder / _MODEL).is_file() and done.returncode == 0:
            return (folder / _MODEL).read_bytes()
        if (folder / _ERROR).is_file():
            raise failure(role, RuntimeError((folder / _ERROR).read_text()))
    how = signal.Signals(-done.returncode).name if done.returncode < 0 else f"exit code {done.returncode}"
    raise QuantizationError(
        f"TensorFlow's converter crashed on the {role} ({how})",
        hint="a layer cannot be converted, as a recurrent one: use convolutions, batch norms and ReLU",
    )


def _main(folder: Path) -> None:
    tf = import_tensorflow()
    graph = tf.compat.v1.GraphDef()
    graph.ParseFromString((folder / _GRAPH).read_bytes())
    request = json.loads((folder / _REQUEST).read_text())
    wrapped = tf.compat.v1.wrap_function(lambda: tf.import_graph_def(graph, name=""), [])
    inputs, outputs = ([wrapped.graph.as_graph_element(x) for x in request[key]] for key in ("inputs", "outputs"))
    converter = tf.lite.TFLiteConverter.from_concrete_functions([wrapped.prune(inputs, outputs)])
    given = folder / _INPUTS
    configure(tf, converter, np.load(given) if given.is_file() else None, NUMERICS[request["numerics"]])
    try:
        (folder / _MODEL).write_bytes(converter.convert())
    # The converter raises anything from ValueError to its own ConverterError.
    except Exception as error:
        (folder / _ERROR).write_text(str(error) or type(error).__name__)


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
