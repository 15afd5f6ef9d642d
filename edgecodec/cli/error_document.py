"""The document that any command prints with ``--json`` when it ends in an error."""

from __future__ import annotations

from dataclasses import dataclass

from edgecodec.documents import Document


@dataclass(frozen=True)
class ErrorDocument(Document):
    """What went wrong."""

    SCHEMA = "edgecodec.error"

    verdict: str
    """``undecided``, for an error proves nothing; ``exceeded`` when firmware is larger than a limit given."""
    error: str
    """What is wrong and where, on one line."""
    hint: str | None
    """What to try; null when there is nothing."""
    error_type: str
    """Class of the error, such as ``BundleError``."""
