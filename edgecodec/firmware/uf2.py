"""UF2 files, which boards with a drive of their own flash themselves from."""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

INFO_FILE = "INFO_UF2.TXT"
_MAGIC_START = (0x0A324655, 0x9E5D5157)
_MAGIC_END = 0x0AB16F30
_FAMILY_PRESENT = 0x2000
_PAYLOAD_BYTES = 256
_HEADER = struct.Struct("<8I")
_DATA_BYTES = 476
_MAX_INFO_BYTES = 4096


def uf2_blocks(image: bytes, address: int, family: int) -> bytes:
    """``image`` for flash at ``address`` as a UF2 file of blocks of 512 bytes, 256 of them payload.

    The last block is filled up with zeros. Layout: the specification of USB Flashing Format (UF2), "File format".
    """
    starts = range(0, len(image), _PAYLOAD_BYTES)
    blocks = []
    for number, start in enumerate(starts):
        payload = image[start : start + _PAYLOAD_BYTES].ljust(_PAYLOAD_BYTES, b"\0")
        header = _HEADER.pack(
            *_MAGIC_START, _FAMILY_PRESENT, address + start, _PAYLOAD_BYTES, number, len(starts), family
        )
        blocks.append(header + payload.ljust(_DATA_BYTES, b"\0") + struct.pack("<I", _MAGIC_END))
    return b"".join(blocks)


def find_volumes(board_id: str, candidates: Iterable[Path] | None = None) -> list[Path]:
    """Mounted drives whose INFO_UF2.TXT says ``Board-ID: <board_id>``; looks where this system mounts drives."""
    return [path for path in (candidates or _mounted()) if _board_id(path) == board_id]


def _mounted() -> Iterator[Path]:
    if sys.platform == "win32":
        yield from (Path(f"{letter}:/") for letter in "DEFGHIJKLMNOPQRSTUVWXYZ")
    elif sys.platform == "darwin":
        yield from Path("/Volumes").glob("*")
    else:
        for pattern in ("media/*/*", "media/*", "run/media/*/*", "mnt/*"):
            yield from Path("/").glob(pattern)


def _board_id(volume: Path) -> str | None:
    try:
        with (volume / INFO_FILE).open("rb") as file:
            text = file.read(_MAX_INFO_BYTES).decode(errors="replace")
    except OSError:
        return None
    lines = (line.partition(":") for line in text.splitlines())
    return next((value.strip() for key, _, value in lines if key.strip() == "Board-ID"), None)
