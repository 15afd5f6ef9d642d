"""What the integers of a codec are: the type of its activations and how wide its sums may grow (SPEC.md 1)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgecodec.codec.arrays import Activations


@dataclass(frozen=True)
class Numerics:
    """A section of SPEC.md 1: input, latent and all tensors between are integers of one type."""

    name: str
    """As manifests name it, with its version."""
    activation: np.dtype[np.signedinteger]
    """Type of an activation."""
    accumulator_bits: int
    """Width of a convolution's sums; a layer that may need more is refused."""
    bias: np.dtype[np.signedinteger]
    """Type of a bias."""

    @property
    def lowest(self) -> int:
        """The smallest activation."""
        return int(np.iinfo(self.activation).min)

    @property
    def highest(self) -> int:
        """The largest activation."""
        return int(np.iinfo(self.activation).max)

    @property
    def zero_points(self) -> tuple[int, int]:
        """Least and largest zero point of an activation."""
        return (self.lowest, self.highest) if self.activation == np.int8 else (0, 0)

    @property
    def reach(self) -> int:
        """The largest magnitude of an activation."""
        return -self.lowest

    @property
    def accumulator_limit(self) -> int:
        """The magnitude that sums stay below."""
        return 1 << (self.accumulator_bits - 1)

    def clip(self, values: npt.NDArray[np.number]) -> Activations:
        """``values`` of any shape, whole numbers, saturated to the activation's range and type."""
        clipped: Activations = np.clip(values, self.lowest, self.highest).astype(self.activation)
        return clipped


INT8 = Numerics("edgecodec.int8.v1", np.dtype(np.int8), 32, np.dtype(np.int32))
"""SPEC.md 1: int8 activations and weights, int32 sums, the double rounding of TensorFlow Lite Micro."""
INT16X8 = Numerics("edgecodec.int16x8.v1", np.dtype(np.int16), 48, np.dtype(np.int64))
"""SPEC.md 1.4: int16 activations without zero points, int8 weights, sums below 2^47, one rounding by 16-bit factors."""
NUMERICS = {numerics.name: numerics for numerics in (INT8, INT16X8)}
"""All that this version executes, by name."""
BY_BITS = {8 * numerics.activation.itemsize: numerics for numerics in NUMERICS.values()}
"""The same by the bits of an activation."""
