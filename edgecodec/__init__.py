"""Deploy learned PPG codecs to microcontrollers, verified bit for bit.

A codec turns frames of ADC counts, int16 ``[N, T]``, into codebook indices,
uint16 ``[N, P, L]``: T samples a frame, P latent vectors, L codebooks. These are
the steps from recordings to a board that is known to be right; each is also a
command of ``edgecodec --help``.

    train(config, out)             a codec from recordings: the run folder
    quantize_run(run)              INT8 encoder and integer codebooks of a run,
                                   chosen on validation frames
    quantize(encoder, codebooks,   the same for a codec trained elsewhere
             calibration)          on frames after ZScore(), MinMax() or Fixed()
    Quantized.write(path)          the folder that is deployed: a Bundle
    Bundle.load(path)              .codec in integers, .frames(), .digest
    verify_host(bundle)            the firmware's C on this machine against the
                                   reference and TensorFlow Lite Micro
    verify_board(bundle, board)    a board, emulated or real, against all these:
                                   every index, latent and input
    build_firmware(bundle, board,  CMake project, ELF, and what it takes of
                   out)            flash, RAM and stack
    profile(bundle, board)         instructions or cycles of each layer
    HostShim(bundle)               the firmware's C behind numpy
    decode(bundle, indices)        indices back to PPG
    decode_stream(bundle, packets) packets back to PPG with times, losses told
    evaluate(bundle, frames)       PRDN, heart rate and bits beside a DCT codec
    load_board(name)               a Board: one of edgecodec's or a file of yours

Paths may stand for bundles, and names for boards. What goes wrong is an
EdgecodecError, whose ``hint`` says what to try. Names are imported when they are
first used, so importing edgecodec takes no time and no TensorFlow.
``help(edgecodec.verify_board)`` tells one in full: shapes, types, units, errors.
"""

from __future__ import annotations

import typing

from edgecodec._lazy import lazy
from edgecodec._version import __version__ as __version__

if typing.TYPE_CHECKING:
    from edgecodec.api import build_firmware as build_firmware
    from edgecodec.api import decode as decode
    from edgecodec.api import decode_stream as decode_stream
    from edgecodec.api import evaluate as evaluate
    from edgecodec.api import profile as profile
    from edgecodec.api import verify_board as verify_board
    from edgecodec.api import verify_host as verify_host
    from edgecodec.boards.load import load_board as load_board
    from edgecodec.boards.schema import Board as Board
    from edgecodec.bundle import Bundle as Bundle
    from edgecodec.errors import EdgecodecError as EdgecodecError
    from edgecodec.host.shim import HostShim as HostShim
    from edgecodec.quantization.pipeline import quantize as quantize
    from edgecodec.quantization.pipeline import quantize_run as quantize_run
    from edgecodec.quantization.quantized import Quantized as Quantized
    from edgecodec.signal.normalize import Fixed as Fixed
    from edgecodec.signal.normalize import MinMax as MinMax
    from edgecodec.signal.normalize import ZScore as ZScore
    from edgecodec.training.run import train as train

# No __all__: help() would then print the classes in full in place of the page above.
__getattr__, __dir__ = lazy(
    __name__,
    {
        "Board": "edgecodec.boards.schema",
        "Bundle": "edgecodec.bundle",
        "EdgecodecError": "edgecodec.errors",
        "Fixed": "edgecodec.signal.normalize",
        "HostShim": "edgecodec.host.shim",
        "MinMax": "edgecodec.signal.normalize",
        "Quantized": "edgecodec.quantization.quantized",
        "ZScore": "edgecodec.signal.normalize",
        "build_firmware": "edgecodec.api",
        "decode": "edgecodec.api",
        "decode_stream": "edgecodec.api",
        "evaluate": "edgecodec.api",
        "load_board": "edgecodec.boards.load",
        "profile": "edgecodec.api",
        "quantize": "edgecodec.quantization.pipeline",
        "quantize_run": "edgecodec.quantization.pipeline",
        "train": "edgecodec.training.run",
        "verify_board": "edgecodec.api",
        "verify_host": "edgecodec.api",
    },
)
