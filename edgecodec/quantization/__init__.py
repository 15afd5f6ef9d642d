"""From a trained codec to a bundle: INT8 encoder, integer codebooks, float decoder."""

from __future__ import annotations

from edgecodec.quantization.fine_tune import FineTuning
from edgecodec.quantization.pipeline import QuantizationSummary, Tuning, quantize_files, quantize_folder, quantize_run

__all__ = ["FineTuning", "QuantizationSummary", "Tuning", "quantize_files", "quantize_folder", "quantize_run"]
