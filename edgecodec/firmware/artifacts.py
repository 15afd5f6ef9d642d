"""Names of the files that a build leaves in a firmware's folder."""

from __future__ import annotations

ELF = "firmware.elf"
BINARY = "firmware.bin"
"""The image as it lies in flash."""
UF2 = "firmware.uf2"
"""The image for a board that shows itself as a drive."""
MAP = "firmware.map"
REPORT = "build-report.json"
