"""The errors edgecodec raises.

Each message says where, what was expected, what was found and what to try; only :mod:`edgecodec.cli` turns
them into exit codes.
"""

from __future__ import annotations


class EdgecodecError(Exception):
    """Base of every error that edgecodec raises on purpose."""


class InputError(EdgecodecError):
    """A file or value given by the user does not fit: frames, codebooks, configuration."""


class BundleError(EdgecodecError):
    """A bundle folder is missing, damaged, edited, or of another version."""


class UnsupportedOpError(EdgecodecError):
    """The model holds an op, a type or a shape that the integer engine does not run."""


class QuantizationError(EdgecodecError):
    """A trained model or its codebooks cannot be quantised as asked."""


class PlanError(EdgecodecError):
    """The model reads well but cannot be executed exactly, such as a possible overflow."""


class BuildError(EdgecodecError):
    """A compiler or build tool is missing or failed; ``stderr`` keeps what it printed."""

    def __init__(self, message: str, stderr: str = "") -> None:
        super().__init__(message)
        self.stderr = stderr


class LinkError(EdgecodecError):
    """The serial link is missing, silent, garbled or ended mid-run."""


class DeviceError(EdgecodecError):
    """A board answered, but is not the one expected: another bundle, protocol or status."""
