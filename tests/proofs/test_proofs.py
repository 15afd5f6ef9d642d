"""The proofs that take seconds; ``make prove`` has all of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.proofs.__main__ import main
from tests.proofs.proofs import HERE, PROOFS, ROOT, Proof
from tests.tools import require


@pytest.mark.parametrize("proof", [proof for proof in PROOFS if proof.is_quick], ids=lambda proof: proof.function)
def test_all_properties_hold(proof: Proof) -> None:
    require("cbmc")
    found = proof.run()
    assert found.failed == ()
    assert found.properties > 0


@pytest.mark.parametrize("missing", ["cbmc", "gcc"])
def test_a_tool_that_is_missing_is_named(
    missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in {"cbmc", "gcc"} - {missing}:
        (tmp_path / name).symlink_to("/bin/false")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("sys.argv", ["proofs", "prove_crc32"])
    assert main() == 2
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", f"{missing} not found; Debian has it in the package {missing}\n")


def test_every_proof_of_a_harness_is_run() -> None:
    defined = {
        (path.stem, line.split("(")[0].removeprefix("void "))
        for path in HERE.glob("*.c")
        for line in path.read_text(encoding="utf-8").splitlines()
        if line.startswith("void prove_")
    }
    assert {(proof.harness, proof.function) for proof in PROOFS} == defined


@pytest.mark.parametrize(
    ("function", "source", "text", "replacement"),
    [
        ("prove_crc32", "link/edc_link.c", "0xBDBDF21Cu", "0xBDBDF21Du"),
        ("prove_saturation", "codec/edc_requantize.h", "edc_clamp(value, -128, 127)", "edc_clamp(value, -128, 128)"),
        ("prove_plain", "codec/edc_packet.c", "held >> count", "held >> (count + 1)"),
        ("prove_side", "codec/edc_side.c", "if (shift > 0)", "if (shift >= 0)"),
        ("prove_zscore_scale", "codec/edc_zscore_frame.h", "(deviation * gain + half)", "((int32_t)gain * deviation)"),
        ("prove_fixed", "codec/edc_fixed_frame.h", "(int64_t)frame[i] *", "frame[i] *"),
    ],
)
def test_a_proof_can_fail(function: str, source: str, text: str, replacement: str, tmp_path: Path) -> None:
    require("cbmc")
    path = ROOT / "firmware" / source
    original = path.read_text(encoding="utf-8")
    assert original.count(text) == 1
    (tmp_path / path.name).write_text(original.replace(text, replacement), encoding="utf-8")
    (proof,) = (proof for proof in PROOFS if proof.function == function)
    assert proof.run(instead=tmp_path).failed
