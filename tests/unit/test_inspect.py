"""What ``inspect`` and ``generate`` say of a bundle, against the bundle and the files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgecodec.bundle import Bundle
from edgecodec.compile.inspect import summarize
from edgecodec.compile.plan import make_plan
from edgecodec.compile.target import Optimize, Target
from tests.cli.run import edgecodec


@pytest.mark.parametrize("optimize", Optimize)
@pytest.mark.parametrize("core", [None, "cortex-m0", "cortex-m55"])
def test_sums_are_those_of_the_parts(bundle: Bundle, core: str | None, optimize: Optimize) -> None:
    target = Target.of_core(core, optimize)
    found, plan = summarize(bundle, target), make_plan(bundle.codec, target)
    assert found.macs == sum(layer.macs for layer in found.layers) == bundle.codec.graph.macs
    assert found.parameters == sum(layer.parameters for layer in found.layers)
    assert found.flash.encoder_bytes == sum(layer.table_bytes for layer in found.layers)
    assert found.flash.table_bytes == found.flash.encoder_bytes + found.flash.codebook_bytes
    assert found.plan.state_bytes == plan.state_bytes
    longest = max(plan.calls, key=lambda call: call.instructions)
    assert found.plan.longest_call is not None
    assert found.plan.longest_call.layer == found.layers[longest.layer].name
    assert found.plan.longest_call.positions == longest.positions
    assert found.plan.longest_call.instructions == pytest.approx(longest.instructions, abs=1)
    assert [layer.c_kernel for layer in found.layers] == [str(step.kernel) for step in plan.steps]
    assert [buffer.offset_bytes for buffer in found.plan.buffers] == [buffer.offset_bytes for buffer in plan.buffers]


def test_figures_by_hand(bundle: Bundle) -> None:
    """64 samples at 64 Hz to 8 positions of 6 channels, codebooks of 29 and 13 codes."""
    found = summarize(bundle, Target(Optimize.FLASH))
    assert (found.frame.samples, found.frame.rate_hz, found.frame.seconds) == (64, 64.0, 1.0)
    assert (found.input.shape, found.latent.shape) == ((64,), (8, 6))
    assert found.rate.nominal_bits_per_frame == 8 * (5 + 4)
    assert found.rate.raw_bits_per_frame == 64 * 16
    assert found.rate.compression_ratio == 64 * 16 / 72
    assert found.rvq.macs == 8 * 6 * (29 + 13)
    assert (found.rvq.bound.looks, found.rvq.bound.codes) == (0, 8 * (29 + 13))
    assert found.rvq.bound.instructions is None
    # Codes of six int16 and a norm of int32.
    assert found.flash.codebook_bytes == (29 + 13) * (6 * 2 + 4)
    # A weight a byte; bias, multiplier and shift take nine bytes a channel.
    for layer, read in zip(found.layers, bundle.codec.graph.layers, strict=True):
        assert layer.table_bytes == read.weights.size + 9 * read.output.channels


def test_printed_document_is_the_dataclass(bundle: Bundle) -> None:
    result = edgecodec("inspect", bundle.path, "--core", "cortex-m0", "--json")
    assert result.returncode == 0, result.stderr
    printed = json.loads(result.stdout)
    expected = summarize(Bundle.load(bundle.path), Target.of_core("cortex-m0"), is_for_core=True).to_json()
    assert printed == json.loads(json.dumps(expected))
    assert printed["schema"] == "edgecodec.inspect"


def test_generated_files_are_listed(bundle: Bundle, tmp_path: Path) -> None:
    result = edgecodec("generate", bundle.path, "-o", tmp_path / "c", "--json")
    assert result.returncode == 0, result.stderr
    printed = json.loads(result.stdout)
    assert (printed["schema"], printed["bundle_digest"], printed["core"]) == ("edgecodec.generate", bundle.digest, None)
    assert printed["files"] == sorted(path.name for path in (tmp_path / "c").iterdir())
