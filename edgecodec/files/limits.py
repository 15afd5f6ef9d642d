"""The most bytes that a file from outside may have, by what it is; a larger one is refused before it is read.

Bundle parts have as many as their manifest states, and no more than these. A stream of packets has no limit: it is read
once, in constant memory.
"""

from __future__ import annotations

MODEL = 1 << 29
"""``.tflite``, ``.keras``, ``.h5``: an encoder or decoder with its weights."""
CODEBOOKS = 1 << 28
"""Codebooks in ``.npz``, ``.npy``."""
RECORDINGS = 1 << 32
"""Recordings in any format but text."""
TABLE = 1 << 29
"""Recordings as text, ``.csv``."""
TABLE_LINE = 1 << 24
"""Characters of a line of such text: as a recording a row 11 hours at 64 Hz. It takes some 20 times that of memory."""
MATLAB = 1 << 31
"""Recordings in ``.mat``."""
INDICES = 1 << 31
"""Indices of many frames, ``.npz``."""
BUNDLE_PART = 1 << 29
"""A file of a bundle."""
DOCUMENT = 1 << 24
"""JSON: manifests of bundles and exporters, ``run.json``, the report of a build."""
MODEL_DOCUMENT = 1 << 26
"""JSON within a ``.keras`` file."""
CONFIGURATION = 1 << 20
"""A YAML configuration of a training."""
BOARD = 1 << 16
"""A YAML board file."""
CHECKPOINT = 1 << 32
"""The checkpoint of a training that goes on."""
UNPACKED = 1 << 31
"""What the arrays of one file may take of memory, 268 million numbers of 8 bytes."""
