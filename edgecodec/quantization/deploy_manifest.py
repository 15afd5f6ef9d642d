"""What compressionKIT's deployment manifest says of a codec: frame length, sampling rate and normalisation."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from edgecodec.documents import Json
from edgecodec.errors import InputError, short_repr

NAMES = ("deploy_manifest.json", "config.json")
"""What the manifest is called in a folder that was exported, and in a published repository."""
_SPEC, _CARD = "codec_spec.json", "model_card.json"
_RATES = ("sample_rate", "sampling_rate", "sample_rate_hz", "sampling_rate_hz")
_NORMALIZATIONS = ("normalization", "normalisation", "normalize")
_KINDS = ("kind", "type", "method", "name")
_ZSCORE = ("zscore", "standard", "layernorm", "meanstd")
_OTHER = ("minmax", "range", "none", "fixed", "raw", "median", "robust", "quantile")
"""Parts of words, in lower-case letters and digits, for z-scores and for what is none."""


@dataclass(frozen=True)
class DeployManifest:
    """Facts of a codec that somebody else exported."""

    path: Path
    """The file."""
    samples: int | None
    """T, samples of a frame; None when the manifest does not say."""
    rate_hz: float | None
    """Sampling rate in Hz; None when neither the manifest nor the files beside it say."""
    normalization: str | None
    """How frames are normalised, in the exporter's word; None when it does not say."""

    def check(self, samples: int, rate_hz: float | None) -> tuple[str, ...]:
        """What the manifest adds to, or leaves open of, an encoder of ``samples`` and the user's ``rate_hz``.

        Raises InputError unless these and z-scores fit the manifest.
        """
        if self.samples is not None and self.samples != samples:
            raise InputError(
                f"{self.path}: frames of {self.samples} samples; the encoder beside it takes {samples}",
                hint="take encoder and manifest of one export",
            )
        notes = []
        if self.rate_hz is not None and rate_hz is None:
            notes.append(f"{self.path.name}: frames at {self.rate_hz:g} Hz")
        elif self.rate_hz is not None and self.rate_hz != rate_hz:
            raise InputError(f"{self.path}: a rate of {self.rate_hz:g} Hz; --rate-hz says {rate_hz:g} Hz")
        word = "".join(letter for letter in (self.normalization or "zscore").lower() if letter.isalnum())
        if any(part in word for part in _OTHER):
            raise InputError(
                f"{self.path}: frames are normalised by {self.normalization!r}; expected z-scores of each frame",
                hint="train it on frames of mean 0 and variance 1",
            )
        if not any(part in word for part in _ZSCORE):
            notes.append(f"{self.path.name}: normalised by {self.normalization!r}, taken for z-scores of each frame")
        return tuple(notes)


def read_deploy_manifest(folder: Path) -> DeployManifest | None:
    """The manifest in ``folder``, with what ``codec_spec.json`` and ``model_card.json`` beside it add.

    None when there is none, or a ``config.json`` is of something else. Raises InputError for a file that is not JSON,
    or values of another type.
    """
    for name in NAMES:
        path = folder / name
        if path.is_file():
            manifest = _read(path)
            if name == NAMES[0] and not isinstance(manifest.get("encoder", {}), dict):
                raise InputError(f"{path}: encoder is {short_repr(manifest['encoder'])}; expected a JSON object")
            if isinstance(manifest.get("encoder"), dict):
                beside = [_read(folder / other) for other in (_SPEC, _CARD) if (folder / other).is_file()]
                return _facts(path, [manifest, *beside])
    return None


def _facts(path: Path, documents: list[Json]) -> DeployManifest:
    shape = documents[0]["encoder"].get("input_shape")
    samples = None
    if isinstance(shape, list) and len(shape) > 1:
        # (batch, 1, T, 1), or (batch, T, 1) of one-dimensional convolutions.
        samples = shape[-2]
    if samples is not None and (not isinstance(samples, int) or isinstance(samples, bool)):
        raise InputError(f"{path}: encoder.input_shape is {shape}; expected [null, 1, T, 1]")
    rate = next((found[key] for found in documents for key in _RATES if found.get(key) is not None), None)
    if rate is not None and (isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 < rate < 1e9):
        raise InputError(f"{path}: a sampling rate of {rate!r}; expected Hz above 0")
    return DeployManifest(path, samples, None if rate is None else float(rate), _normalization(documents))


def _normalization(documents: list[Json]) -> str | None:
    for document in documents:
        for holder in (document, document.get("preprocessing_contract"), document.get("preprocessing")):
            for key in _NORMALIZATIONS:
                value = holder.get(key) if isinstance(holder, dict) else None
                if isinstance(value, dict):
                    value = next((value[kind] for kind in _KINDS if kind in value), None)
                if isinstance(value, str):
                    return value
    return None


def _read(path: Path) -> Json:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: not readable JSON ({error})") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: holds a {type(content).__name__}; expected a JSON object")
    return content
