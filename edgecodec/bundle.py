"""The bundle: one folder that holds a deployable codec (SPEC.md 3)."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, PlainValidator, ValidationError

from edgecodec.codec.codec import Codec
from edgecodec.codec.normalizer import Normalizer
from edgecodec.codec.numerics import NUMERICS
from edgecodec.codec.rvq import IntegerRvq
from edgecodec.codec.tflite_reader import read_graph
from edgecodec.entropy.packet import PacketFormat
from edgecodec.entropy.packet_file import PacketConstants
from edgecodec.errors import BundleError, EdgecodecError, InputError, UnsupportedOpError
from edgecodec.files.atomic import npz_bytes, replace_folder
from edgecodec.files.limits import BUNDLE_PART, DOCUMENT
from edgecodec.files.npz import read_npz
from edgecodec.files.regular import check_regular, read_regular
from edgecodec.files.resources import bundle_folder, shipped_bundles
from edgecodec.files.strict_json import parse_json
from edgecodec.signal.normalize import ZSCORE, Normalization, normalization_json, normalization_of

FORMAT = "edgecodec.bundle"
VERSION = 1
MANIFEST = "manifest.json"
ENCODER = "encoder.tflite"
CODEBOOKS = "codebooks.npz"
DECODER = "decoder.tflite"
KERAS_ENCODER = "encoder.keras"
FRAMES = "frames.npz"
PACKETS = "packets.npz"
OPTIONAL = (DECODER, KERAS_ENCODER, FRAMES, PACKETS)
_DAMAGED = "the bundle is damaged, quantize again"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


def _normalization(given: Any) -> Normalization:
    """For pydantic, whose messages are of ValueErrors."""
    if not isinstance(given, dict):
        raise ValueError(f"{given!r}; expected an object")
    try:
        return normalization_of(given)
    except InputError as error:
        raise ValueError(error.message) from error


class FrameInfo(_Strict):
    """Length and rate of a frame."""

    samples: int = Field(ge=1)
    rate_hz: float | None = Field(default=None, gt=0)


class QuantizationInfo(_Strict):
    """real = scale (q - zero_point)"""

    scale: float = Field(gt=0)
    zero_point: int = Field(ge=-128, le=127)


class LatentInfo(QuantizationInfo):
    """Quantisation and shape of the encoder's output."""

    positions: int = Field(ge=1)
    channels: int = Field(ge=1)


class RvqInfo(_Strict):
    """Shape of the integer codebooks."""

    fraction_bits: int = Field(ge=-8, le=8)
    codebook_sizes: list[int] = Field(min_length=1)


class FileInfo(_Strict):
    """Digest and size of one file."""

    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    bytes: int = Field(ge=0)


class Manifest(_Strict):
    """``manifest.json`` (SPEC.md 3)."""

    format: str
    version: int
    digest: str = Field(pattern="^[0-9a-f]{64}$")
    numerics: str
    name: str
    frame: FrameInfo
    normalizer: Annotated[Normalization, PlainValidator(_normalization)]
    input: QuantizationInfo
    latent: LatentInfo
    rvq: RvqInfo
    files: dict[str, FileInfo]
    provenance: dict[str, Any]


@dataclass(frozen=True)
class Bundle:
    """A loaded and checked bundle."""

    path: Path
    manifest: Manifest
    codec: Codec
    encoder_bytes: bytes
    """The TFLite file."""

    @property
    def digest(self) -> str:
        """SHA-256 of the manifest, hex."""
        return self.manifest.digest

    @property
    def name(self) -> str:
        """Free text of the manifest."""
        return self.manifest.name

    @property
    def rate_hz(self) -> float | None:
        """Sampling rate of the frames in Hz; None when the manifest says none."""
        return self.manifest.frame.rate_hz

    def __repr__(self) -> str:
        rate = "" if self.rate_hz is None else f" at {self.rate_hz:g} Hz"
        return f"Bundle({self.name!r}, {self.codec}{rate}, digest {self.digest[:12]})"

    def file(self, name: str) -> Path | None:
        """Path of an optional file of the bundle, or None when it has none."""
        return self.path / name if name in self.manifest.files else None

    def frames(self) -> npt.NDArray[np.int16] | None:
        """The frames shipped for verification, int16 ``[N, T]``, or None.

        Raises BundleError when they do not fit the bundle.
        """
        path = self.file(FRAMES)
        if path is None:
            return None
        frames = _load_npz(_read_part(path, self.manifest.files[FRAMES]), FRAMES).get("frames")
        if frames is None or frames.dtype != np.int16 or frames.ndim != 2 or frames.shape[1] != self.codec.samples:
            raise BundleError(f"{path}: expected array 'frames' of int16 [N, {self.codec.samples}]")
        return frames

    def packets(self) -> PacketFormat | None:
        """The format of its packets (SPEC.md 5), or None. Raises BundleError when it does not fit the codec."""
        path = self.file(PACKETS)
        if path is None:
            return None
        try:
            constants = PacketConstants.from_npz(_read_part(path, self.manifest.files[PACKETS]))
            if constants.side is not None and constants.side.samples != self.codec.samples:
                raise InputError(f"packets of {constants.side.samples} samples; the codec has {self.codec.samples}")
            sizes, positions = list(self.codec.rvq.codebook_sizes), self.codec.positions
            return PacketFormat(sizes, positions, self.digest, constants.side, constants.model)
        except InputError as error:
            raise BundleError(f"{path}: {error.message}", hint=error.hint) from error

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Bundle:
        """Load and check a bundle folder, or one of :func:`edgecodec.files.resources.shipped_bundles` by its name.

        Raises BundleError or UnsupportedOpError.
        """
        folder = bundle_folder(path)
        manifest = _read_manifest(folder)
        content = {name: _read_file(folder, name, info) for name, info in manifest.files.items()}
        for name in (ENCODER, CODEBOOKS):
            if name not in content:
                raise BundleError(f"{folder}: manifest lists no {name}")
        return _assemble(folder, manifest, content)


def write_bundle(
    path: str | os.PathLike[str],
    *,
    encoder: bytes,
    rvq: IntegerRvq,
    name: str,
    rate_hz: float | None = None,
    normalization: Normalization = ZSCORE,
    optional: Mapping[str, bytes] | None = None,
    provenance: Mapping[str, Any] | None = None,
    force: bool = False,
) -> Bundle:
    """Write a bundle folder beside ``path``, load it back to check it, and rename it into place.

    ``optional`` maps names of :data:`OPTIONAL` to contents. Raises BundleError, UnsupportedOpError or
    PlanError and leaves nothing behind.
    """
    graph = read_graph(encoder)
    codebooks: dict[str, npt.NDArray[Any]] = {f"level_{level}": book for level, book in enumerate(rvq.codebooks)}
    codebooks |= {f"bias_{level}": bias for level, bias in enumerate(rvq.biases or ())}
    content = {ENCODER: encoder, CODEBOOKS: npz_bytes(codebooks)}
    for key, data in (optional or {}).items():
        if key not in OPTIONAL:
            raise BundleError(f"{key} is no file of a bundle; expected one of {', '.join(OPTIONAL)}")
        content[key] = data
    latent = graph.latent
    manifest: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "numerics": graph.input.numerics.name,
        "name": name,
        "frame": {"samples": graph.input.width, "rate_hz": rate_hz},
        "normalizer": normalization_json(normalization),
        "input": {"scale": graph.input.scale, "zero_point": graph.input.zero_point},
        "latent": {
            "scale": latent.scale,
            "zero_point": latent.zero_point,
            "positions": latent.width,
            "channels": latent.channels,
        },
        "rvq": {"fraction_bits": rvq.fraction_bits, "codebook_sizes": list(rvq.codebook_sizes)},
        "files": {
            key: {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
            for key, data in sorted(content.items())
        },
        "provenance": dict(provenance or {}),
    }
    manifest["digest"] = manifest_digest(manifest)
    with replace_folder(path, marker=MANIFEST, force=force) as folder:
        for key, data in content.items():
            (folder / key).write_bytes(data)
        (folder / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
        Bundle.load(folder)
    return Bundle.load(path)


def manifest_digest(manifest: Mapping[str, Any]) -> str:
    """SHA-256 (hex) over the canonical JSON of ``manifest`` without its ``digest`` key."""
    kept = {key: value for key, value in manifest.items() if key != "digest"}
    text = json.dumps(kept, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def _read_manifest(folder: Path) -> Manifest:
    path = folder / MANIFEST
    if not folder.exists():
        hint = f"make one with: edgecodec quantize RUN -o {folder}"
        shipped = ", ".join(shipped_bundles())
        raise BundleError(f"{folder}: no such bundle", hint=f"{hint}{f', or take {shipped}' if shipped else ''}")
    if not path.exists():
        raise BundleError(f"{folder}: no {MANIFEST} in it, so it is no bundle")
    try:
        raw = parse_json(read_regular(path, "a manifest", DOCUMENT))
    except InputError as error:
        raise BundleError(error.message) from error
    except ValueError as error:
        raise BundleError(f"{path}: not valid JSON ({error})", hint=_DAMAGED) from error
    if not isinstance(raw, dict) or raw.get("format") != FORMAT:
        raise BundleError(f"{path}: format is not {FORMAT!r}")
    if raw.get("version") != VERSION or isinstance(raw.get("version"), bool):
        raise BundleError(
            f"{path}: bundle version {raw.get('version')!r}; this edgecodec reads version {VERSION}",
            hint="quantize again",
        )
    try:
        manifest = Manifest.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise BundleError(f"{path}: {key}: {first['msg']}") from error
    if manifest.numerics not in NUMERICS:
        raise BundleError(
            f"{path}: numerics {manifest.numerics!r}; this edgecodec executes {', '.join(map(repr, NUMERICS))}"
        )
    computed = manifest_digest(raw)
    if computed != manifest.digest:
        raise BundleError(
            f"{path}: edited after it was written (digest {manifest.digest[:12]}, content {computed[:12]})",
            hint="quantize again",
        )
    return manifest


def _read_file(folder: Path, name: str, info: FileInfo) -> bytes:
    if name not in (ENCODER, CODEBOOKS, *OPTIONAL):
        raise BundleError(f"{folder}: manifest lists {name!r}, which is no file of a bundle")
    return _read_part(folder / name, info)


def _read_part(path: Path, info: FileInfo) -> bytes:
    """A file that a manifest tells of. Raises BundleError when it is not the one."""
    if info.bytes > BUNDLE_PART:
        raise BundleError(f"{path}: the manifest says {info.bytes:,} bytes; at most {BUNDLE_PART:,} are read")
    try:
        check_regular(path, "a file of the bundle")
        size = path.stat().st_size
        if size != info.bytes:
            raise BundleError(f"{path}: {size} bytes; the manifest says {info.bytes} (truncated or replaced)")
        data = read_regular(path, "a file of the bundle", info.bytes)
    except InputError as error:
        raise BundleError(f"{error.message}; the bundle is incomplete") from error
    if hashlib.sha256(data).hexdigest() != info.sha256:
        raise BundleError(f"{path}: SHA-256 differs from the manifest's; the file was edited or damaged")
    return data


def _assemble(folder: Path, manifest: Manifest, content: Mapping[str, bytes]) -> Bundle:
    graph = read_graph(content[ENCODER])
    latent = manifest.latent
    found = {
        "frame.samples": (graph.input.width, manifest.frame.samples),
        "input.scale": (graph.input.scale, manifest.input.scale),
        "input.zero_point": (graph.input.zero_point, manifest.input.zero_point),
        "latent.scale": (graph.latent.scale, latent.scale),
        "latent.zero_point": (graph.latent.zero_point, latent.zero_point),
        "latent.positions": (graph.latent.width, latent.positions),
        "latent.channels": (graph.latent.channels, latent.channels),
    }
    for key, (in_file, in_manifest) in found.items():
        if in_file != in_manifest:
            raise BundleError(f"{folder}: {key} is {in_manifest} in the manifest and {in_file} in {ENCODER}")
    numerics = NUMERICS[manifest.numerics]
    arrays = _load_npz(content[CODEBOOKS], CODEBOOKS)
    names = [f"level_{level}" for level in range(len(manifest.rvq.codebook_sizes))]
    bias_names = [f"bias_{level}" for level in range(len(names))]
    if sorted(arrays) not in (sorted(names), sorted(names + bias_names)):
        raise BundleError(
            f"{folder}/{CODEBOOKS}: holds {sorted(arrays)}; expected {names}, with or without {bias_names}"
        )
    try:
        rvq = IntegerRvq(
            tuple(arrays[key] for key in names),
            manifest.rvq.fraction_bits,
            latent.scale,
            latent.zero_point,
            numerics,
            tuple(arrays[key] for key in bias_names) if len(arrays) > len(names) else None,
        )
        normalizer = Normalizer.of(
            manifest.normalizer, manifest.frame.samples, manifest.input.scale, manifest.input.zero_point, numerics
        )
        codec = Codec(normalizer, graph, rvq)
    except UnsupportedOpError as error:
        error.within(str(folder))
        raise
    except EdgecodecError as error:
        raise BundleError(f"{folder}: {error.message}", hint=error.hint) from error
    if list(rvq.codebook_sizes) != manifest.rvq.codebook_sizes:
        raise BundleError(
            f"{folder}: codebook sizes {list(rvq.codebook_sizes)} in {CODEBOOKS}, "
            f"{manifest.rvq.codebook_sizes} in the manifest"
        )
    return Bundle(folder, manifest, codec, content[ENCODER])


def _load_npz(data: bytes, name: str) -> dict[str, npt.NDArray[Any]]:
    try:
        return read_npz(data, name, "a bundle", BUNDLE_PART)
    except InputError as error:
        raise BundleError(error.message) from error
