"""The header of a model's file, ``<prefix>.edcm`` (SPEC.md 6)."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

from edgecodec._version import __version__

SUFFIX = ".edcm"
"""How names of the files end."""
_MAGIC = b"\x89EDM"
_FORMAT = 1
_HEADER = struct.Struct("<4sII4B3IHH32s")
_CHECKED = 8
"""Where what is checked begins: behind magic and check."""


def with_header(
    word: int, tables: int, memory: int, model: int, kernels: int, alignment: int, digest: bytes, body: bytes
) -> bytes:
    """``body`` behind its header.

    ``word`` is the width of a pointer; ``tables``, ``memory`` and ``kernels`` are the sizes of the body's parts, in
    bytes, bytes and numbers, and ``model`` is where the model is in the memory.
    """
    major, minor, _patch = __version__.split(".")
    size = _HEADER.size + len(body)
    versions = (_FORMAT, word, int(major), int(minor))
    header = _HEADER.pack(_MAGIC, 0, size, *versions, tables, memory, model, kernels, alignment, digest)
    checked = header[_CHECKED:] + body
    return _MAGIC + struct.pack("<I", zlib.crc32(checked)) + checked


@dataclass(frozen=True)
class BlobFacts:
    """What a file of a model says of itself."""

    file: str
    """Its name."""
    bytes: int
    """Its size."""
    table_bytes: int
    """Of it, what is read where it lies: weights, codebooks and other constants without pointers."""
    memory_bytes: int
    """RAM that opening takes, for structures with pointers."""
    alignment: int
    """Bytes that the file, where it is mapped to memory, and that RAM must be aligned to."""
    kernels: int
    """Kernels and other functions that a program must have to open it."""

    @classmethod
    def read(cls, path: Path) -> BlobFacts:
        """The facts of a file that :func:`edgecodec.compile.blob.make_blob` made."""
        data = path.read_bytes()
        _, _, size, _, _, _, _, tables, memory, _, kernels, alignment, _ = _HEADER.unpack_from(data)
        return cls(path.name, size, tables, memory, alignment, kernels)
