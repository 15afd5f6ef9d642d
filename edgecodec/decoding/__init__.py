"""The server side: from codebook indices back to PPG, and the tokens of plain vectors.

Names are imported when they are first used, so that importing the package imports no TensorFlow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgecodec._lazy import lazy

if TYPE_CHECKING:
    from edgecodec.decoding.decoder import FrameDecoder, decode
    from edgecodec.decoding.index_file import IndexFile, load_indices, save_indices
    from edgecodec.decoding.tokens import RvqConfig, RvqEncoder, RvqTokens

__all__ = [
    "FrameDecoder",
    "IndexFile",
    "RvqConfig",
    "RvqEncoder",
    "RvqTokens",
    "decode",
    "load_indices",
    "save_indices",
]

__getattr__, __dir__ = lazy(
    __name__,
    {
        "FrameDecoder": "edgecodec.decoding.decoder",
        "IndexFile": "edgecodec.decoding.index_file",
        "RvqConfig": "edgecodec.decoding.tokens",
        "RvqEncoder": "edgecodec.decoding.tokens",
        "RvqTokens": "edgecodec.decoding.tokens",
        "decode": "edgecodec.decoding.decoder",
        "load_indices": "edgecodec.decoding.index_file",
        "save_indices": "edgecodec.decoding.index_file",
    },
)
