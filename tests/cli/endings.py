"""Send a signal at a random moment of a command: ``python -m tests.cli.endings BUNDLE RECORDING [--moments 30]``.

Each run has folders for temporary files, the cache and the output of its own, which tell what it left. ``train``,
``quantize`` and ``demo`` run with a few steps of training. Prints how many runs were hit in which command and how they
ended; the first that leaves something, or ends in another way than it should, ends the program with a traceback. Takes
Linux, whose /proc tells who is left.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.tflite_builder import ppg_frames

ROOT = Path(__file__).resolve().parents[2]
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE)
OUT = "OUT"
_MARK = "EDGECODEC_TEST_MARK"
_TIMEOUT_S = 300.0
_GRACE_S = 3.0
"""For children of a killed child to be reaped."""
_DEMO = "epochs: 45", "epochs: 3"
_SMALL = (
    *("data.frame_size=64", "data.epochs=8", "data.steps_per_epoch=5", "data.batch_size=8", "model.latent_width=16"),
    *("training.kmeans_start_steps=3", "output.train_frames=200"),
    *("data.split.validation=last 1", "data.split.test=last 2"),
)
_KEPT = re.compile(r".*\.checkpoint\.npz|.*/stamps\.json")
"""What an interrupted command keeps for the next: the checkpoint of a training, and what a demo need not do again."""
_TIMED = re.compile(rb'"\w*seconds": [\d.]+')
_REPORT = ("report.json", "report.html", "junit.xml")
"""Files that say when they were written."""


def commands(
    bundle: str | Path, recording: str | Path, packets: str | Path, people: str | Path = "", trained: str | Path = ""
) -> dict[str, list[str]]:
    """Long commands, by name; ``OUT`` stands for the output.

    ``people`` are recordings to train on, ``trained`` the folder of such a training.
    """
    small = [word for setting in _SMALL for word in ("--set", setting)]
    given = {
        "train": ["train", "--preset", "08x_light", "--data", people, "--rate", "64", *small, "-o", OUT],
        "quantize": ["quantize", trained, "--index-model", "--index-instructions", "20000", "-o", OUT],
        "demo": ["demo", "--output", OUT],
        "generate": ["generate", bundle, "-o", OUT],
        "library": ["generate", bundle, "--library", "-o", OUT],
        "verify-host": ["verify-host", bundle, "--limit", "8"],
        "build-firmware": ["build-firmware", bundle, "--board", "mps2-an386", "-o", OUT],
        "flash-and-verify": [
            *("flash-and-verify", bundle, "--board", "mps2-an386", "--limit", "8"),
            *("--indices-out", f"{OUT}.npz"),
        ],
        "profile": ["profile", bundle, "--board", "mps2-an386", "--limit", "4"],
        "encode": ["encode", bundle, "--frames", recording, "--rate", "64", "-o", f"{OUT}.ecs"],
        "decode": ["decode", bundle, packets, "-o", f"{OUT}.csv"],
        "evaluate": ["evaluate", bundle, "--frames", recording, "--json"],
    }
    return {name: list(map(str, arguments)) for name, arguments in given.items()}


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    exit_code: int
    stdout: str
    stderr: str
    output: tuple[tuple[str, str], ...]
    """Files of the output, and digests of their bytes."""
    kept: tuple[tuple[str, bytes], ...]
    """What it keeps for the next command, and the bytes."""
    hit: bool
    """Whether it still ran when the signal was sent."""
    seconds: float
    """From the moment that it listens to signals to its end."""


def run(
    arguments: list[str],
    number: signal.Signals | None = None,
    after_s: float = 0.0,
    env: Mapping[str, str] | None = None,
    kept: tuple[tuple[str, bytes], ...] = (),
) -> Ended:
    """Run a command and send it a signal, if any, so many seconds after it listens to them.

    ``kept`` is what an interrupted one left for it. Raises AssertionError when it leaves a process, or anything but its
    output in its folders.
    """
    mark = uuid.uuid4().hex
    with tempfile.TemporaryDirectory(prefix="endings-") as name:
        folders = {key: Path(name) / key for key in ("tmp", "cache", "out")}
        for folder in folders.values():
            folder.mkdir()
        for relative, data in kept:
            (folders["out"] / relative).write_bytes(data)
        environment = {**os.environ, _MARK: mark, "TMPDIR": str(folders["tmp"]), "PYTHONPATH": str(ROOT), **(env or {})}
        environment |= {"EDGECODEC_CACHE": str(folders["cache"]), "COLUMNS": "120"}
        command = [sys.executable, "-m", "edgecodec"]
        command += [argument.replace(OUT, str(folders["out"] / "out"), 1) for argument in arguments]
        with (folders["tmp"].parent / "stdout").open("w+") as out, (folders["tmp"].parent / "stderr").open("w+") as err:
            with _heeded_signals():
                process = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=environment, cwd=name
                )
            try:
                _wait_until_it_listens(process)
                start = time.monotonic()
                hit = False
                if number is not None:
                    try:
                        process.wait(after_s)
                    except subprocess.TimeoutExpired:
                        hit = True
                        process.send_signal(number)
                code = process.wait(_TIMEOUT_S)
                seconds = time.monotonic() - start
            finally:
                process.kill()
                process.wait()
            out.seek(0)
            err.seek(0)
            said, told = out.read(), err.read()
        what = f"{arguments} after {number} at {after_s:.3f} s: exit {code}\n{told}"
        assert not _left(mark), f"{what}\nleft {_left(mark)}"
        left = [path for path in folders["tmp"].rglob("*") if not path.name.startswith(f"edgecodec-{os.getuid()}")]
        left += folders["cache"].rglob(".build.*")
        left += [path for path in folders["out"].iterdir() if not path.name.startswith("out")]
        assert not left, f"{what}\nleft {left}"
        files = sorted(path for path in folders["out"].rglob("*") if path.is_file())
        contents = {str(path.relative_to(folders["out"])): path.read_bytes() for path in files}
        output = tuple((at, _digest(at, data)) for at, data in contents.items() if not _KEPT.fullmatch(at))
        left_for_next = tuple((at, data) for at, data in contents.items() if _KEPT.fullmatch(at))
        return Ended(code, said, told, output, left_for_next, hit, seconds)


@contextmanager
def _heeded_signals() -> Iterator[None]:
    """Ignore none: what a shell's background and ``nohup`` ignore, their children do."""
    ignored = [number for number in SIGNALS if signal.getsignal(number) == signal.SIG_IGN]
    for number in ignored:
        signal.signal(number, signal.SIG_DFL)
    try:
        yield
    finally:
        for number in ignored:
            signal.signal(number, signal.SIG_IGN)


def interrupt(
    arguments: list[str],
    whole: Ended,
    number: signal.Signals,
    after_s: float,
    env: Mapping[str, str] | None = None,
) -> tuple[str, float]:
    """Send a signal to a command that is ``whole`` when none comes. Returns how it ended, and its seconds.

    It was ``interrupted``, or ended ``whole`` though it was hit, or the signal was ``late``. Raises AssertionError when
    it does not end as it should, or with half an output, or when a training does not go on to the same bytes.
    """
    ended = run(arguments, number, after_s, env)
    what = f"{arguments} after {number.name} at {after_s:.3f} s: exit {ended.exit_code}\n{ended.stderr}"
    assert not re.search("Traceback|Exception ignored", ended.stderr), what
    for part in [set(part) for part in _parts(arguments[0], whole.output)]:
        assert part & set(ended.output) in (set(), part), f"{what}\n{ended.output}\n{whole.output}"
    assert set(ended.output) <= set(whole.output), f"{what}\n{ended.output}\n{whole.output}"
    for name, data in ended.kept:
        _check_kept(name, data)
    interrupted = ended.stderr.endswith("edgecodec: error: interrupted\n")
    if not ended.hit or number == signal.SIGPIPE:
        assert (ended.exit_code, ended.output, interrupted) == (whole.exit_code, whole.output, False), what
        return "whole" if ended.hit else "late", ended.seconds
    # What comes when all is done, and nothing but the end of the process is left, changes nothing.
    assert (ended.exit_code, interrupted) in ((2, True), (whole.exit_code, False)), what
    assert ended.stderr.count("edgecodec: error: ") == interrupted, what
    if arguments[0] == "train" and ended.kept:
        resumed = run([*arguments, "--resume"], env=env, kept=ended.kept)
        assert (resumed.exit_code, resumed.output, resumed.kept) == (0, whole.output, ()), f"{what}\n{resumed.stderr}"
    return "interrupted" if interrupted else "whole", ended.seconds


def _parts(command: str, output: tuple[tuple[str, str], ...]) -> list[list[tuple[str, str]]]:
    """What of the output is whole or absent: all of it, of the demo each of its folders."""
    parts: dict[str, list[tuple[str, str]]] = {}
    for file in output:
        parts.setdefault(file[0].split("/")[1] if command == "demo" else "", []).append(file)
    return list(parts.values())


def _check_kept(name: str, data: bytes) -> None:
    """Raise an exception when it is not whole."""
    if name.endswith(".json"):
        json.loads(data)
    else:
        with np.load(io.BytesIO(data)) as arrays:
            assert all(arrays[key].size for key in arrays)


def _digest(name: str, data: bytes) -> str:
    """Of what is the same each time."""
    if name.endswith(_REPORT):
        return "a report"
    return hashlib.sha256(_TIMED.sub(b"", data) if name.endswith(".json") else data).hexdigest()


def _wait_until_it_listens(process: subprocess.Popen[bytes]) -> None:
    """Until then nothing of ours runs, and nothing is made."""
    deadline = time.monotonic() + _TIMEOUT_S
    while process.poll() is None and time.monotonic() < deadline:
        status = Path(f"/proc/{process.pid}/status").read_text()
        caught = re.search(r"SigCgt:\s*(\w+)", status)
        if caught is not None and int(caught.group(1), 16) & 1 << signal.SIGTERM - 1:
            return
        time.sleep(0.001)


def _left(mark: str) -> list[str]:
    """Command lines of processes that were started with ``mark``, once they have had time to end."""
    deadline = time.monotonic() + _GRACE_S
    while found := _marked(mark):
        if time.monotonic() > deadline:
            return found
        time.sleep(0.05)
    return []


def _marked(mark: str) -> list[str]:
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                if f"{_MARK}={mark}".encode() in (folder / "environ").read_bytes():
                    found.append((folder / "cmdline").read_text().replace("\0", " "))
            except OSError:
                continue  # it has just ended, or is somebody else's
    return found


def _quick_demo(checkout: Path) -> None:
    """Put there what the demo needs, with few steps of training."""
    for folder in ("edgecodec", "firmware", "templates"):
        shutil.copytree(ROOT / folder, checkout / folder, ignore=shutil.ignore_patterns("__pycache__"))
    preset = checkout / "edgecodec" / "presets" / "demo.yaml"
    assert _DEMO[0] in preset.read_text()
    preset.write_text(preset.read_text().replace(*_DEMO))


def main() -> None:
    """Run them all."""
    parser = argparse.ArgumentParser(prog="python -m tests.cli.endings", description=__doc__)
    parser.add_argument("bundle")
    parser.add_argument("recording", type=Path)
    parser.add_argument("names", nargs="*", metavar="NAME", help="commands; all by default")
    parser.add_argument("--moments", type=int, default=30, help="of each command")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    bundle = Path(options.bundle).resolve() if Path(options.bundle).exists() else options.bundle
    with tempfile.TemporaryDirectory(prefix="endings-") as name:
        packets, people, trained, checkout = (
            Path(name) / each for each in ("packets.ecs", "people.npz", "run", "demo")
        )
        recording = options.recording.resolve()
        given = commands(bundle, recording, packets, people, trained)
        rows = np.concatenate([ppg_frames(3, 640, person) for person in range(6)])
        np.savez(people, adc=rows, subject=np.repeat(np.arange(6), 3))
        _quick_demo(checkout)
        for made, needed_by in (("encode", "decode"), ("train", "quantize")):
            if needed_by in (options.names or given):
                made_to = {"encode": packets.with_suffix(""), "train": trained}[made]
                command = [argument.replace(OUT, str(made_to), 1) for argument in given[made]]
                subprocess.run([sys.executable, "-m", "edgecodec", *command], check=True, capture_output=True, cwd=ROOT)
        for command in options.names or given:
            env = {"PYTHONPATH": str(checkout)} if command == "demo" else None
            run(given[command], env=env)  # what compiler caches keep takes less time from now on
            whole = run(given[command], env=env)
            assert whole.exit_code == 0, whole.stderr
            rng = random.Random(f"{command} {options.seed}")
            ends: Counter[str] = Counter()
            within_s = whole.seconds
            while ends["interrupted"] + ends["whole"] < options.moments:
                number, after_s = rng.choice(SIGNALS), rng.uniform(0, within_s)
                how, seconds = interrupt(given[command], whole, number, after_s, env)
                ends[how] += 1
                if how == "late":
                    within_s = min(within_s, seconds)  # it is quicker than when it was measured
            counts = ", ".join(f"{count} {how}" for how, count in sorted(ends.items()))
            print(f"{command}: signals within {within_s:.1f} s: {counts}", flush=True)


if __name__ == "__main__":
    main()
