"""What packets are made with, fitted anew for a bundle whose codec stays as it is."""

from __future__ import annotations

import os
from collections.abc import Mapping

import numpy as np

from edgecodec.bundle import OPTIONAL, PACKETS, Bundle, write_bundle
from edgecodec.codec.arrays import Frames, Indices
from edgecodec.codec.normalizer import FixedNormalizer, Normalizer, ZScoreNormalizer
from edgecodec.codec.reference import normalize
from edgecodec.documents import to_json
from edgecodec.entropy.packet_file import PacketConstants
from edgecodec.entropy.side_information import SideInformation, fit_side_information
from edgecodec.quantization.report import Figures, IndexModelReport
from edgecodec.training.index_models import ModelBudget, Progress, fit_index_model

SIDE_FRAMES = 2048
"""Frames that the ranges of the side information are fitted to, at most."""
UNKNOWN_PRDN = 1.0
"""Taken for a codec's PRDN, in percent, where it could not be measured."""


def refit(
    bundle: Bundle,
    path: str | os.PathLike[str],
    frames: Frames,
    indices: Indices,
    validation: Indices,
    *,
    budget: ModelBudget | None = None,
    network_steps: int | None = None,
    progress: Progress | None = None,
    force: bool = False,
) -> tuple[Bundle, IndexModelReport]:
    """Write ``bundle`` to ``path`` with packets fitted to ``frames``: the codec stays, the digest changes.

    Args:
        bundle: The bundle.
        path: Folder to write, whole or not at all.
        frames: ADC counts int16 ``[N, T]`` of the people to fit to.
        indices: What the bundle's codec makes of them, uint16 ``[N, P, L]``.
        validation: The codec's indices ``[M, P, L]`` of other people's frames, to judge models on.
        budget: What a device has for the model of indices.
        network_steps: Steps of fitting each network; None for their own number.
        progress: Called as ``progress(done, total, what)`` with the steps of the network that is fitted.
        force: Whether a folder that is no bundle may be replaced.

    Raises:
        InputError: Frames do not fit the bundle, or there are none; ``path`` holds other files.
    """
    budget = budget or ModelBudget()
    model, curve = fit_index_model(indices, validation, bundle.codec.rvq.codebooks, budget, network_steps, progress)
    report = IndexModelReport(len(indices), len(validation), budget, curve)
    provenance = dict(bundle.manifest.provenance)
    figures = provenance.get("figures")
    side = side_information(bundle.codec.normalizer, frames, figures if isinstance(figures, Mapping) else {})
    kept = {name: file.read_bytes() for name in OPTIONAL if (file := bundle.file(name)) is not None}
    quantization = provenance.get("quantization")
    known = dict(quantization) if isinstance(quantization, Mapping) else {}
    provenance["quantization"] = {**known, "index_model": to_json(report)}
    written = write_bundle(
        path,
        encoder=bundle.encoder_bytes,
        rvq=bundle.codec.rvq,
        name=bundle.name,
        rate_hz=bundle.rate_hz,
        normalization=bundle.codec.normalizer.normalization,
        optional=kept | {PACKETS: PacketConstants(side, model).to_npz()},
        provenance=provenance,
        force=force,
    )
    return written, report


def side_information(normalizer: Normalizer, frames: Frames, figures: Figures) -> SideInformation | None:
    """Steps for the PRDN among ``figures``, ranges for frames like ``frames``, int16 ``[N, T]``, none constant.

    None where the normaliser removes nothing.
    """
    if isinstance(normalizer, FixedNormalizer):
        return None
    like = frames[np.linspace(0, len(frames) - 1, min(SIDE_FRAMES, len(frames))).astype(int)]
    _, offsets, spreads = normalize(normalizer, like)
    prdn = figures.get("prdn_integer", UNKNOWN_PRDN)
    squared = isinstance(normalizer, ZScoreNormalizer)
    if not squared:
        # The PRDN is of the standard deviation; steps of the range are so many times as large, and what a wrong range
        # multiplies, a count less the least one, is no larger than the range.
        prdn /= float(np.median(np.ptp(like, axis=1) / like.std(axis=1)))
    return fit_side_information(prdn, normalizer.samples, offsets, spreads, squared=squared)
