"""Bundles: written whole, checked on loading, every kind of damage named."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgecodec.bundle import CODEBOOKS, ENCODER, FRAMES, MANIFEST, Bundle, manifest_digest, write_bundle
from edgecodec.codec.rvq import IntegerRvq
from edgecodec.errors import BundleError, EdgecodecError, PlanError, UnsupportedOpError
from edgecodec.files.atomic import npz_bytes
from tests.tflite_builder import (
    CONV,
    FAMILY,
    LayerSpec,
    build_encoder,
    malformed_encoder,
    overflowing_encoder,
    small_bundle,
    small_encoder,
)


@pytest.fixture
def copy(bundle: Bundle, tmp_path: Path) -> Path:
    """A copy of the bundle that a test may damage."""
    return Path(shutil.copytree(bundle.path, tmp_path / "copy"))


def resign(folder: Path, edit: Callable[[dict], None]) -> None:
    """Edit the manifest and give it a right digest again, as a careful forger would."""
    path = folder / MANIFEST
    manifest = json.loads(path.read_text())
    edit(manifest)
    manifest["digest"] = manifest_digest(manifest)
    path.write_text(json.dumps(manifest))


def test_round_trip(bundle: Bundle) -> None:
    again = Bundle.load(bundle.path)
    assert again.manifest == bundle.manifest
    assert (again.codec.samples, again.codec.positions, again.codec.levels) == (64, 8, 2)
    assert again.codec.bits_per_frame == 8 * (5 + 4)  # 29 and 13 codes
    frames = again.frames()
    assert frames is not None
    assert frames.shape == (16, 64)
    for left, right in zip(again.codec.rvq.codebooks, bundle.codec.rvq.codebooks, strict=True):
        np.testing.assert_array_equal(left, right)


def test_same_content_same_digest(bundle: Bundle, tmp_path: Path) -> None:
    assert small_bundle(tmp_path / "again").digest == bundle.digest
    assert small_bundle(tmp_path / "other", seed=1).digest != bundle.digest


def test_digest_is_the_documented_one(bundle: Bundle) -> None:
    import hashlib

    manifest = json.loads((bundle.path / MANIFEST).read_text())
    claimed = manifest.pop("digest")
    text = json.dumps(manifest, sort_keys=True, separators=(",", ":"))
    assert hashlib.sha256(text.encode()).hexdigest() == claimed == bundle.digest


def test_without_frames(bundle: Bundle, tmp_path: Path) -> None:
    bare = write_bundle(tmp_path / "bare", encoder=bundle.encoder_bytes, rvq=bundle.codec.rvq, name="bare")
    assert bare.frames() is None
    assert bare.file(FRAMES) is None


@pytest.mark.parametrize("name", [MANIFEST, ENCODER, CODEBOOKS, FRAMES])
@pytest.mark.parametrize("damage", ["missing", "empty", "truncated", "flipped", "folder"])
def test_damaged_file(copy: Path, name: str, damage: str) -> None:
    path = copy / name
    data = path.read_bytes()
    path.unlink()
    if damage == "folder":
        path.mkdir()
    elif damage != "missing":
        middle = len(data) // 2
        flipped = data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
        path.write_bytes({"empty": b"", "truncated": data[:-7], "flipped": flipped}[damage])
    with pytest.raises(BundleError) as caught:
        Bundle.load(copy)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_folder_and_file_in_its_place(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no such bundle"):
        Bundle.load(tmp_path / "absent")
    (tmp_path / "file").write_text("x")
    with pytest.raises(BundleError, match=r"no manifest.json"):
        Bundle.load(tmp_path / "file")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "format is not"),
        ("{}", "format is not"),
        ("null", "format is not"),
        ('{"format": "zip"}', "format is not"),
        ("[" * 100_000, "not valid JSON"),
        ('{"format": "edgecodec.bundle", "version": 2}', "bundle version 2; this edgecodec reads version 1"),
        ('{"format": "edgecodec.bundle", "version": true}', "bundle version True"),
        ('{"format": "edgecodec.bundle", "version": 1}', "digest: Field required"),
    ],
)
def test_wrong_manifest(copy: Path, text: str, message: str) -> None:
    (copy / MANIFEST).write_text(text)
    with pytest.raises(BundleError, match=message):
        Bundle.load(copy)


def test_edited_after_its_digest(copy: Path) -> None:
    path = copy / MANIFEST
    path.write_text(path.read_text().replace('"epsilon": 0.001', '"epsilon": 0.002'))
    with pytest.raises(BundleError, match="edited after it was written"):
        Bundle.load(copy)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda m: m["input"].update(scale=0.5), "input.scale is 0.5 in the manifest"),
        (lambda m: m["latent"].update(zero_point=-1), "latent.zero_point is -1"),
        (lambda m: m["latent"].update(channels=5), "latent.channels is 5"),
        (lambda m: m["frame"].update(samples=65), "frame.samples is 65"),
        (lambda m: m["rvq"].update(codebook_sizes=[29, 12]), r"codebook sizes \[29, 13\]"),
        (lambda m: m["rvq"].update(codebook_sizes=[29]), "expected \\['level_0'\\]"),
        (lambda m: m["rvq"].update(fraction_bits=8), "int16 holds 32767"),
        (lambda m: m["rvq"].update(fraction_bits=-1), "fraction bits are -1; expected 0..8"),
        (lambda m: m["rvq"].update(fraction_bits=-9), "rvq.fraction_bits"),
        (lambda m: m["normalizer"].update(epsilon=1e-30), "epsilon"),
        (
            lambda m: m["normalizer"].update(kind="median"),
            "'median'; expected one of zscore, minmax, fixed",
        ),
        (
            lambda m: m.update(normalizer={"kind": "minmax", "low": 1.0, "high": 0.0}),
            "expected the lower end first",
        ),
        (lambda m: m.update(normalizer={"kind": "fixed", "offset": 0.0}), "normalizer: .*expected"),
        (lambda m: m.update(normalizer={"kind": "fixed", "offset": 0.0, "scale": 1e9}), "ADC counts; expected"),
        (lambda m: m.update(normalizer="zscore"), "normalizer: .*expected an object"),
        (lambda m: m.update(surprise=1), "surprise"),
        (lambda m: m.update(numerics="edgecodec.int8.v9"), "numerics 'edgecodec.int8.v9'"),
        (lambda m: m["files"].pop(ENCODER), "lists no encoder.tflite"),
        (lambda m: m["files"].update({"../../etc/passwd": {"sha256": "0" * 64, "bytes": 1}}), "no file of a bundle"),
        (lambda m: m["frame"].update(samples="64"), "frame.samples"),
    ],
)
def test_manifest_that_disagrees_with_the_files(copy: Path, edit: Callable[[dict], None], message: str) -> None:
    resign(copy, edit)
    with pytest.raises(BundleError, match=message):
        Bundle.load(copy)


def test_refused_encoders_leave_no_folder(bundle: Bundle, tmp_path: Path) -> None:
    two_channels = build_encoder([LayerSpec(CONV, 6, 3)], 16, channels=2)
    cases: list[tuple[bytes, type[EdgecodecError], str]] = [
        (malformed_encoder("float_model"), UnsupportedOpError, "FLOAT32"),
        (two_channels, UnsupportedOpError, "takes 2 channels"),
        (overflowing_encoder(), PlanError, "accumulator of channel"),
        (build_encoder([*FAMILY, LayerSpec(CONV, 7)], 64), BundleError, "codes have 6 entries"),
    ]
    for encoder, error, message in cases:
        with pytest.raises(error, match=message):
            write_bundle(tmp_path / "out", encoder=encoder, rvq=bundle.codec.rvq, name="x")
        assert list(tmp_path.iterdir()) == []


def test_frames_of_another_length(tmp_path: Path, bundle: Bundle) -> None:
    wrong = write_bundle(
        tmp_path / "wrong",
        encoder=small_encoder(),
        rvq=IntegerRvq(bundle.codec.rvq.codebooks, 4, bundle.manifest.latent.scale, bundle.manifest.latent.zero_point),
        name="x",
        optional={FRAMES: npz_bytes({"frames": np.zeros((2, 63), np.int16)})},
    )
    with pytest.raises(BundleError, match=r"int16 \[N, 64\]"):
        wrong.frames()


def test_unknown_optional_file(tmp_path: Path, bundle: Bundle) -> None:
    with pytest.raises(BundleError, match="no file of a bundle"):
        write_bundle(
            tmp_path / "x", encoder=bundle.encoder_bytes, rvq=bundle.codec.rvq, name="x", optional={"notes.txt": b""}
        )


def test_biases_are_kept_and_change_the_digest(tmp_path: Path, bundle: Bundle) -> None:
    rvq = bundle.codec.rvq
    biases = tuple(np.arange(size, dtype=np.int32)[::-1].copy() for size in rvq.codebook_sizes)
    found = write_bundle(
        tmp_path / "biased", encoder=bundle.encoder_bytes, rvq=replace(rvq, biases=biases), name=bundle.name
    )
    assert found.codec.rvq.biases is not None
    for kept, given in zip(found.codec.rvq.biases, biases, strict=True):
        np.testing.assert_array_equal(kept, given)
    plain = write_bundle(tmp_path / "plain", encoder=bundle.encoder_bytes, rvq=rvq, name=bundle.name)
    assert plain.codec.rvq.biases is None
    assert found.digest != plain.digest


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda arrays: arrays.pop("bias_1"), "holds .* expected .* with or without"),
        (lambda arrays: arrays.update(bias_0=arrays["bias_0"].astype(np.float32)), "bias_0 is float32; expected int32"),
        (lambda arrays: arrays.update(bias_0=arrays["bias_0"][1:]), "bias_0 has shape"),
        (lambda arrays: arrays.update(bias_0=arrays["bias_0"] - 1), "the least is -1; expected 0"),
        (lambda arrays: arrays["bias_1"].__setitem__(-1, 2**31 - 1), "distance of level 1 may reach"),
        (lambda arrays: arrays.update(bias_0=np.array(0, np.int32)), r"bias_0 has shape \(\)"),
    ],
)
def test_bad_biases(
    tmp_path: Path, bundle: Bundle, edit: Callable[[dict[str, np.ndarray]], object], message: str
) -> None:
    biases = tuple(np.arange(size, dtype=np.int32) for size in bundle.codec.rvq.codebook_sizes)
    rvq = replace(bundle.codec.rvq, biases=biases)
    path = tmp_path / "biased"
    write_bundle(path, encoder=bundle.encoder_bytes, rvq=rvq, name=bundle.name)
    with np.load(path / CODEBOOKS) as archive:
        arrays = {key: archive[key] for key in archive.files}
    edit(arrays)
    data = npz_bytes(arrays)
    (path / CODEBOOKS).write_bytes(data)
    info = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    resign(path, lambda manifest: manifest["files"].update({CODEBOOKS: info}))
    with pytest.raises(BundleError, match=message):
        Bundle.load(path)
