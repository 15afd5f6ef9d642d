"""Verification as a whole: agreement is called equal, one flipped bit is found and named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgecodec.bundle import Bundle
from edgecodec.codec.arrays import Frames
from edgecodec.codec.stages import Stages
from edgecodec.entropy.packet import Form
from edgecodec.errors import InputError
from edgecodec.host import oracles
from edgecodec.host.packets import PacketShim
from edgecodec.host.shim import HostShim
from edgecodec.verify import run
from tests import tools
from tests.packets import bundle_with_packets, kinds_of_frames


@pytest.fixture(autouse=True)
def _compiler() -> None:
    tools.require("cc", "Python.h", "module:tflite_micro")


@pytest.fixture
def frames(bundle: Bundle) -> Frames:
    found = bundle.frames()
    assert found is not None
    return found


def test_all_executors_agree(bundle: Bundle, frames: Frames) -> None:
    calls: list[tuple[int, int, str]] = []
    result = run.verify_host(bundle, frames, progress=lambda *call: calls.append(call))
    assert result.exit_code == 0
    document = json.loads(json.dumps(result.document.to_json()))
    assert document["verdict"] == "equal"
    assert document["bundle_digest"] == bundle.digest
    assert document["frames"] == 16
    assert document["indices_compared"] == 16 * 8 * 2
    found = {(pair["a"], pair["b"], pair["stage"]): pair["compared"] for pair in document["pairs"]}
    assert found == {
        ("tflm", "reference", "latent"): 16 * 48,
        ("tflm", "reference", "indices"): 256,
        ("tflm", "host", "latent"): 16 * 48,
        ("tflm", "host", "indices"): 256,
        ("reference", "host", "input"): 16 * 64,
        ("reference", "host", "latent"): 16 * 48,
        ("reference", "host", "indices"): 256,
    }
    assert all(pair["mismatches"] == 0 and pair["exact"] for pair in document["pairs"])
    assert document["first_divergence"] is None
    assert calls[-1][:2] == (48, 48)
    assert [call[0] for call in calls] == sorted(call[0] for call in calls)


@pytest.mark.parametrize("kind", ["plain", "tables", "network"])
def test_packets_are_compared_byte_by_byte(bundle: Bundle, tmp_path: Path, kind: str) -> None:
    packed = bundle_with_packets(bundle, tmp_path / "b", kind)
    frames = kinds_of_frames(packed.codec.samples, 60)
    result = run.verify_host(packed, frames)
    assert result.exit_code == 0
    reference, host = (result.stages[name].packet for name in ("reference", "host"))
    assert reference is not None
    assert host is not None
    assert host.tolist() == reference.tolist()
    assert result.stages["tflm"].packet is None
    compared = {(pair.a, pair.b): pair.compared for pair in result.comparison.pairs if pair.stage == "packet"}
    assert compared.pop(("reference", "host-encoder")) > 0.8 * sum(map(len, host))
    assert compared == {("reference", "host"): sum(map(len, host))}
    format_ = packed.packets()
    assert format_ is not None
    read = [format_.decode(packet) for packet in host]
    # Numbered over the parts in which frames are run.
    assert [packet.sequence for packet in read] == list(range(len(frames)))
    forms = {packet.form for packet in read}
    assert forms >= {Form.FLAT, Form.PLAIN if kind == "plain" else Form.CODED}
    bits = result.document.to_json()["bits_on_air"]
    assert bits == {"mean": pytest.approx(8 * np.mean([*map(len, host)])), "most": 8 * max(map(len, host))}


def test_one_wrong_byte_of_a_packet_is_found(
    bundle: Bundle, frames: Frames, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = PacketShim.encode

    def flipped(shim: PacketShim, *arguments: Any) -> list[bytes]:
        found = honest(shim, *arguments)
        found[3] = found[3][:4] + bytes([found[3][4] ^ 1]) + found[3][5:]
        return found

    monkeypatch.setattr(PacketShim, "encode", flipped)
    result = run.verify_host(bundle_with_packets(bundle, tmp_path / "b", "plain"), frames)
    assert (result.verdict, result.exit_code) == ("different", 1)
    divergence = result.comparison.first_divergence
    assert divergence is not None
    assert (divergence.a, divergence.b, divergence.stage) == ("reference", "host", "packet")
    assert (divergence.frame, divergence.position) == (3, 4)
    assert divergence.expected ^ 1 == divergence.received


def test_without_packets_nothing_is_said_of_them(bundle: Bundle, frames: Frames) -> None:
    document = run.verify_host(bundle, frames).document
    assert document.bits_on_air is None
    assert {pair.stage for pair in document.pairs} == {"input", "latent", "indices"}


@pytest.mark.parametrize(
    ("stage", "place", "pairs"),
    [
        ("input", (3, 5), {("reference", "input")}),
        ("latent", (3, 2, 4), {("tflm", "latent"), ("reference", "latent")}),
        ("indices", (3, 2, 1), {("tflm", "indices"), ("reference", "indices")}),
    ],
)
def test_one_flipped_bit_is_found(
    bundle: Bundle,
    frames: Frames,
    monkeypatch: pytest.MonkeyPatch,
    stage: str,
    place: tuple[int, ...],
    pairs: set[tuple[str, str]],
) -> None:
    honest = HostShim.stages

    def flipped(shim: HostShim, part: Frames) -> Stages:
        stages = honest(shim, part)
        array: Any = stages[stage].copy()
        array[place] ^= 1
        return stages.changed(**{stage: array})

    monkeypatch.setattr(HostShim, "stages", flipped)
    result = run.verify_host(bundle, frames)
    assert (result.verdict, result.exit_code) == ("different", 1)
    wrong = {(pair.a, pair.stage): pair.mismatches for pair in result.comparison.pairs if pair.mismatches}
    assert wrong == dict.fromkeys(pairs, 1)
    divergence = result.comparison.first_divergence
    assert divergence is not None
    assert (divergence.b, divergence.stage, divergence.frame, divergence.position) == ("host", stage, 3, place[1])
    assert divergence.expected ^ 1 == divergence.received


def test_without_tflm_the_other_oracle_serves(bundle: Bundle, frames: Frames, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_: Bundle) -> None:
        raise oracles.OracleMissingError("tflm: not installed")

    monkeypatch.setattr(run, "TflmExecutor", missing)
    result = run.verify_host(bundle, frames)
    assert result.exit_code == 0
    assert "tflite" in result.stages
    assert "tflm" not in result.stages


def test_no_frames_is_no_agreement(bundle: Bundle) -> None:
    with pytest.raises(InputError, match="no frames"):
        run.verify_host(bundle, np.zeros((0, 64), np.int16))


def test_keras_without_a_float_encoder_says_so(bundle: Bundle, frames: Frames) -> None:
    with pytest.raises(oracles.OracleMissingError, match=r"encoder\.keras"):
        run.verify_host(bundle, frames, keras=True)
