"""Indices back to PPG in C (``firmware/host/edc_decode.c``), a frame a vector lane and by threads: for servers."""

from __future__ import annotations

from queue import Empty, SimpleQueue
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecodec.bundle import Bundle
from edgecodec.decoding.decoder import FrameDecoder, decoder_bytes
from edgecodec.decoding.float_program import decode_constants, read_program
from edgecodec.errors import BuildError, InputError, UnsupportedOpError
from edgecodec.files.resources import firmware_dir
from edgecodec.host.c_constants import CMemory
from edgecodec.host.extension import load_extension
from edgecodec.host.threads import deal, thread_count

_CDEF = """
#define EDC_DECODE_LANES ...
typedef ... edc_decode_lanes;
typedef struct {
  const float *weights; const float *bias; float low; float high; uint32_t kind; uint32_t together; uint32_t in;
  uint32_t other; uint32_t out; uint32_t positions; uint32_t channels; uint32_t in_step; uint32_t other_step;
  uint32_t out_step; uint32_t in_unit; uint32_t other_unit; uint32_t taps; uint32_t tap_step; uint32_t run;
  uint32_t stripes; ...;
} edc_decode_step;
typedef struct {
  const edc_decode_step *steps; const int16_t *codes; const uint32_t *first_codes; double first; double second;
  float latent_step; uint32_t step_count; uint32_t levels; uint32_t positions; uint32_t dimension; uint32_t samples;
  uint32_t latent; uint32_t decoded; uint32_t memory; uint32_t normalization; ...;
} edc_decode_model;
void edc_decode(const edc_decode_model *model, edc_decode_lanes *memory, const uint16_t *indices,
                const uint8_t *levels, const int32_t *offsets, const uint64_t *spreads, size_t count, float *counts);
"""
_FRAMES_A_TASK = 64
_ALIGNMENT_BYTES = 64


def fastest_decoder(bundle: Bundle, *, threads: int | None = 1) -> FrameDecoder:
    """What decodes many frames soonest here; its ``how`` says what that is.

    :class:`VectorDecoder`, or LiteRT where there is no C compiler or the decoder has ops that its C does not run. The
    two differ by some 1e-6 of the normalised signal. Raises BundleError when the bundle has no decoder or one that does
    not fit, InputError for less than one thread.
    """
    thread_count(threads)
    try:
        return VectorDecoder(bundle, threads=threads)
    except (BuildError, InputError, UnsupportedOpError) as error:
        found = FrameDecoder(bundle, threads=threads, reproducible=False)
        found.how = f"LiteRT ({error.message})"
        return found


class VectorDecoder(FrameDecoder):
    """Decodes many frames on this machine's vectors, by ``threads`` threads (None for one a CPU).

    The interpreter is free meanwhile. Safe for threads that share one. One build serves all decoders; it takes seconds
    the first time on a machine and is cached. Raises BundleError when the bundle has no decoder, UnsupportedOpError for
    ops that the C does not run, InputError for a file that is no decoder, BuildError when there is no compiler.
    """

    def __init__(self, bundle: Bundle, *, threads: int | None = 1) -> None:
        self._bundle, codec = bundle, bundle.codec
        program = read_program(decoder_bytes(bundle), codec.positions, codec.rvq.dimension, codec.samples)
        folder = firmware_dir() / "host"
        sources = {name: (folder / name).read_text(encoding="utf-8") for name in ("edc_decode.c", "edc_decode.h")}
        module = load_extension(sources, _CDEF, '#include "edc_decode.h"', native=True)
        self._ffi: Any = module.ffi
        self._lib: Any = module.lib
        self._constants = CMemory(self._ffi)
        self._model = self._constants.pointer(decode_constants(program, codec))
        self._threads = thread_count(threads)
        self._memory_bytes = 4 * program.memory * self.lanes
        self._idle: SimpleQueue[npt.NDArray[np.uint8]] = SimpleQueue()
        self.how = f"C, {self.lanes} frames at once"

    @property
    def lanes(self) -> int:
        """Frames that one vector holds."""
        return int(self._lib.EDC_DECODE_LANES)

    def _frames(
        self,
        indices: npt.NDArray[np.uint16],
        levels: npt.NDArray[np.uint8],
        offset: npt.NDArray[np.int32] | None,
        spread: npt.NDArray[np.uint64] | None,
    ) -> npt.NDArray[np.float32]:
        count = len(levels)
        frames = np.empty((count, self._bundle.codec.samples), np.float32)
        given: list[npt.NDArray[Any]] = [
            np.ascontiguousarray(indices, np.uint16),
            np.ascontiguousarray(levels, np.uint8),
        ]
        if offset is not None and spread is not None:
            given += [np.ascontiguousarray(offset, np.int32), np.ascontiguousarray(spread, np.uint64)]

        def run(part: slice) -> None:
            self._run([array[part] for array in given], frames[part])

        deal(run, count, _FRAMES_A_TASK, self._threads)
        return frames

    def _run(self, given: list[npt.NDArray[Any]], frames: npt.NDArray[np.float32]) -> None:
        try:
            memory = self._idle.get_nowait()
        except Empty:
            memory = np.zeros(self._memory_bytes + _ALIGNMENT_BYTES, np.uint8)
        ffi = self._ffi
        address = int(ffi.cast("uintptr_t", ffi.from_buffer(memory)))
        kinds = ("uint16_t[]", "uint8_t[]", "int32_t[]", "uint64_t[]")
        arrays = [ffi.from_buffer(kind, array) for kind, array in zip(kinds, given, strict=False)]
        arrays += [ffi.NULL] * (len(kinds) - len(arrays))
        self._lib.edc_decode(
            self._model,
            ffi.cast("edc_decode_lanes *", address + -address % _ALIGNMENT_BYTES),
            *arrays,
            len(frames),
            ffi.from_buffer("float[]", frames),
        )
        self._idle.put(memory)
