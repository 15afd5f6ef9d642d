"""The errors edgecodec raises.

Each message says where, what was expected and what was found, and ``hint`` what to try; only :mod:`edgecodec.cli`
turns them into exit codes.
"""

from __future__ import annotations

import reprlib


class EdgecodecError(Exception):
    """Base of every error that edgecodec raises on purpose.

    ``str`` of an error is one line: the places it came through, the message, and the hint behind a semicolon.
    """

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        """What is wrong, with the places that :meth:`within` added before it."""
        self.hint = hint
        """What to try, as a command or in the imperative; None when there is nothing."""

    def within(self, where: str, *, hint: str | None = None) -> None:
        """Say on the way up where the error came from, before it is raised again with a bare ``raise``.

        ``where`` goes before the message; ``hint`` is taken when the error has none yet. The error stays itself, with
        all that it knows, such as what a compiler printed.
        """
        self.message = f"{where}: {self.message}"
        self.hint = self.hint or hint

    def __str__(self) -> str:
        return self.message if self.hint is None else f"{self.message}; {self.hint}"


_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 80


def short_repr(value: object) -> str:
    """``repr`` of what a file holds in some hundred characters: aliases in YAML can make it endless."""
    return _SHORT.repr(value)


def install_extra(extra: str) -> str:
    """The command that installs an extra of edgecodec, as errors hint at it and ``doctor`` repeats it."""
    return f'pip install "edgecodec[{extra}]"'


class InputError(EdgecodecError):
    """A file or value given by the user does not fit: frames, codebooks, configuration."""


class BundleError(EdgecodecError):
    """A bundle folder is missing, damaged, edited, or of another version."""


class PacketError(EdgecodecError):
    """A packet is cut, damaged, of another bundle, or of another version."""


class UnsupportedOpError(EdgecodecError):
    """The model holds an op, a type or a shape that the integer engine does not run."""


class QuantizationError(EdgecodecError):
    """A trained model or its codebooks cannot be quantised as asked."""


class PlanError(EdgecodecError):
    """The model reads well but cannot be executed exactly, such as a possible overflow."""


class BuildError(EdgecodecError):
    """A compiler or build tool is missing or failed; ``stderr`` keeps what it printed."""

    def __init__(self, message: str, stderr: str = "", *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.stderr = stderr


class LinkError(EdgecodecError):
    """The serial link is missing, silent, garbled or ended mid-run."""


class DeviceError(EdgecodecError):
    """A board answered, but not as expected: another bundle, protocol or status, or it restarted after a fault."""
