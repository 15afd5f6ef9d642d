"""Run the fuzzers: ``python -m tests.fuzz [--seconds 60] [--coverage] [NAME...]``, or ``make fuzz FUZZ_SECONDS=60``.

Inputs that reach something new are kept in ``.cache/fuzz/NAME/corpus``, and the next run goes on with them; ``--keep``
puts the shortest of them into ``tests/fuzz/corpus``, where all runs start from. The first failure ends the run with
exit code 1 (2: a tool is missing); the input that shows it is in ``.cache/fuzz/NAME``.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

from tests.fuzz.targets import ROOT, Fuzzer, ReaderFuzzer, all_fuzzers, keep, write_seeds
from tests.tools import available


def run(fuzzer: Fuzzer | ReaderFuzzer, folder: Path, *limits: str) -> subprocess.CompletedProcess[str]:
    """Build a fuzzer in ``folder`` and run it, from its seeds and what it found before, with libFuzzer's ``limits``."""
    command, corpus = fuzzer.command(folder), folder / "corpus"
    write_seeds(fuzzer, corpus)
    command += [
        f"-max_len={fuzzer.longest}",
        f"-artifact_prefix={folder}/",
        "-seed=1",
        "-timeout=20",
        *limits,
        str(corpus),
    ]
    # A process has the peak of the memory of the one that started it, and libFuzzer would take that for its own: of
    # tests that have used TensorFlow it is more than its limit. A shell in between has hardly any.
    command = ["sh", "-c", '"$@"; exit $?', "sh", *command]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, errors="replace", check=False)


def least(fuzzer: Fuzzer | ReaderFuzzer, folder: Path) -> list[bytes]:
    """The inputs in the corpus of ``folder`` that reach all that the corpus reaches, as libFuzzer merges them."""
    merged = folder / "merged"
    shutil.rmtree(merged, ignore_errors=True)
    merged.mkdir()
    command = [*fuzzer.command(folder), "-merge=1", str(merged), str(folder / "corpus")]
    subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    return [path.read_bytes() for path in merged.iterdir()]


def coverage(fuzzer: Fuzzer, folder: Path) -> str:
    """What the inputs in the corpus of ``folder`` reach of the sources that a fuzzer is for, as llvm-cov prints it."""
    built = folder / "coverage"
    program = fuzzer.build(built, coverage=True)
    environment = {"LLVM_PROFILE_FILE": str(built / "raw")}
    subprocess.run([program, "-runs=0", folder / "corpus"], env=environment, check=True, capture_output=True)
    subprocess.run(["llvm-profdata", "merge", built / "raw", "-o", built / "merged"], check=True)
    sources = [built / name for name in fuzzer.fuzzed]
    command = ["llvm-cov", "report", program, f"-instr-profile={built / 'merged'}", *sources]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def main() -> int:
    """Run them one after the other."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=int, default=60, help="of each")
    parser.add_argument("--coverage", action="store_true", help="say what was reached; takes llvm-cov")
    parser.add_argument("--keep", action="store_true", help="keep the shortest inputs in tests/fuzz/corpus")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(all_fuzzers())}; all by default")
    options = parser.parse_args()
    if unknown := set(options.names) - set(all_fuzzers()):
        parser.error(f"no fuzzer {', '.join(sorted(unknown))}; there are {', '.join(all_fuzzers())}")
    names = options.names or list(all_fuzzers())
    for tool, remedy in {tool: remedy for name in names for tool, remedy in all_fuzzers()[name].takes.items()}.items():
        if not available(tool):
            print(f"{tool.removeprefix('module:')} not found; {remedy}", file=sys.stderr)
            return 2
    for name in names:
        fuzzer, folder = all_fuzzers()[name], ROOT / ".cache" / "fuzz" / name
        done = run(fuzzer, folder, f"-max_total_time={options.seconds}", "-print_final_stats=1")
        if done.returncode:
            print(done.stderr, file=sys.stderr)
            return 1
        stats = dict(line.removeprefix("stat::").split(":") for line in done.stderr.splitlines() if "stat::" in line)
        inputs = len(list((folder / "corpus").iterdir()))
        print(f"{name}: {int(stats['number_of_executed_units']):,} runs, {inputs:,} inputs kept", flush=True)
        if options.coverage and isinstance(fuzzer, Fuzzer):
            print(coverage(fuzzer, folder), flush=True)
        if options.keep:
            keep(name, least(fuzzer, folder))
    return 0


if __name__ == "__main__":
    sys.exit(main())
