"""A bundle with packets and a decoder, made without TensorFlow, and streams of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgecodec.bundle import DECODER, ENCODER, PACKETS, Bundle, write_bundle
from edgecodec.codec.reference import ReferenceExecutor
from edgecodec.entropy.context_tables import TableFitting
from edgecodec.entropy.packet_file import PacketConstants
from edgecodec.entropy.packet_stream import StreamHeader, packet_record
from edgecodec.entropy.side_information import fit_side_information
from edgecodec.host.streams import packets_of
from tests.linear_codec import RATE_HZ, SAMPLES, linear_codec, pulse_frames


def stream_bundle(folder: Path, name: str = "stream") -> Bundle:
    """The linear codec, with context tables and side information."""
    linear, _ = linear_codec(folder)
    stages = ReferenceExecutor(linear.codec).stages(pulse_frames(300, seed=3))
    assert stages.indices is not None
    assert stages.offset is not None
    assert stages.spread is not None
    side = fit_side_information(8.0, SAMPLES, stages.offset, stages.spread)
    model = TableFitting(stages.indices, linear.codec.rvq.codebook_sizes).fit(4096)
    decoder = linear.file(DECODER)
    assert decoder is not None
    return write_bundle(
        folder / "stream",
        encoder=(linear.path / ENCODER).read_bytes(),
        rvq=linear.codec.rvq,
        name=name,
        rate_hz=RATE_HZ,
        optional={DECODER: decoder.read_bytes(), PACKETS: PacketConstants(side, model).to_npz()},
    )


def packets_for(bundle: Bundle, frames: npt.NDArray[np.int16], first: int = 0) -> list[bytes]:
    """Packets of frames, by the reference."""
    stages = ReferenceExecutor(bundle.codec).stages(frames)
    assert stages.indices is not None
    assert stages.offset is not None
    assert stages.spread is not None
    sides = zip(stages.offset.tolist(), stages.spread.tolist(), strict=True)
    return [
        packets_of(bundle).encode(indices, offset, spread, first + number)
        for number, (indices, (offset, spread)) in enumerate(zip(stages.indices, sides, strict=True))
    ]


def stream_bytes(bundle: Bundle, packets: list[bytes], channels: int = 1) -> bytes:
    """A file of packets, of channel 0, 1, ... by turns."""
    header = StreamHeader(bundle.digest, RATE_HZ, None, channels).to_bytes()
    return header + b"".join(packet_record(number % channels, packet) for number, packet in enumerate(packets))
