"""The document that commands print with ``--dry-run --json``."""

from __future__ import annotations

from dataclasses import dataclass

from edgecodec.documents import Document


@dataclass(frozen=True)
class CommandsDocument(Document):
    """What reaching a board would run."""

    SCHEMA = "edgecodec.commands"

    commands: tuple[str, ...]
    """Lines for a shell, in their order; those that start with ``#`` say what happens in this process."""
