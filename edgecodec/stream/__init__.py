"""The server side, from codebook indices back to PPG, their rates, and the tokens of plain vectors.

Names are loaded on first use, so that a command that needs one module does not import the others.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgecodec.stream.index_prior import IndexPrior
    from edgecodec.stream.tokens import RvqConfig, RvqEncoder, RvqTokens

_MODULES = {"IndexPrior": "index_prior", "RvqConfig": "tokens", "RvqEncoder": "tokens", "RvqTokens": "tokens"}

__all__ = ["IndexPrior", "RvqConfig", "RvqEncoder", "RvqTokens"]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
