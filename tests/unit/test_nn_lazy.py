import importlib
import subprocess
import sys

import pytest

_PROBE = "import sys; {}; print(sorted(m for m in ('tensorflow', 'keras', 'scipy', 'heartpy') if m in sys.modules))"


@pytest.mark.parametrize(
    "statement",
    [
        "import edgecodec.nn",
        "from edgecodec.training import load_config",
        "import edgecodec.training.run",
        "import edgecodec.quantization",
        "from edgecodec.quantization import Quantized, Tuning, quantize",
        "from edgecodec.evaluation import evaluate",
        "from edgecodec.decoding import decode",
        "import edgecodec.decoding.decoder",
        "import edgecodec.signal.sources",
    ],
)
def test_import_leaves_tensorflow_alone(statement):
    result = subprocess.run(
        [sys.executable, "-c", _PROBE.format(statement)], capture_output=True, text=True, check=True, timeout=60
    )
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize("package", ["decoding", "evaluation", "nn", "quantization", "training"])
def test_names_of_a_package(package):
    module = importlib.import_module(f"edgecodec.{package}")
    assert set(module.__all__) <= set(dir(module))
    assert all(hasattr(module, name) for name in module.__all__)
    with pytest.raises(AttributeError, match="nonsense"):
        _ = module.nonsense
