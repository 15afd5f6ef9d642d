"""``python -m edgecodec``."""

from edgecodec.cli import entry

entry()
