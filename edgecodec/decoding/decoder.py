"""Decode codebook indices to PPG without TensorFlow."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecodec.bundle import DECODER, Bundle
from edgecodec.decoding.index_file import IndexFile
from edgecodec.entropy.unpacking import Unpacked
from edgecodec.errors import BundleError, InputError
from edgecodec.signal.normalize import ZScore


class FloatDecoder:
    """The float32 TFLite decoder of a codec, run by LiteRT."""

    def __init__(
        self,
        data: bytes,
        positions: int,
        channels: int,
        samples: int,
        where: str = DECODER,
        *,
        threads: int | None = 1,
        reproducible: bool = True,
    ) -> None:
        """Load the file and check that it maps ``(1, 1, P, D)`` to ``(1, 1, T, 1)``.

        Other axes of size 1 may be missing or elsewhere, and the batch may be of any size. ``reproducible`` keeps to
        kernels whose result does not depend on the CPU's vectors; without it XNNPACK runs what it can, in a quarter of
        the time and to some 1e-6. Each of ``threads`` (None for one a CPU) has an interpreter: frames one by one, as
        batches measured no sooner. Raises BundleError, in which ``where`` names the file, and InputError for less than
        one thread.
        """
        if threads is not None and threads < 1:
            raise InputError(f"threads is {threads}; expected at least 1, or None for one a CPU")
        count = threads or os.cpu_count() or 1
        self._interpreters = [_interpreter(data, where, reproducible)]
        inputs, outputs = self._interpreters[0].get_input_details(), self._interpreters[0].get_output_details()
        found = [(tuple(int(n) for n in detail["shape"]), detail["dtype"]) for detail in [*inputs, *outputs]]
        expected = [((1, 1, positions, channels), np.float32), ((1, 1, samples, 1), np.float32)]
        same = [(_sizes(shape), dtype) for shape, dtype in found] == [
            (_sizes(shape), dtype) for shape, dtype in expected
        ]
        if len(inputs) != 1 or not same:
            shapes = ", ".join(f"{np.dtype(dtype)} {shape}" for shape, dtype in found)
            raise BundleError(
                f"{where}: has tensors {shapes}; expected float32 {expected[0][0]} to {expected[1][0]}",
                hint="take encoder and decoder of one model",
            )
        self._input, self._output = inputs[0]["index"], outputs[0]["index"]
        self._latent_shape, self._samples = found[0][0], samples
        self._interpreters += [_interpreter(data, where, reproducible) for _ in range(count - 1)]

    def run(self, latents: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Decode latents ``[N, P, D]`` to normalised frames float32 ``[N, T]``."""
        frames = np.empty((len(latents), self._samples), np.float32)
        count = min(len(self._interpreters), max(1, len(latents)))
        if count == 1:
            self._run(self._interpreters[0], latents, frames)
            return frames
        # LiteRT lets go of Python's lock while it runs.
        with ThreadPoolExecutor(count) as pool:
            parts = zip(self._interpreters, np.array_split(latents, count), np.array_split(frames, count), strict=False)
            list(pool.map(lambda part: self._run(*part), parts))
        return frames

    def _run(self, interpreter: Any, latents: npt.NDArray[np.float32], frames: npt.NDArray[np.float32]) -> None:
        for frame, latent in zip(frames, latents, strict=True):
            interpreter.set_tensor(self._input, latent.reshape(self._latent_shape))
            interpreter.invoke()
            frame[:] = interpreter.get_tensor(self._output).ravel()


def _interpreter(data: bytes, where: str, reproducible: bool) -> Any:
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    kernels = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES if reproducible else OpResolverType.AUTO
    try:
        made = Interpreter(model_content=data, num_threads=1, experimental_op_resolver_type=kernels)
        made.allocate_tensors()
    except (ValueError, RuntimeError, TypeError) as error:
        raise BundleError(f"{where}: cannot be run ({' '.join(str(error).split())[:200]})") from error
    return made


def decoder_bytes(bundle: Bundle) -> bytes:
    """A bundle's ``decoder.tflite``. Raises BundleError when it has none."""
    path = bundle.file(DECODER)
    if path is None:
        raise BundleError(f"{bundle.path}: holds no {DECODER}", hint="quantize again with --decoder dec.keras")
    return path.read_bytes()


def chosen(unpacked: Unpacked, rows: npt.NDArray[np.bool_]) -> Unpacked:
    """The packets of ``rows`` ``[N]``."""
    return Unpacked(*(getattr(unpacked, name)[rows] for name in Unpacked.__dataclass_fields__))


def _sizes(shape: tuple[int, ...]) -> list[int]:
    """The axes that are not of size 1."""
    return [size for size in shape if size != 1]


def decode(
    bundle: Bundle,
    indices: npt.NDArray[np.integer[Any]],
    offset: npt.NDArray[np.int32] | None = None,
    spread: npt.NDArray[np.uint64] | None = None,
) -> npt.NDArray[np.float32]:
    """Turn codebook indices back into PPG, without TensorFlow.

    Args:
        bundle: The bundle whose encoder made the indices, with a decoder.
        indices: Codebook indices of N frames, whole numbers ``[N, P, L]``.
        offset: What the normaliser took off, int32 ``[N]`` (SPEC.md 1.1), as it left the device.
        spread: What it divided by, uint64 ``[N]``, as it left the device; given with ``offset`` or not at all.

    Returns:
        Frames float32 ``[N, T]``, in ADC counts with ``offset`` and ``spread``, normalised without them.

    Raises:
        BundleError: The bundle has no decoder, or one that does not fit.
        InputError: An array has another shape or type, or an index is outside its codebook.
    """
    return FrameDecoder(bundle).decode(indices, offset, spread)


class FrameDecoder:
    """Turns the indices of a bundle's codec back into PPG frames, by LiteRT."""

    how: str = "LiteRT"
    """What runs the decoder."""

    def __init__(self, bundle: Bundle, *, threads: int | None = 1, reproducible: bool = True) -> None:
        """Load the decoder, which runs as :class:`FloatDecoder` has it.

        Raises BundleError when the bundle has no decoder or one that does not fit, InputError for less than one thread.
        """
        self._bundle = bundle
        self._decoder = FloatDecoder(
            decoder_bytes(bundle),
            bundle.codec.positions,
            bundle.manifest.latent.channels,
            bundle.codec.samples,
            threads=threads,
            reproducible=reproducible,
        )

    def decode(
        self,
        indices: npt.NDArray[np.integer[Any]],
        offset: npt.NDArray[np.int32] | None = None,
        spread: npt.NDArray[np.uint64] | None = None,
    ) -> npt.NDArray[np.float32]:
        """Decode indices ``[N, P, L]`` to float32 ``[N, T]``.

        With ``offset`` and ``spread`` (both ``[N]``, SPEC.md 1.1) the result is in ADC counts,
        without them it is normalised. Raises InputError for wrong shapes and for indices outside their codebook.
        """
        codec = self._bundle.codec
        expected = (codec.positions, codec.levels)
        if indices.ndim != 3 or indices.shape[1:] != expected or indices.dtype.kind not in "iu":
            raise InputError(
                f"indices are {indices.dtype} {indices.shape}; "
                f"this bundle's are uint16 [N, {expected[0]}, {expected[1]}]"
            )
        for level, size in enumerate(codec.rvq.codebook_sizes):
            chosen = indices[..., level]
            if chosen.size and not 0 <= int(chosen.min()) <= int(chosen.max()) < size:
                raise InputError(
                    f"index {int(chosen.max())} at level {level}; the codebook has {size} codes",
                    hint="take the bundle that made the indices",
                )
        if (offset is None) != (spread is None):
            raise InputError("offset and spread come together; received only one of them")
        if offset is not None and spread is not None and {offset.shape, spread.shape} != {(len(indices),)}:
            raise InputError(f"offset has shape {offset.shape}, spread {spread.shape}; expected ({len(indices)},)")
        levels = np.full(len(indices), codec.levels, np.uint8)
        return self._frames(indices.astype(np.uint16), levels, offset, spread)

    def decode_unpacked(self, unpacked: Unpacked) -> npt.NDArray[np.float32]:
        """Frames in ADC counts, float32 ``[N, T]``, of packets that are all good.

        Levels left out add nothing to the latent. A flat frame is its count, and no network runs for it.
        """
        return self._frames(unpacked.indices, unpacked.levels, unpacked.offset, unpacked.spread)

    def _frames(
        self,
        indices: npt.NDArray[np.uint16],
        levels: npt.NDArray[np.uint8],
        offset: npt.NDArray[np.int32] | None,
        spread: npt.NDArray[np.uint64] | None,
    ) -> npt.NDArray[np.float32]:
        """Frames of indices ``[N, P, L]``, of which the first ``levels`` ``[N]`` were sent."""
        codec = self._bundle.codec
        total = np.zeros((len(levels), codec.positions, codec.rvq.dimension), np.int32)
        for level, book in enumerate(codec.rvq.codebooks):
            sent = levels > level
            total[sent] += book[indices[sent, :, level]]
        step = codec.rvq.latent_scale / 2.0**codec.rvq.fraction_bits
        normalized = np.zeros((len(total), codec.samples), np.float32)
        moving = levels > 0
        normalized[moving] = self._decoder.run((total[moving] * step).astype(np.float32))
        if offset is None or spread is None:
            return normalized
        normalization = codec.normalizer.normalization
        counts = normalization.denormalize(normalized, offset, spread)
        # What a flat frame's normaliser leaves is not 0 with every normalisation.
        location = offset / (codec.samples if isinstance(normalization, ZScore) else 1)
        return np.where(moving[:, None], counts, location[:, None]).astype(np.float32)

    def decode_file(self, content: IndexFile) -> npt.NDArray[np.float32]:
        """Decode as :meth:`decode` does. Raises InputError for indices made by another bundle."""
        if content.digest is not None and content.digest != self._bundle.digest:
            raise InputError(
                f"the indices were made by bundle {content.digest[:12]}; this one is {self._bundle.digest[:12]}"
            )
        return self.decode(content.indices, content.offset, content.spread)
