"""Where edgecodec keeps what it can build again, by its content: host extensions, firmware.

What lies in ``<cache>/<kind>/<digest>/`` was made from inputs with that digest, so it is never stale. It is built in a
folder beside and renamed into place, so it is never half written, and looked at before it is used, so that a damaged
one is built again. Processes that build the same at the same time do not disturb each other.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TypeVar

from edgecodec.errors import BuildError
from edgecodec.files.temporary import make_locked, remove_left_behind, unlock
from edgecodec.files.writing import writing
from edgecodec.interrupts import held

T = TypeVar("T")
_BUILD_PREFIX = ".build."
_ATTEMPTS = 8
"""At putting a build in its place while others do the same or damage it."""


def cache_dir() -> Path:
    """The cache folder: ``$EDGECODEC_CACHE``, else the platform's per-user cache. It need not exist yet."""
    chosen = os.environ.get("EDGECODEC_CACHE")
    if chosen:
        return Path(chosen).expanduser().absolute()
    import platformdirs

    return Path(platformdirs.user_cache_dir("edgecodec", appauthor=False))


def cached(kind: str, digest: str, build: Callable[[Path], None], read: Callable[[Path], T]) -> T:
    """What ``read`` returns of the folder for ``digest``, which ``build`` fills when it is missing or damaged.

    ``kind`` is the name of the cache's part, ``digest`` a hash in hex over everything that the content depends on.
    ``build`` gets an empty folder and leaves nothing behind when it raises. ``read`` looks at a folder that was built
    and raises BuildError when something in it is missing or is not what was written.

    Raises BuildError when the cache cannot be written, and what ``build`` raises.
    """
    folder = cache_dir() / kind / digest
    with suppress(BuildError):
        return read(folder)
    failing = partial(writing, f"the cache {folder.parent}", error=BuildError, hint="set EDGECODEC_CACHE to a folder")
    beside, lock = None, None
    try:
        with held(), failing():
            folder.parent.mkdir(parents=True, exist_ok=True)
            remove_left_behind(folder.parent.glob(f"{_BUILD_PREFIX}*"))
            beside, lock = make_locked(folder.parent, _BUILD_PREFIX)
            done = beside / "done"
            done.mkdir()
        with failing(unnamed=True):
            build(done)
        return _install(beside, folder, read)
    finally:
        with held():
            if beside is not None:
                shutil.rmtree(beside, ignore_errors=True)
            unlock(lock)


def _install(beside: Path, folder: Path, read: Callable[[Path], T]) -> T:
    """Rename ``beside/done`` to ``folder``, unless another process has just put a good one there, and read it."""
    for attempt in range(_ATTEMPTS):
        try:
            os.rename(beside / "done", folder)
            break
        except OSError:
            with suppress(BuildError):
                return read(folder)
        # What lies there is damaged; a rename moves it away whole, whoever else does the same.
        with suppress(OSError):
            os.rename(folder, beside / f"damaged{attempt}")
    else:
        raise BuildError(f"{folder} is damaged and cannot be replaced", hint="delete it")
    return read(folder)
