"""A quantised codec in memory: all that its bundle will hold."""

from __future__ import annotations

import os
from dataclasses import dataclass

from edgecodec.bundle import DECODER, FRAMES, KERAS_ENCODER, PACKETS, Bundle, write_bundle
from edgecodec.codec.arrays import Frames
from edgecodec.codec.codec import Codec
from edgecodec.documents import Json, to_json
from edgecodec.entropy.packet_file import PacketConstants
from edgecodec.quantization.report import Figures, QuantizationReport
from edgecodec.signal.frames import frames_npz


@dataclass(frozen=True, repr=False)
class Quantized:
    """A codec in integers, with what decoding and verifying it takes and what quantising it cost."""

    name: str
    """Name of the bundle."""
    rate_hz: float | None
    """Sampling rate of the frames in Hz; None when it is not known."""
    codec: Codec
    """Normaliser, encoder and quantiser, proven not to overflow."""
    encoder: bytes
    """INT8 TFLite file that :attr:`codec` executes."""
    decoder: bytes | None
    """Float32 TFLite file from latents ``(1, 1, P, D)`` to frames ``(1, 1, T, 1)``; None when there is none."""
    keras_encoder: bytes | None
    """The float encoder that the integers round, as a ``.keras`` file; None when there is none."""
    packets: PacketConstants
    """How location and scale of a frame are kept, and the model of the indices, if one was fitted."""
    frames: Frames
    """Frames to verify executors with, ADC counts int16 ``[N, T]``."""
    figures: Figures
    """Figures of the codec kept, as :func:`edgecodec.quantization.measure.measure` returns them, on a run's test
    frames or the held-out frames of files, with ``frames``, their number, and the figures of rounding nothing but the
    input. ``prdn_given`` is the float codec's as it was trained, which differs from ``prdn_float`` once fine-tuning has
    changed it. Figures that need the decoder or the float encoder are missing without them."""
    report: QuantizationReport
    """Candidates tried, with their figures on the validation frames, and which was kept."""
    provenance: Json
    """What the manifest keeps of training, versions and calibration frames, beside report and figures."""

    def write(self, path: str | os.PathLike[str], *, force: bool = False) -> Bundle:
        """Write the bundle folder ``path`` whole or not at all, and load it.

        An existing folder is replaced only when it is empty, a bundle, or ``force`` is set. Raises InputError when it
        cannot be, or cannot be written.
        """
        optional = {FRAMES: frames_npz(self.frames, self.rate_hz), PACKETS: self.packets.to_npz()}
        if self.decoder is not None:
            optional[DECODER] = self.decoder
        if self.keras_encoder is not None:
            optional[KERAS_ENCODER] = self.keras_encoder
        return write_bundle(
            path,
            encoder=self.encoder,
            rvq=self.codec.rvq,
            name=self.name,
            rate_hz=self.rate_hz,
            normalization=self.codec.normalizer.normalization,
            optional=optional,
            provenance={**self.provenance, "quantization": to_json(self.report), "figures": dict(self.figures)},
            force=force,
        )

    def __repr__(self) -> str:
        kinds = ("prdn_integer", "prdn_float", "agreement_l1")
        figures = "".join(f", {kind} {self.figures[kind]:g}" for kind in kinds if kind in self.figures)
        return f"Quantized({self.name!r}, {self.codec}, {self.report.chosen!r}{figures})"
