"""The proofs: which function of which harness, how far loops are followed, and what it proves."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
_INCLUDES = ("tests/proofs", "firmware/codec", "firmware/link", "firmware/port")
_CHECKS = (
    *("--bounds-check", "--pointer-check", "--div-by-zero-check", "--signed-overflow-check"),
    *("--undefined-shift-check", "--unwinding-assertions"),
)
_COUNT = re.compile(r"\*\* (\d+) of (\d+) failed")


@dataclass(frozen=True)
class Proof:
    """One proof by CBMC."""

    function: str
    """In the harness."""
    harness: str
    """File name without ``.c``."""
    turns: int
    """Of each loop; more are refused, so none is left out."""
    is_quick: bool = True
    """Whether it takes seconds, and so is one of the tests."""

    def run(self, instead: Path | None = None) -> Outcome:
        """Run CBMC; sources in the folder ``instead`` take the place of those of the same name."""
        command = ["cbmc", f"tests/proofs/{self.harness}.c", "--function", self.function]
        folders = _INCLUDES if instead is None else (str(instead), *_INCLUDES)
        command += [part for folder in folders for part in ("-I", folder)]
        command += ["--unwind", str(self.turns), *_CHECKS]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        found = _COUNT.search(done.stdout)
        if found is None:
            raise RuntimeError(f"{self.function}: cbmc ended with {done.returncode}\n{done.stdout}{done.stderr}")
        failed = [line for line in done.stdout.splitlines() if line.endswith(": FAILURE")]
        return Outcome(int(found[2]), tuple(failed))


@dataclass(frozen=True)
class Outcome:
    """What CBMC says."""

    properties: int
    """Checked: assertions, and places where something could go wrong."""
    failed: tuple[str, ...]
    """Of these, as CBMC prints them."""


PROOFS = (
    Proof("prove_cobs_round_trip", "link", 14, is_quick=False),
    Proof("prove_reader_of_any_bytes", "link", 14, is_quick=False),
    Proof("prove_crc32", "link", 10, is_quick=False),
    Proof("prove_double_rounding", "requantize", 2),
    Proof("prove_requantize", "requantize", 2, is_quick=False),
    Proof("prove_narrow_rounding", "requantize", 2, is_quick=False),
    Proof("prove_narrow_has_no_overflow", "requantize", 2),
    Proof("prove_single_rounding", "requantize", 2),
    Proof("prove_rescale", "requantize", 2, is_quick=False),
    Proof("prove_saturation", "requantize", 2),
    Proof("prove_division_has_no_overflow", "normalize", 33),
    Proof("prove_quotient", "normalize", 33, is_quick=False),
    Proof("prove_square_root_has_its_top_bit", "normalize", 33),
    Proof("prove_minmax", "normalize", 33, is_quick=False),
    Proof("prove_fixed", "normalize", 33),
    Proof("prove_zscore_measure", "normalize", 33),
    Proof("prove_zscore_gain", "zscore", 33),
    Proof("prove_zscore_scale", "zscore", 33),
    Proof("prove_side", "side", 64),
    Proof("prove_step", "range", 11),
    Proof("prove_finish", "range", 11, is_quick=False),
    Proof("prove_check", "packet", 10),
    Proof("prove_plain", "packet", 5),
    Proof("prove_hello", "server", 120, is_quick=False),
    Proof("prove_refusals", "server", 120, is_quick=False),
    Proof("prove_encode", "server", 120, is_quick=False),
    Proof("prove_layer", "server", 190, is_quick=False),
    Proof("prove_repeat", "server", 120, is_quick=False),
)
