"""The public face: a function for each step, over bundles and boards or their paths and names.

``import edgecodec`` offers these; ``docs`` and commands call the same library below them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from edgecodec.boards.schema import Board
from edgecodec.bundle import Bundle
from edgecodec.compile.target import DEFAULT_OPTIMIZE
from edgecodec.errors import InputError

if TYPE_CHECKING:
    from edgecodec.decoding.stream import StreamReport
    from edgecodec.device.connect import Attachment
    from edgecodec.engines.base import Engine
    from edgecodec.evaluation.rate_distortion import Evaluation
    from edgecodec.firmware.limits import Limits
    from edgecodec.firmware.report import Firmware
    from edgecodec.verify.profile import ProfileDocument
    from edgecodec.verify.run import VerifyResult

BundleOrPath = Bundle | str | os.PathLike[str]
BoardOrName = Board | str | os.PathLike[str]
Progress = Callable[[int, int, str], None]
"""``progress(done, total, what)``, frames over all executors."""


def verify_host(
    bundle: BundleOrPath, frames: npt.ArrayLike | None = None, *, keras: bool = False, progress: Progress | None = None
) -> VerifyResult:
    """Compare the firmware's C on this machine with the numpy reference and TensorFlow Lite Micro, to the bit.

    Args:
        bundle: A bundle or the path of one.
        frames: ADC counts int16 ``[N, T]``; the bundle's own frames by default.
        keras: Also compare with the float Keras encoder, which tells and never decides.
        progress: Called as ``progress(done, total, what)``, in frames over all executors and with what runs now.

    Returns:
        The outcome: ``verdict`` is ``equal`` when every input, latent and index is, and ``first_divergence`` says where
        not.

    Raises:
        BundleError: The bundle is missing or damaged.
        InputError: The frames do not fit, or there are none.
        BuildError: There is no C compiler, or it failed.
    """
    from edgecodec.verify import run

    loaded = _bundle(bundle)
    return run.verify_host(loaded, _frames(loaded, frames), keras=keras, progress=progress)


def verify_board(
    bundle: BundleOrPath,
    board: BoardOrName,
    frames: npt.ArrayLike | None = None,
    *,
    attachment: Attachment | None = None,
    optimize: str = DEFAULT_OPTIMIZE,
    engine: Engine | None = None,
    keras: bool = False,
    progress: Progress | None = None,
) -> VerifyResult:
    """Run a codec on a board and compare every index, latent and input with the host, the reference and TFLM.

    Builds the firmware (or takes it from the cache), starts the emulated board or finds and flashes the real one,
    streams the frames over its serial port and reads the stages back.

    Args:
        bundle: A bundle or the path of one.
        board: A board, its name (``edgecodec boards`` lists them) or the path of a board file.
        frames: ADC counts int16 ``[N, T]``; the bundle's own frames by default.
        attachment: Port, probe, baud rate and way of flashing; found by the board's USB IDs by default.
        optimize: ``"speed"``, ``"balanced"`` or ``"flash"``.
        engine: What runs the encoder; generated C by default. Another engine's firmware runs after that.
        keras: Also compare with the float Keras encoder, which tells and never decides.
        progress: Called as ``progress(done, total, what)``, in frames over all executors and with what runs now.

    Returns:
        The outcome: ``verdict``, ``first_divergence``, and ``runs`` with what each firmware cost.

    Raises:
        BundleError: The bundle is missing or damaged.
        InputError: The board is unknown, the frames do not fit, or the goals contradict each other.
        BuildError: A compiler or emulator is missing, or the build failed.
        LinkError: The board's port is missing or silent, or ended mid-run.
        DeviceError: The board runs other firmware, or refused a request.
    """
    from edgecodec.device.connect import AUTO
    from edgecodec.engines.native import NATIVE_ENGINE
    from edgecodec.verify import run

    loaded = _bundle(bundle)
    return run.verify_board(
        loaded,
        _board(board),
        _frames(loaded, frames),
        attachment=attachment or AUTO,
        optimize=optimize,
        engine=engine or NATIVE_ENGINE,
        keras=keras,
        progress=progress,
    )


def build_firmware(
    bundle: BundleOrPath,
    board: BoardOrName,
    out: str | os.PathLike[str],
    *,
    optimize: str = DEFAULT_OPTIMIZE,
    engine: Engine | None = None,
    codec_only: bool = False,
    limits: Limits | None = None,
    force: bool = False,
) -> Firmware:
    """Build the firmware of a codec for a board into the folder ``out``: CMake project, ELF, binary, map, size report.

    Args:
        bundle: A bundle or the path of one.
        board: A board, its name or the path of a board file.
        out: Folder to write; an earlier build there is replaced, other files only with ``force``.
        optimize: ``"speed"``, ``"balanced"`` or ``"flash"``.
        engine: What runs the encoder; generated C by default.
        codec_only: Leave out link, UART and timer: a program that only encodes.
        limits: Bytes of flash and RAM that the firmware may take beside what the board has.
        force: Replace a folder that holds other files.

    Returns:
        The firmware: path of the ELF, bytes of flash, RAM and worst-case stack, and what takes them.

    Raises:
        BundleError: The bundle is missing or damaged.
        InputError: The board is unknown, or ``out`` holds other files.
        BuildError: The compiler is missing or failed, or the firmware fits neither board nor limits (SizeLimitError).
    """
    from edgecodec.engines.native import NATIVE_ENGINE
    from edgecodec.firmware import build
    from edgecodec.firmware.limits import NO_LIMITS
    from edgecodec.firmware.project import make_project

    project = make_project(
        _bundle(bundle), _board(board), engine=engine or NATIVE_ENGINE, optimize=optimize, codec_only=codec_only
    )
    return build.build_firmware(project, out, limits=limits or NO_LIMITS, force=force)


def profile(
    bundle: BundleOrPath,
    board: BoardOrName,
    frames: npt.ArrayLike | None = None,
    *,
    attachment: Attachment | None = None,
    optimize: str = DEFAULT_OPTIMIZE,
    engine: Engine | None = None,
    progress: Progress | None = None,
) -> ProfileDocument:
    """Measure what each layer, the normaliser, the codebook search and the reply cost on a board.

    Args:
        bundle: A bundle or the path of one.
        board: A board, its name or the path of a board file.
        frames: ADC counts int16 ``[N, T]`` to take the mean over; at most 16 of the bundle's own frames by default.
        attachment: Port, probe, baud rate and way of flashing; found by the board's USB IDs by default.
        optimize: ``"speed"``, ``"balanced"`` or ``"flash"``.
        engine: What runs the encoder; generated C by default.
        progress: Called as ``progress(done, total, what)``, in frames and with what runs now.

    Returns:
        Cost of each part in instructions (emulated boards) or CPU cycles (real ones), flash, RAM and stack in bytes.

    Raises:
        BundleError: The bundle is missing or damaged.
        InputError: The board is unknown, the frames do not fit, or the goals contradict each other.
        BuildError: A compiler or emulator is missing, or the build failed.
        LinkError: The board's port is missing or silent, or ended mid-run.
        DeviceError: The board runs other firmware, or refused a request.
    """
    from edgecodec.device.connect import AUTO
    from edgecodec.engines.native import NATIVE_ENGINE
    from edgecodec.verify.profile import profile_board

    loaded = _bundle(bundle)
    chosen = _frames(loaded, frames) if frames is not None else _frames(loaded, None)[:_PROFILED]
    return profile_board(
        loaded,
        _board(board),
        chosen,
        attachment=attachment or AUTO,
        optimize=optimize,
        engine=engine or NATIVE_ENGINE,
        progress=progress,
    )


def evaluate(
    bundle: BundleOrPath,
    frames: npt.ArrayLike,
    train_frames: npt.ArrayLike | None = None,
    *,
    opponents: Sequence[str] = ("dct", "dct-rdoq", "klt-rdoq"),
    progress: Progress | None = None,
) -> Evaluation:
    """Measure quality and rate of a codec on frames it was not trained on, beside classical codecs.

    Args:
        bundle: A bundle or the path of one; it needs a decoder.
        frames: ADC counts int16 ``[N, T]`` of people not trained on.
        train_frames: Other people's frames that entropy models and opponents are fitted to; the first half of
            ``frames`` by default, and the other half is measured.
        opponents: Names of classical codecs: ``dct`` (static tables), ``dct-rdoq`` and ``klt-rdoq`` (contexts and
            rate-distortion optimised quantisation), ``dct-network`` and ``dct-network48`` (a causal network, which
            needs TensorFlow and minutes).
        progress: Called as ``progress(done, total, what)``.

    Returns:
        PRDN in percent, heart-rate error in beats a minute, bits a frame under each entropy model, and each opponent's
        bits at the same PRDN and its PRDN at the same bits.

    Raises:
        BundleError: The bundle is missing or damaged, or has no decoder.
        InputError: The frames do not fit, are in both sets, an opponent is unknown, or a package is missing.
    """
    from edgecodec.evaluation import rate_distortion

    return rate_distortion.evaluate(_bundle(bundle), frames, train_frames, opponents=opponents, progress=progress)


def decode(
    bundle: BundleOrPath,
    indices: npt.NDArray[np.integer],
    offset: npt.NDArray[np.int32] | None = None,
    spread: npt.NDArray[np.uint64] | None = None,
    *,
    threads: int | None = None,
) -> npt.NDArray[np.float32]:
    """Turn codebook indices back into PPG, without TensorFlow: for servers, many frames a call.

    Frames are decoded side by side in this CPU's vectors by C that is built the first time on a machine, so one frame
    takes as long as sixteen do; the interpreter is free meanwhile. Where there is no C compiler, or the decoder has ops
    that the C does not run, LiteRT decodes; both give the same to some 1e-6 of the normalised signal. A decoder is
    loaded with each call: keep :func:`edgecodec.host.decode.fastest_decoder` for many small ones. Packets are for
    :func:`decode_stream`, tables of packets for :class:`edgecodec.host.arrow.ArrowDecoder`.

    Args:
        bundle: A bundle or the path of one; it needs a decoder.
        indices: Codebook indices ``[N, P, L]``, whole numbers.
        offset: What the normaliser took off each frame, int32 ``[N]`` (SPEC.md 1.1); with ``spread`` the result is in
            ADC counts.
        spread: What it divided each frame by, uint64 ``[N]`` (SPEC.md 1.1).
        threads: Threads to decode with; one a CPU by default.

    Returns:
        float32 ``[N, T]``: ADC counts, or normalised PPG without ``offset`` and ``spread``.

    Raises:
        BundleError: The bundle is missing or damaged, or has no decoder or one that does not fit.
        InputError: Indices are of another shape or outside their codebook, only one of offset and spread came, or
            ``threads`` is less than one.
    """
    from edgecodec.host.decode import fastest_decoder

    return fastest_decoder(_bundle(bundle), threads=threads).decode(indices, offset, spread)


@dataclass(frozen=True)
class Decoded:
    """The frames of a stream of packets, channel by channel in the order of time."""

    counts: npt.NDArray[np.float32]
    """ADC counts ``[N, T]``."""
    times: npt.NDArray[np.float64]
    """When the first sample of each frame was taken, ``[N]``: seconds from the stream's start, or samples where no rate
    is known. Lost frames are missing, and times go on behind them."""
    channels: npt.NDArray[np.uint8]
    """Channel of each frame, ``[N]``."""
    start_us: int | None
    """The stream's start, in microseconds since 1970-01-01 UTC; None when nobody says."""
    report: StreamReport
    """What was lost, doubled, reordered, damaged and foreign, and where."""


def decode_stream(
    bundle: BundleOrPath, packets: str | os.PathLike[str] | Iterable[bytes], *, threads: int | None = None
) -> Decoded:
    """Turn packets back into PPG with time stamps, whatever happened to them on their way, without TensorFlow.

    All frames are held in memory; ``edgecodec decode`` goes through a stream of any length in constant memory.

    Args:
        bundle: A bundle or the path of one; it needs packets and a decoder.
        packets: The path of an ``.ecs`` file (SPEC.md 5.7), or packets of one channel in the order in which they came,
            the first of which is taken as the start.
        threads: Threads to decode with; one a CPU by default.

    Returns:
        Counts, times and a report. Packets that are damaged or of other bundles are left out and reported.

    Raises:
        BundleError: The bundle is missing or damaged, or has no packets or no decoder.
        InputError: The file is no stream, or of another bundle.
    """
    from edgecodec.host.streams import open_stream, stream_of

    loaded = _bundle(bundle)
    if isinstance(packets, str | os.PathLike):
        stream = open_stream(loaded, packets, threads=threads)
    else:
        stream = stream_of(loaded, packets, threads=threads)
    blocks = list(stream.blocks())
    blocks.sort(key=lambda block: block.channel)
    starts = np.concatenate([np.empty(0, np.int64), *(block.starts for block in blocks)])
    counts = [np.empty((0, loaded.codec.samples), np.float32), *(block.counts for block in blocks)]
    channels = [np.full(len(block.starts), block.channel, np.uint8) for block in blocks]
    return Decoded(
        np.concatenate(counts),
        starts / (stream.rate_hz or 1.0),
        np.concatenate([np.empty(0, np.uint8), *channels]),
        stream.start_us,
        stream.report(),
    )


_PROFILED = 16
"""Frames that a profile takes of a bundle's own."""


def _bundle(given: BundleOrPath) -> Bundle:
    return given if isinstance(given, Bundle) else Bundle.load(given)


def _board(given: BoardOrName) -> Board:
    from edgecodec.boards.load import load_board

    return given if isinstance(given, Board) else load_board(given)


def _frames(bundle: Bundle, given: npt.ArrayLike | None) -> npt.NDArray[np.int16]:
    """The frames given, or the bundle's own. Raises InputError when they do not fit or there are none."""
    from edgecodec.codec.arrays import as_frames

    if given is not None:
        return as_frames(given, bundle.codec.samples)
    own = bundle.frames()
    if own is None:
        raise InputError(f"{bundle.path}: ships no frames", hint="give frames int16 [N, T]")
    return own
