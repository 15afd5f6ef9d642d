"""The documents of ``edgecodec boards``."""

from __future__ import annotations

from dataclasses import dataclass, field

from edgecodec.boards.schema import Board
from edgecodec.documents import INLINE, Document


@dataclass(frozen=True)
class BoardsDocument(Document):
    """The boards that firmware can be built for."""

    SCHEMA = "edgecodec.boards"

    boards: tuple[Board, ...]
    """Each board that comes with edgecodec, in full, sorted by name."""


@dataclass(frozen=True)
class BoardDocument(Document):
    """One board, in full."""

    SCHEMA = "edgecodec.board"

    board: Board = field(metadata=INLINE)
    """The board; its keys are the document's."""
