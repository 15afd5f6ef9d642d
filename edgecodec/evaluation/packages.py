"""Packages that measuring and plotting need and that edgecodec is installed without."""

from __future__ import annotations

import importlib.util

from edgecodec.errors import InputError, install_extra


def need_package(name: str) -> None:
    """Raise InputError, with how to install it, unless the package ``name`` is there."""
    if importlib.util.find_spec(name) is None:
        raise InputError(f"{name} is not installed", hint=install_extra("signal"))
