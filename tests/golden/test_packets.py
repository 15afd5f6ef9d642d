"""Packets of fixed frames of synthetic PPG, byte for byte, and the C rendered for them. `make golden` writes them anew.

``packets/*.json`` have all that a decoder of another make needs: the models' arrays, the frames and their packets.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from edgecodec.bundle import Bundle
from edgecodec.codec.reference import ReferenceExecutor
from edgecodec.compile.render import PACKETS_ALONE, render_packets
from edgecodec.entropy.causal_network import CausalNetwork
from edgecodec.entropy.context_tables import ContextTables, TableFitting
from edgecodec.entropy.packet import Form, PacketFormat
from edgecodec.entropy.side_information import SideInformation
from tests.packets import DIGEST, likely, network
from tests.tflite_builder import ppg_frames

GOLDEN = Path(__file__).parent / "packets"
KINDS = ("tables", "network")
FRAMES = 6


def _format(bundle: Bundle, kind: str) -> PacketFormat:
    sizes = bundle.codec.rvq.codebook_sizes
    samples = bundle.codec.samples
    indices = ReferenceExecutor(bundle.codec).encode(ppg_frames(200, samples, 1))
    model = TableFitting(indices, sizes).fit(700) if kind == "tables" else network(1, tuple(sizes), 4, 4, 2, (1, 2))
    return PacketFormat(list(sizes), bundle.codec.positions, DIGEST, SideInformation(samples, 8, 8, 2048), model)


def _vectors(bundle: Bundle, kind: str) -> dict[str, object]:
    packets = _format(bundle, kind)
    assert packets.model is not None
    stages = ReferenceExecutor(bundle.codec).stages(ppg_frames(FRAMES, bundle.codec.samples, 2))
    assert stages.offset is not None
    assert stages.spread is not None
    rows = [
        (frame.tolist(), int(s), int(v))
        for frame, s, v in zip(stages.indices, stages.offset, stages.spread, strict=True)
    ]
    rows[0] = (likely(packets.model, 3, 1, packets.positions)[0].tolist(), *rows[0][1:])
    rng = np.random.default_rng(0)
    rows[1] = (rng.integers(0, packets.codebook_sizes, stages.indices[1].shape).tolist(), 5, 1)
    rows[2] = (rows[2][0], 77 * bundle.codec.samples, 0)
    rows[3] = ([row[:1] for row in rows[3][0]], *rows[3][1:])
    vectors = []
    for number, (indices, offset, spread) in enumerate(rows):
        clipped, gap = number == 4, number in (4, 5)
        packet = packets.encode(np.asarray(indices), offset, spread, 254 + number, clipped=clipped, gap=gap)
        vectors.append({"indices": indices, "offset": offset, "spread": spread, "packet": packet.hex()})
    assert isinstance(packets.model, ContextTables | CausalNetwork)
    arrays = {name: array.tolist() for name, array in packets.model.to_arrays().items()}
    return {"codebook_sizes": list(packets.codebook_sizes), "model": arrays, "frames": vectors}


@pytest.mark.parametrize("kind", KINDS)
def test_vectors_as_before(bundle: Bundle, kind: str) -> None:
    text = json.dumps(_vectors(bundle, kind), separators=(",", ":")).replace('{"indices"', '\n{"indices"') + "\n"
    golden = GOLDEN / f"{kind}.json"
    if os.environ.get("EDGECODEC_UPDATE_GOLDEN"):
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(text)
    assert text == golden.read_text()


@pytest.mark.parametrize("kind", KINDS)
def test_vectors_are_read(bundle: Bundle, kind: str) -> None:
    packets = _format(bundle, kind)
    forms = set()
    for vector in json.loads((GOLDEN / f"{kind}.json").read_text())["frames"]:
        read = packets.decode(bytes.fromhex(vector["packet"]))
        forms.add(read.form)
        assert read.form is Form.FLAT or read.indices.tolist() == vector["indices"]
    assert Form.FLAT in forms
    assert len(forms) == 3


@pytest.mark.parametrize("name", PACKETS_ALONE)
@pytest.mark.parametrize("kind", KINDS)
def test_rendered_as_before(bundle: Bundle, kind: str, name: str) -> None:
    text = render_packets(_format(bundle, kind))[name]
    golden = GOLDEN / f"{kind}_{name}"
    if os.environ.get("EDGECODEC_UPDATE_GOLDEN"):
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(text)
    assert text == golden.read_text()
