"""The table of mutants is true of the code; ``make mutate`` runs them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tools import mutate
from tools.mutants import MUTANTS
from tools.mutate import ROOT, Mutant

_NOTED = Mutant("noted", "a.py", "x = 1", "x = 2", ("test_a.py",))
_SAID = "=== short test summary info ===\nFAILED test_a.py::test[1] - assert 2 == 1\n1 failed\n"


def test_each_text_is_found_once() -> None:
    assert [f"{m.name}: {fault}" for m in MUTANTS if (fault := m.fault(ROOT))] == []


def test_names_and_tests() -> None:
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS) >= 80
    for mutant in MUTANTS:
        paths = [part for part in mutant.tests if part.startswith("tests/")]
        assert paths, mutant.name
        assert all((ROOT / path.split("::")[0]).exists() for path in paths), mutant.name


def test_text_that_is_gone_or_doubled(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = 1\nx = 1\n")
    assert _NOTED.fault(tmp_path) == "a.py: has 2 of 'x = 1'; expected one"
    (tmp_path / "a.py").write_text("y = 1\n")
    assert _NOTED.fault(tmp_path) == "a.py: has 0 of 'x = 1'; expected one"
    (tmp_path / "a.py").unlink()
    assert _NOTED.fault(tmp_path) == "a.py: No such file or directory"


@pytest.mark.parametrize(
    ("codes", "code", "said"),
    [
        ([0, 1], 0, "1 mutants: 1 killed, 0 survived, 0 argued"),
        ([0, None], 0, "1 mutants: 1 killed, 0 survived, 0 argued"),
        ([0, -6], 0, "1 mutants: 1 killed, 0 survived, 0 argued"),
        ([0, 0], 1, "1 mutants: 0 killed, 1 survived, 0 argued"),
        ([1], 2, "without a mutant: test_a.py fails"),
        ([5], 2, "without a mutant: test_a.py fails"),
        ([0, 2], 2, "pytest ended with 2"),
    ],
    ids=["killed", "too slow", "crashes", "survives", "fails anyway", "no test", "cannot be collected"],
)
def test_verdict(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    codes: list[int | None],
    code: int,
    said: str,
) -> None:
    texts = []

    def run_tests(root: Path, tests: Sequence[str]) -> subprocess.CompletedProcess[str] | None:
        assert (root, tests) == (tmp_path, _NOTED.tests)
        texts.append((tmp_path / "a.py").read_text())
        found = codes[len(texts) - 1]
        return None if found is None else subprocess.CompletedProcess([], found, _SAID, "")

    (tmp_path / "a.py").write_text("x = 1\n")
    monkeypatch.setattr(mutate, "run_tests", run_tests)
    assert mutate.run([_NOTED], tmp_path, tmp_path / "record.json") == code
    output = capsys.readouterr()
    assert said in output.out + output.err
    assert texts == ["x = 1\n", "x = 2\n"][: len(codes)]
    assert (tmp_path / "a.py").read_text() == "x = 1\n"
    deaths = {(0, 1): "test_a.py::test[1]", (0, None): "time", (0, -6): "SIGABRT"}
    killed_by = deaths.get(tuple(codes))
    known = {} if killed_by is None else {"noted": mutate.Death(_NOTED.digest, killed_by)}
    assert mutate.recorded(tmp_path / "record.json") == known


def test_record_of_what_survives_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    mutate.record(_NOTED, "test_a.py::test", path)
    mutate.record(replace(_NOTED, name="other", text="y"), "time", path)
    assert list(mutate.recorded(path)) == ["noted", "other"]
    mutate.record(_NOTED, None, path)
    assert list(mutate.recorded(path)) == ["other"]


def test_deaths_are_told_as_they_are_recorded() -> None:
    """docs/reliability.md counts those whose rows are as they were then."""
    known, mutants = mutate.recorded(), {mutant.name: mutant for mutant in MUTANTS}
    assert set(known) <= set(mutants)
    killed = sum(known[name].mutant == mutant.digest for name, mutant in mutants.items() if name in known)
    argued = sum(bool(mutant.argument) for mutant in MUTANTS)
    told = (ROOT / "docs" / "reliability.md").read_text()
    row = next(line for line in told.splitlines() if "`make mutate`" in line)
    assert f"of {len(MUTANTS)} in the table | {killed} killed, {argued} argued |" in row


def test_pytest_runs_where_the_mutant_is(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = 2\n")
    (tmp_path / "test_a.py").write_text("from a import x\ndef test(): assert x == 1\n")
    done = mutate.run_tests(tmp_path, _NOTED.tests)
    assert done is not None
    assert done.returncode == 1
    assert "assert 2 == 1" in done.stdout


def test_unknown_name() -> None:
    command = [sys.executable, "-m", "tools.mutate", "nothing-of-that-name"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "no mutant of that name" in done.stderr
