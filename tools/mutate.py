"""Break the code on purpose, one place at a time, and see that tests notice: ``python -m tools.mutate [NAMES]``.

Each mutant of ``tools/mutants.py`` is applied to a copy of the checkout in a temporary folder, and the tests that must
notice it run there. A test that fails kills the mutant. ``tools/mutants.json`` keeps which test that was; ``--missing``
leaves those alone that it has as they stand. Exit code 1 when one survives, 2 when the table is wrong: a mutant's text
is not in its file exactly once, or tests fail without any mutant.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RECORD = ROOT / "tools" / "mutants.json"
_LEFT_OUT = shutil.ignore_patterns(".git", ".venv", ".cache", "__pycache__", ".*_cache", ".hypothesis", "build", "dist")
_SECONDS = 300
"""Of one mutant's tests: one that loops without end is noticed, too."""
_FAILED = 1
"""Exit code of pytest when tests ran and some failed."""
_CRASHES = (-signal.SIGABRT, -signal.SIGSEGV, -signal.SIGFPE, -signal.SIGILL)
"""Those of a pytest that a mutant ended, as one does that writes outside of its memory."""


@dataclass(frozen=True)
class Mutant:
    """One wrong change."""

    name: str
    file: str
    """Path in the checkout."""
    text: str
    """What stands there, exactly once."""
    replacement: str
    """What is put there instead."""
    tests: tuple[str, ...]
    """What of it pytest runs: paths, node ids and options."""
    argument: str = ""
    """Why no test can notice it, where that is so: what it computes is the same."""

    def fault(self, root: Path) -> str | None:
        """What is wrong with the row, if anything."""
        try:
            count = (root / self.file).read_text(encoding="utf-8").count(self.text)
        except OSError as error:
            return f"{self.file}: {error.strerror}"
        if count != 1:
            return f"{self.file}: has {count} of {self.text!r}; expected one"
        return "its replacement is the same text" if self.text == self.replacement else None

    @property
    def digest(self) -> str:
        """Of the whole row: a record of another one says nothing about this."""
        return hashlib.sha256(repr(astuple(self)).encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Death:
    """What killed a mutant."""

    mutant: str
    """Digest of its row then."""
    killed_by: str
    """Node id of the first test that failed, ``time`` when tests took too long, or the signal that ended pytest."""


def recorded(path: Path = RECORD) -> dict[str, Death]:
    """Deaths that are known, by the mutant's name."""
    rows = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return {name: Death(**row) for name, row in rows.items()}


def record(mutant: Mutant, killed_by: str | None, path: Path = RECORD) -> None:
    """Note what killed a mutant, or that nothing did: then it has no row."""
    rows = {name: vars(death) for name, death in recorded(path).items() if name != mutant.name}
    if killed_by is not None:
        rows[mutant.name] = vars(Death(mutant.digest, killed_by))
    path.write_text(json.dumps(rows, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def killer(done: subprocess.CompletedProcess[str] | None) -> str | None:
    """What noticed the mutant, if anything did."""
    if done is None:
        return "time"
    if done.returncode == 0:
        return None
    if done.returncode < 0:
        return signal.Signals(-done.returncode).name
    found = re.search(r"^(?:FAILED|ERROR) (.+?)(?: - .*)?$", done.stdout, re.MULTILINE)
    return "unknown" if found is None else found.group(1)


def apply(mutant: Mutant, root: Path) -> str:
    """Change the file below ``root``. Returns what it was."""
    path = root / mutant.file
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace(mutant.text, mutant.replacement), encoding="utf-8")
    return text


def run_tests(root: Path, tests: Sequence[str]) -> subprocess.CompletedProcess[str] | None:
    """Run ``tests`` in the checkout ``root``; None when they took too long."""
    environment = os.environ | {
        "PYTHONPATH": str(root),
        "CCACHE_DIR": str(ROOT / ".cache" / "ccache"),
        "EDGECODEC_CACHE": str(root / ".cache" / "tests"),
    }
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "--hypothesis-seed=0", *tests]
    try:
        return subprocess.run(
            command, cwd=root, env=environment, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return None


def main() -> int:
    """Run the mutants whose names match."""
    from tools.mutants import MUTANTS

    parser = argparse.ArgumentParser(prog="python -m tools.mutate", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="names or patterns, such as 'crc*'; all by default")
    parser.add_argument("--missing", action="store_true", help="only those of which no death is recorded")
    options = parser.parse_args()
    chosen = [m for m in MUTANTS if not options.names or any(fnmatch(m.name, name) for name in options.names)]
    if not chosen:
        parser.error("no mutant of that name")
    if options.missing:
        known = {death.mutant for death in recorded().values()}
        chosen = [mutant for mutant in chosen if mutant.digest not in known]
    faults = [f"{mutant.name}: {fault}" for mutant in chosen if (fault := mutant.fault(ROOT))]
    if faults:
        print("\n".join(faults), file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="edgecodec-mutate-") as name:
        root = Path(name) / "checkout"
        shutil.copytree(ROOT, root, ignore=_LEFT_OUT)
        return run(chosen, root)


def run(chosen: Sequence[Mutant], root: Path, path: Path = RECORD) -> int:
    """Run mutants in the checkout ``root``, which is left as it was, and record deaths. Returns the exit code."""
    argued = sum(bool(mutant.argument) for mutant in chosen)
    tried = [mutant for mutant in chosen if not mutant.argument]
    for tests in dict.fromkeys(mutant.tests for mutant in tried):
        done = run_tests(root, tests)
        if done is None or done.returncode:
            print(f"without a mutant: {' '.join(tests)} fails\n{'' if done is None else done.stdout}", file=sys.stderr)
            return 2
    survivors = []
    for mutant in tried:
        start = time.monotonic()
        original = apply(mutant, root)
        done = run_tests(root, mutant.tests)
        (root / mutant.file).write_text(original, encoding="utf-8")
        if done is not None and done.returncode not in (0, _FAILED, *_CRASHES):
            print(f"{mutant.name}: pytest ended with {done.returncode}\n{done.stdout}{done.stderr}", file=sys.stderr)
            return 2
        killed_by = killer(done)
        record(mutant, killed_by, path)
        if killed_by is None:
            survivors.append(mutant.name)
        verdict = "SURVIVED" if killed_by is None else f"killed by {killed_by}"
        print(f"{mutant.name}: {verdict} ({time.monotonic() - start:.0f} s)", flush=True)
    killed_count = len(tried) - len(survivors)
    print(f"{len(chosen)} mutants: {killed_count} killed, {len(survivors)} survived, {argued} argued")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
