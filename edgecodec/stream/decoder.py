"""Decode codebook indices to PPG without TensorFlow, and the files that hold indices (SPEC.md 4)."""

from __future__ import annotations

import os
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecodec.bundle import DECODER, Bundle
from edgecodec.errors import BundleError, InputError
from edgecodec.outputs import npz_bytes, write_file
from edgecodec.signal.normalize import denormalize


@dataclass(frozen=True)
class IndexFile:
    """Indices of N frames, as ``--indices-out`` writes and ``decode`` reads them."""

    indices: npt.NDArray[np.uint16]
    """``[N, P, L]``"""
    sum: npt.NDArray[np.int32] | None = None
    """``[N]``, S of SPEC.md 1.1."""
    variance: npt.NDArray[np.uint64] | None = None
    """``[N]``, V of SPEC.md 1.1."""
    digest: str | None = None
    """Digest of the bundle that made them."""


class FloatDecoder:
    """The float32 TFLite decoder of a codec, run by LiteRT."""

    def __init__(self, data: bytes, positions: int, channels: int, samples: int) -> None:
        """Load the file and check that it maps ``(1, 1, P, D)`` to ``(1, 1, T, 1)``.

        Raises BundleError.
        """
        from ai_edge_litert.interpreter import Interpreter, OpResolverType

        try:
            # Without delegates the result does not depend on the CPU's vector extensions.
            self._interpreter: Any = Interpreter(
                model_content=data,
                num_threads=1,
                experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
            )
            self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError, TypeError) as error:
            raise BundleError(f"{DECODER}: cannot be run ({' '.join(str(error).split())[:200]})") from error
        inputs, outputs = self._interpreter.get_input_details(), self._interpreter.get_output_details()
        found = [(tuple(int(n) for n in detail["shape"]), detail["dtype"]) for detail in [*inputs, *outputs]]
        expected = [((1, 1, positions, channels), np.float32), ((1, 1, samples, 1), np.float32)]
        if len(inputs) != 1 or found != expected:
            shapes = ", ".join(f"{np.dtype(dtype)} {shape}" for shape, dtype in found)
            raise BundleError(
                f"{DECODER}: has tensors {shapes}; expected float32 {expected[0][0]} to {expected[1][0]} "
                "(encoder and decoder of one model)"
            )
        self._input, self._output = inputs[0]["index"], outputs[0]["index"]

    def run(self, latents: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Decode latents ``[N, P, D]`` to normalised frames float32 ``[N, T]``."""
        shape = self._interpreter.get_tensor(self._output).shape
        frames = np.empty((len(latents), shape[2]), np.float32)
        for frame, latent in zip(frames, latents, strict=True):
            self._interpreter.set_tensor(self._input, latent[None, None])
            self._interpreter.invoke()
            frame[:] = self._interpreter.get_tensor(self._output)[0, 0, :, 0]
        return frames


class FrameDecoder:
    """Turns the indices of a bundle's codec back into PPG frames."""

    def __init__(self, bundle: Bundle) -> None:
        """Raise BundleError when the bundle has no decoder or one that does not fit."""
        path = bundle.file(DECODER)
        if path is None:
            raise BundleError(f"{bundle.path}: holds no {DECODER}; quantize again with --decoder dec.keras")
        self._bundle = bundle
        channels = bundle.manifest.latent.channels
        self._decoder = FloatDecoder(path.read_bytes(), bundle.positions, channels, bundle.samples)

    def decode(
        self,
        indices: npt.NDArray[np.integer[Any]],
        sum: npt.NDArray[np.int32] | None = None,
        variance: npt.NDArray[np.uint64] | None = None,
    ) -> npt.NDArray[np.float32]:
        """Decode indices ``[N, P, L]`` to float32 ``[N, T]``.

        With ``sum`` and ``variance`` (both ``[N]``, S and V of SPEC.md 1.1) the result is in ADC counts,
        without them it is normalised. Raises InputError for wrong shapes and for indices outside their codebook.
        """
        bundle = self._bundle
        expected = (bundle.positions, bundle.levels)
        if indices.ndim != 3 or indices.shape[1:] != expected or indices.dtype.kind not in "iu":
            raise InputError(
                f"indices are {indices.dtype} {indices.shape}; "
                f"this bundle's are uint16 [N, {expected[0]}, {expected[1]}]"
            )
        for level, size in enumerate(bundle.rvq.codebook_sizes):
            chosen = indices[..., level]
            if chosen.size and not 0 <= int(chosen.min()) <= int(chosen.max()) < size:
                raise InputError(
                    f"index {int(chosen.max())} at level {level}; the codebook has {size} codes "
                    "(indices of another bundle?)"
                )
        normalized = self._decoder.run(bundle.rvq.dequantize(indices.astype(np.uint16)))
        if (sum is None) != (variance is None):
            raise InputError("sum and variance come together; received only one of them")
        if sum is None or variance is None:
            return normalized
        if sum.shape != (len(indices),) or variance.shape != (len(indices),):
            raise InputError(f"sum has shape {sum.shape}, variance {variance.shape}; expected ({len(indices)},)")
        return denormalize(normalized, sum, variance, bundle.normalizer.epsilon).astype(np.float32)

    def decode_file(self, content: IndexFile) -> npt.NDArray[np.float32]:
        """Decode as :meth:`decode` does. Raises InputError for indices made by another bundle."""
        if content.digest is not None and content.digest != self._bundle.digest:
            raise InputError(
                f"the indices were made by bundle {content.digest[:12]}; this one is {self._bundle.digest[:12]}"
            )
        return self.decode(content.indices, content.sum, content.variance)


def save_indices(path: str | os.PathLike[str], content: IndexFile) -> None:
    """Write indices as ``.npz`` (SPEC.md 4). Raises InputError when the file cannot be written."""
    arrays: dict[str, npt.NDArray[Any]] = {"indices": content.indices}
    if content.sum is not None and content.variance is not None:
        arrays |= {"sum": content.sum, "variance": content.variance}
    if content.digest is not None:
        arrays["digest"] = np.array(content.digest)
    write_file(path, npz_bytes(arrays))


def load_indices(path: str | os.PathLike[str]) -> IndexFile:
    """Read indices from a ``.npz`` (SPEC.md 4). Raises InputError."""
    source = Path(path)
    if not source.is_file():
        raise InputError(f"{source}: no such file; expected indices as .npz (flash-and-verify --indices-out)")
    try:
        loaded = np.load(source, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            raise InputError(f"{source}: holds a single array; expected a .npz with 'indices'")
        with loaded:
            arrays = {key: loaded[key] for key in loaded.files}
    except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise InputError(f"{source}: not a readable .npz of indices ({error})") from error
    if "indices" not in arrays:
        raise InputError(f"{source}: holds {', '.join(sorted(arrays)) or 'nothing'}; expected an array 'indices'")
    indices = _whole(arrays["indices"], "indices", np.dtype(np.uint16), 3, source)
    total = _optional(arrays, "sum", np.dtype(np.int32), source)
    variance = _optional(arrays, "variance", np.dtype(np.uint64), source)
    digest = _digest(arrays["digest"], source) if "digest" in arrays else None
    return IndexFile(indices, total, variance, digest)


def _digest(array: npt.NDArray[Any], source: Path) -> str:
    if array.dtype.kind != "U" or array.size != 1:
        raise InputError(f"{source}: digest is {array.dtype} {array.shape}; expected one text")
    return str(array.reshape(-1)[0])


def _optional(arrays: dict[str, Any], name: str, dtype: np.dtype[Any], source: Path) -> npt.NDArray[Any] | None:
    return _whole(arrays[name], name, dtype, 1, source) if name in arrays else None


def _whole(array: npt.NDArray[Any], name: str, dtype: np.dtype[Any], rank: int, source: Path) -> npt.NDArray[Any]:
    """Check rank, kind and range and convert to ``dtype``."""
    if array.ndim != rank or array.dtype.kind not in "iu":
        raise InputError(f"{source}: {name} is {array.dtype} {array.shape}; expected {dtype} of rank {rank}")
    limits = np.iinfo(dtype)
    if array.size and not limits.min <= int(array.min()) <= int(array.max()) <= limits.max:
        raise InputError(f"{source}: {name} holds {int(array.min())}..{int(array.max())}, outside {dtype}")
    return array.astype(dtype)
