"""The convolution that an encoder is made of, in floats."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Convolution:
    """One convolution along the second axis of ``(1, T, C)``, with the norm that followed it folded in."""

    name: str
    """Name of its Keras layer."""
    depthwise: bool
    """Whether each input channel is convolved by itself."""
    kernel: FloatArray
    """Weights ``[taps, in, out]``, of a depthwise convolution ``[taps, in, multiplier]``."""
    bias: FloatArray
    """Biases ``[out]``."""
    stride: int
    """Input positions from one output position to the next."""
    padding: str
    """``"same"`` or ``"valid"``, as Keras defines them, of the input that :attr:`pad` has made longer."""
    activation: str
    """``"linear"``, ``"relu"`` or ``"relu6"``."""
    pad: tuple[int, int] = (0, 0)
    """Zeros before the first input position and behind the last one."""

    @property
    def channels(self) -> int:
        """Output channels."""
        return len(self.bias)

    @property
    def sees_zeros(self) -> bool:
        """Whether a tap may lie in padding."""
        return self.pad != (0, 0) or (self.padding == "same" and len(self.kernel) > 1)

    def scaled(self, gain: FloatArray) -> Convolution:
        """The convolution with output channel i multiplied by ``gain[i]``."""
        shape = self.kernel.shape[1:] if self.depthwise else (1, self.channels)
        return replace(self, kernel=self.kernel * gain.reshape(shape), bias=self.bias * gain)

    def on_affine(self, gain: FloatArray, shift: FloatArray) -> Convolution:
        """The convolution of ``x`` that this one is of ``gain x + shift``, both ``[in]``.

        Exact where no tap lies in padding, or where ``shift`` is zero.
        """
        of_shift = (self.kernel * shift[None, :, None]).sum(axis=0)
        bias = self.bias + (of_shift.reshape(-1) if self.depthwise else of_shift.sum(axis=0))
        return replace(self, kernel=self.kernel * gain[None, :, None], bias=bias)


def pointwise_affine(name: str, gain: FloatArray, shift: FloatArray) -> Convolution:
    """``gain x + shift``, both ``[channels]``, as a depthwise convolution of one tap."""
    return Convolution(name, True, gain.reshape(1, -1, 1), shift, 1, "valid", "linear")
