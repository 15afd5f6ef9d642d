"""What compressionKIT's deployment manifest says of a codec: frame length, sampling rate and normalisation."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from edgecodec.documents import Json
from edgecodec.errors import InputError, short_repr
from edgecodec.files.limits import DOCUMENT
from edgecodec.files.regular import read_regular
from edgecodec.files.strict_json import parse_json
from edgecodec.signal.normalize import NONE, Fixed, MinMax, Normalization, ZScore

NAMES = ("deploy_manifest.json", "config.json")
"""What the manifest is called in a folder that was exported, and in a published repository."""
_SPEC, _CARD = "codec_spec.json", "model_card.json"
_RATES = ("sample_rate", "sampling_rate", "sample_rate_hz", "sampling_rate_hz")
_NORMALIZATIONS = ("normalization", "normalisation", "normalize")
_KINDS = ("kind", "type", "method", "name")
_ZSCORE = ("zscore", "standard", "layernorm", "meanstd")
_MINMAX = ("minmax",)
_NONE = ("none", "raw", "identity")
_FIXED = ("fixed",)
_OTHER = ("range", "median", "robust", "quantile", "global", "dataset")
"""Parts of words, in lower-case letters and digits, for what edgecodec does and for what it does not."""
_ENDS = re.compile(r"[\[(]\s*(-?[0-9.]+)\s*,\s*(-?[0-9.]+)\s*[\])]")
"""Two numbers in brackets: the ends that frames are scaled to."""


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
    parameters: Json = field(default_factory=dict)
    """What stands beside that word."""

    @property
    def meant(self) -> Normalization | None:
        """What :attr:`normalization` names; None for a word that is not known, or none.

        Raises InputError for what edgecodec does not do, and for a fixed normalisation without its numbers.
        """
        word = "".join(letter for letter in (self.normalization or "").lower() if letter.isalnum())
        try:
            if any(part in word for part in _OTHER):
                raise InputError("no normalisation of a bundle")
            if any(part in word for part in _ZSCORE):
                return ZScore(*self._numbers(("epsilon", "eps")))
            if any(part in word for part in _MINMAX):
                return MinMax(*self._ends())
            if any(part in word for part in _FIXED):
                return Fixed(self._numbers(("offset", "mean"))[0], self._numbers(("scale", "std"))[0])
        except (InputError, IndexError) as error:
            raise InputError(
                f"{self.path}: frames are normalised by {self.normalization!r}, {self.parameters}; expected z-scores, "
                "least and largest count of each frame, or a fixed offset and scale",
                hint="say which with --normalization",
            ) from error
        return NONE if any(part in word for part in _NONE) else None

    def _numbers(self, names: tuple[str, ...]) -> tuple[float, ...]:
        found = (self.parameters[name] for name in names if name in self.parameters)
        return tuple(float(each) for each in found if isinstance(each, int | float) and not isinstance(each, bool))[:1]

    def _ends(self) -> tuple[float, ...]:
        low, high = self._numbers(("low", "min")), self._numbers(("high", "max"))
        if low and high:
            return low + high
        said = _ENDS.search(f"{self.normalization} {self.parameters}")
        return () if said is None else (float(said[1]), float(said[2]))

    def check(self, samples: int, rate_hz: float | None, normalization: Normalization | None) -> tuple[str, ...]:
        """What the manifest adds to, or leaves open of, an encoder of ``samples`` and what the user said.

        Raises InputError unless these fit the manifest.
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
        if normalization is None and self.normalization is not None:
            if self.meant is None:
                taken = "taken for z-scores of each frame"
                notes.append(f"{self.path.name}: normalised by {self.normalization!r}, {taken}")
            elif self.meant.kind != ZScore.kind:
                notes.append(f"{self.path.name}: normalised by {self.normalization!r}, {self.meant}")
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
    return DeployManifest(path, samples, None if rate is None else float(rate), *_normalization(documents))


def _normalization(documents: list[Json]) -> tuple[str | None, Json]:
    """The exporter's word, and what stands beside it."""
    for document in documents:
        for holder in (document, document.get("preprocessing_contract"), document.get("preprocessing")):
            for key in _NORMALIZATIONS:
                value = holder.get(key) if isinstance(holder, dict) else None
                parameters = value if isinstance(value, dict) else {}
                word = next((parameters[kind] for kind in _KINDS if kind in parameters), value)
                if isinstance(word, str):
                    return word, {name: each for name, each in parameters.items() if name not in _KINDS}
    return None, {}


def _read(path: Path) -> Json:
    try:
        content = parse_json(read_regular(path, "a manifest", DOCUMENT), finite=False)
    except ValueError as error:
        raise InputError(f"{path}: not readable JSON ({error})") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: holds a {type(content).__name__}; expected a JSON object")
    return content
