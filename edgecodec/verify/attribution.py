"""Which layer of the encoder goes wrong on a board: its outputs, read back one by one, against the reference's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from edgecodec.codec.arrays import Activations, Frames
from edgecodec.codec.graph import Graph
from edgecodec.codec.reference import run_every_layer
from edgecodec.codec.stages import Stages


class LayerReader(Protocol):
    """A board that tells what a layer put out."""

    @property
    def name(self) -> str:
        """Name of the executor."""
        ...

    def read_layer(self, frame: npt.NDArray[np.int16], layer: int) -> Activations | None:
        """Whole output of a layer, counted from 0, for an int16 ``[T]`` frame; flat, None when it is kept nowhere."""
        ...


@dataclass(frozen=True)
class LayerDivergence:
    """The first layer in which a board differs from the reference, and the first value of it."""

    executor: str
    """Name of the board's executor."""
    frame: int
    """Number of the frame, from 0."""
    layer: int
    """Number of the layer, from 0."""
    name: str
    """Name of the layer in the model."""
    op: str
    """Operator of the layer, such as ``CONV_2D``."""
    positions: int
    """Positions of the layer's output."""
    compared: int
    """Values of the layer's output."""
    mismatches: int
    """Values that differ."""
    position: int
    """Position of the first mismatch."""
    last_position: int
    """Position of the last mismatch."""
    channel: int
    """Channel of the first mismatch."""
    expected: int
    """Value of the reference at the first mismatch."""
    received: int
    """Value of the board at the first mismatch."""

    def describe(self) -> str:
        """One line of English."""
        alone = self.position == self.last_position
        place = f"position {self.position}" if alone else f"positions {self.position} to {self.last_position}"
        return (
            f"frame {self.frame}, layer {self.layer} ({self.op} {self.name}), {place} of 0..{self.positions - 1}: "
            f"{self.mismatches:,} of {self.compared:,} values; the first, channel {self.channel} of position "
            f"{self.position}, is {self.received} and should be {self.expected}"
        )


def locate(
    device: LayerReader, graph: Graph, frames: Frames, received: Stages, reference: Stages
) -> LayerDivergence | None:
    """Find the first wrong layer, in the first of ``frames`` int16 ``[N, T]`` with a right input and a wrong latent.

    ``received`` and ``reference`` are what the device and the reference made of ``frames``. None when there is no
    such frame, or when the layers that the device keeps are right this time. Raises LinkError and DeviceError as the
    device does.
    """
    frame = _first_frame(received, reference)
    if frame is None or reference.input is None:
        return None
    expected = run_every_layer(graph, reference.input[frame : frame + 1])
    for index, layer in enumerate(graph.layers):
        found = device.read_layer(frames[frame], index)
        if found is None:
            continue
        wanted = expected[index][0]
        found = found.reshape(wanted.shape)
        wrong = np.argwhere(found != wanted)
        if len(wrong):
            position, channel = (int(place) for place in wrong[0])
            return LayerDivergence(
                executor=device.name,
                frame=frame,
                layer=index,
                name=layer.name,
                op=str(layer.op),
                positions=layer.output.width,
                compared=wanted.size,
                mismatches=len(wrong),
                position=position,
                last_position=int(wrong[-1][0]),
                channel=channel,
                expected=int(wanted[position, channel]),
                received=int(found[position, channel]),
            )
    return None


def _first_frame(received: Stages, reference: Stages) -> int | None:
    if received.input is None or received.latent is None or reference.input is None or reference.latent is None:
        return None
    same_input = (received.input == reference.input).all(axis=1)
    other_latent = (received.latent != reference.latent).any(axis=(1, 2))
    frames = np.flatnonzero(same_input & other_latent)
    return int(frames[0]) if len(frames) else None
