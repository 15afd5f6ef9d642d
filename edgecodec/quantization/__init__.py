"""From a trained codec to a bundle: INT8 encoder, integer codebooks, float decoder, packets.

Names are imported when they are first used, so that importing the package imports no TensorFlow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgecodec._lazy import lazy

if TYPE_CHECKING:
    from edgecodec.quantization.fine_tune import FineTuning
    from edgecodec.quantization.pipeline import Tuning, quantize, quantize_folder, quantize_run
    from edgecodec.quantization.quantized import Quantized
    from edgecodec.quantization.report import Candidate, QuantizationReport

__all__ = [
    "Candidate",
    "FineTuning",
    "QuantizationReport",
    "Quantized",
    "Tuning",
    "quantize",
    "quantize_folder",
    "quantize_run",
]

__getattr__, __dir__ = lazy(
    __name__,
    {
        "Candidate": "edgecodec.quantization.report",
        "FineTuning": "edgecodec.quantization.fine_tune",
        "QuantizationReport": "edgecodec.quantization.report",
        "Quantized": "edgecodec.quantization.quantized",
        "Tuning": "edgecodec.quantization.pipeline",
        "quantize": "edgecodec.quantization.pipeline",
        "quantize_folder": "edgecodec.quantization.pipeline",
        "quantize_run": "edgecodec.quantization.pipeline",
    },
)
