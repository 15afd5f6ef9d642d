"""Where the package's own files are; C sources and templates lie beside it in a checkout, inside it in a wheel."""

from __future__ import annotations

import os
from pathlib import Path

from edgecodec.errors import EdgecodecError

_PACKAGE = Path(__file__).resolve().parent.parent


def firmware_dir() -> Path:
    """The folder ``firmware/`` with codec, link, port and boards. Raises EdgecodecError when it is missing."""
    return _find("firmware")


def templates_dir() -> Path:
    """The folder ``templates/`` with the Jinja templates. Raises EdgecodecError when it is missing."""
    return _find("templates")


def license_path() -> Path:
    """The licence of edgecodec and of the C that it writes. Raises EdgecodecError when it is missing."""
    for candidate in (_PACKAGE / "_resources" / "LICENSE", _PACKAGE.parent / "LICENSE"):
        if candidate.is_file():
            return candidate
    raise EdgecodecError("the package's LICENSE is missing", hint="install edgecodec again")


def preset_files() -> list[Path]:
    """The training configurations that come with edgecodec, sorted by name."""
    return sorted((_PACKAGE / "presets").glob("*.yaml"))


def shipped_dir() -> Path:
    """The folder of the bundles that come with edgecodec."""
    return _PACKAGE / "bundles"


def shipped_bundles() -> dict[str, Path]:
    """The bundles that come with edgecodec: name to folder, sorted."""
    return {folder.name: folder for folder in sorted(shipped_dir().glob("*")) if folder.is_dir()}


def bundle_folder(path: str | os.PathLike[str]) -> Path:
    """``path``, or, where nothing is there and it is one of their names, a shipped bundle's folder."""
    folder = Path(path)
    return folder if folder.exists() else shipped_bundles().get(os.fspath(path), folder)


def _find(name: str) -> Path:
    for candidate in (_PACKAGE / "_resources" / name, _PACKAGE.parent / name):
        if candidate.is_dir():
            return candidate
    raise EdgecodecError(f"the package's {name}/ folder is missing", hint="install edgecodec again")
