"""From a trained Keras codec to a bundle: INT8 encoder, integer codebooks, float decoder."""

from __future__ import annotations

from edgecodec.quantize.pipeline import QuantizationSummary, quantize_files, quantize_run

__all__ = ["QuantizationSummary", "quantize_files", "quantize_run"]
