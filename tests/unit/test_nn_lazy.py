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
        "import edgecodec.decoding.decoder",
        "import edgecodec.signal.sources",
    ],
)
def test_import_leaves_tensorflow_alone(statement):
    result = subprocess.run(
        [sys.executable, "-c", _PROBE.format(statement)], capture_output=True, text=True, check=True, timeout=60
    )
    assert result.stdout.strip() == "[]"


def test_unknown_name_is_an_attribute_error():
    import edgecodec.nn

    with pytest.raises(AttributeError, match="nonsense"):
        _ = edgecodec.nn.nonsense
    assert "train" in dir(edgecodec.nn)
