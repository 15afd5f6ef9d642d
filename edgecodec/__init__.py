"""Deploy learned PPG codecs to microcontrollers, verified bit for bit.

A codec turns frames of ADC counts, int16 ``[N, T]``, into codebook indices, uint16 ``[N, P, L]``: T samples a frame, P
latent vectors, L codebooks. These are the steps from recordings to a board that is known to be right, each also a
command (``edgecodec --help``):

    train(config, out)               a codec from recordings: encoder, decoder, codebooks
    quantize(encoder, codebooks,     the encoder in INT8, the codebooks in integers, chosen on validation frames;
             calibration)            ``.write(path)`` makes a Bundle of it
    Bundle.load(path)                the folder that is deployed: ``.codec`` in integers, ``.frames()``
    verify_host(bundle)              the firmware's C on this machine, compared with the reference and TensorFlow Lite
    verify_board(bundle, board)      the same on a board, emulated or real: every index, latent and input
    build_firmware(bundle, board,    a CMake project, its ELF and what it takes of flash, RAM and stack
                   out)
    profile(bundle, board)           instructions (emulated) or cycles (real) of each layer, beside flash and RAM
    HostShim(bundle)                 the firmware's C behind numpy: ``encode(frames)``, ``stages(frames)``
    decode(bundle, indices)          indices back to PPG
    evaluate(bundle, frames)         PRDN, heart rate and bits, beside classical codecs
    Board.load(name)                 a board that comes with edgecodec, or a file of yours

Paths and boards' names may stand for bundles and boards. What goes wrong is an :class:`EdgecodecError`, whose ``hint``
says what to try. Names are imported when they are first used, so importing edgecodec takes no time and no TensorFlow;
``help(edgecodec.quantize)`` tells each in full.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgecodec._lazy import lazy

if TYPE_CHECKING:
    from edgecodec.api import build_firmware as build_firmware
    from edgecodec.api import decode as decode
    from edgecodec.api import evaluate as evaluate
    from edgecodec.api import profile as profile
    from edgecodec.api import verify_board as verify_board
    from edgecodec.api import verify_host as verify_host
    from edgecodec.boards.schema import Board as Board
    from edgecodec.bundle import Bundle as Bundle
    from edgecodec.errors import EdgecodecError as EdgecodecError
    from edgecodec.host.shim import HostShim as HostShim
    from edgecodec.quantization import quantize as quantize
    from edgecodec.training.run import train as train

__version__ = "0.1.0"

__getattr__, __dir__ = lazy(
    __name__,
    {
        "Board": "edgecodec.boards.schema",
        "Bundle": "edgecodec.bundle",
        "EdgecodecError": "edgecodec.errors",
        "HostShim": "edgecodec.host.shim",
        "build_firmware": "edgecodec.api",
        "decode": "edgecodec.api",
        "evaluate": "edgecodec.api",
        "profile": "edgecodec.api",
        "quantize": "edgecodec.quantization",
        "train": "edgecodec.training.run",
        "verify_board": "edgecodec.api",
        "verify_host": "edgecodec.api",
    },
)
