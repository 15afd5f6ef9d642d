"""Where edgecodec keeps what it can build again: host shims, firmware, demo models."""

from __future__ import annotations

import os
from pathlib import Path


def cache_dir() -> Path:
    """The cache folder: ``$EDGECODEC_CACHE``, else the platform's per-user cache. It need not exist yet."""
    chosen = os.environ.get("EDGECODEC_CACHE")
    if chosen:
        return Path(chosen).expanduser().absolute()
    import platformdirs

    return Path(platformdirs.user_cache_dir("edgecodec", appauthor=False))
