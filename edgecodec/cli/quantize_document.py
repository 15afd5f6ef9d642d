"""What ``edgecodec quantize --json`` prints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from edgecodec.compile.inspect import InspectDocument
from edgecodec.documents import Document
from edgecodec.quantization.report import Figures, QuantizationReport


@dataclass(frozen=True)
class QuantizeDocument(Document):
    """The bundle made, and how its integers were chosen."""

    SCHEMA: ClassVar[str] = "edgecodec.quantize"

    inspection: InspectDocument
    """The bundle, as `edgecodec inspect` shows it."""
    figures: Figures
    """Quality of the bundle's codec beside the float codec's: number of frames, shares of equal indices and of
    saturated values from 0 to 1, Cohen's kappa of the indices, PRDN and the errors of latent and codes in percent."""
    quantization: QuantizationReport
    """Candidates that were tried and the one that was kept."""
