"""Which layer of a board's encoder goes wrong, told from made-up outputs."""

from __future__ import annotations

import numpy as np
import pytest

from edgecodec.bundle import Bundle
from edgecodec.codec.arrays import Frames
from edgecodec.codec.reference import ReferenceExecutor, run_every_layer
from edgecodec.codec.stages import Stages
from edgecodec.verify.attribution import LayerDivergence, locate


class Device:
    """The reference's outputs, changed at ``(layer, position, channel)``, and without those of ``hidden``."""

    name = "board"

    def __init__(self, bundle: Bundle, changes: tuple[tuple[int, int, int], ...] = (), hidden: tuple[int, ...] = ()):
        self.bundle = bundle
        self.changes = changes
        self.hidden = hidden

    def read_layer(self, frame: np.ndarray, layer: int) -> np.ndarray | None:
        if layer in self.hidden:
            return None
        output = run_every_layer(
            self.bundle.codec.graph, ReferenceExecutor(self.bundle.codec).stages(frame[None]).input
        )[layer][0]
        for wrong, position, channel in self.changes:
            if wrong == layer:
                output[position, channel] ^= 1
        return output.reshape(-1)


@pytest.fixture
def frames(bundle: Bundle) -> Frames:
    found = bundle.frames()
    assert found is not None
    return found


@pytest.fixture
def reference(bundle: Bundle, frames: Frames) -> Stages:
    return ReferenceExecutor(bundle.codec).stages(frames)


def wrong_latent(stages: Stages, *frames: int) -> Stages:
    assert stages.latent is not None
    latent = stages.latent.copy()
    latent[list(frames), -1, 0] ^= 1
    return stages.changed(latent=latent)


def found_by(device: Device, frames: Frames, received: Stages, reference: Stages) -> LayerDivergence | None:
    return locate(device, device.bundle.codec.graph, frames, received, reference)


def test_first_wrong_layer_of_the_first_wrong_frame(bundle: Bundle, frames: Frames, reference: Stages) -> None:
    device = Device(bundle, ((1, 9, 2), (1, 15, 0), (2, 0, 0)))
    found = found_by(device, frames, wrong_latent(reference, 5, 7), reference)
    assert found is not None
    assert reference.input is not None
    expected = int(run_every_layer(bundle.codec.graph, reference.input[5:6])[1][0, 9, 2])
    layer = bundle.codec.graph.layers[1]
    assert found == LayerDivergence(
        executor="board",
        frame=5,
        layer=1,
        name=layer.name,
        op="CONV_2D",
        positions=16,
        compared=16 * 12,
        mismatches=2,
        position=9,
        last_position=15,
        channel=2,
        expected=expected,
        received=expected ^ 1,
    )
    assert f"frame 5, layer 1 (CONV_2D {layer.name}), positions 9 to 15 of 0..15: 2 of 192 values" in found.describe()


def test_layers_that_are_kept_nowhere_are_left_out(bundle: Bundle, frames: Frames, reference: Stages) -> None:
    device = Device(bundle, ((0, 0, 0), (2, 3, 1)), hidden=(0, 1))
    found = found_by(device, frames, wrong_latent(reference, 0), reference)
    assert found is not None
    assert (found.layer, found.position, found.channel) == (2, 3, 1)


def test_nothing_to_find(bundle: Bundle, frames: Frames, reference: Stages) -> None:
    assert reference.input is not None
    device = Device(bundle, ((0, 0, 0),))
    assert found_by(device, frames, reference, reference) is None
    assert found_by(device, frames, wrong_latent(reference, 0).changed(input=None), reference) is None
    # A wrong input explains a wrong latent, and the encoder is not to blame.
    other_input = wrong_latent(reference, 2).changed(input=reference.input ^ 1)
    assert found_by(device, frames, other_input, reference) is None
    # Wrong once, and right when it is looked at.
    assert found_by(Device(bundle), frames, wrong_latent(reference, 2), reference) is None
