"""However a command ends: nothing that it started goes on, nothing half made is left, and a script can tell."""

from __future__ import annotations

import os
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edgecodec.bundle import Bundle
from edgecodec.errors import BuildError, InputError
from edgecodec.files.atomic import replace_folder
from edgecodec.files.content_cache import cached
from edgecodec.files.temporary import temporary_folder
from edgecodec.interrupts import _Interrupts
from tests import tools
from tests.cli import endings
from tests.cli.run import assert_one_error, edgecodec

ROOT = Path(__file__).resolve().parents[2]
linux = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")


@linux
@pytest.mark.parametrize(
    ("name", "needs"), [("generate", ()), ("verify-host", ("cc",)), ("build-firmware", ("arm-none-eabi-gcc",))]
)
def test_signal_at_any_moment(bundle: Bundle, name: str, needs: tuple[str, ...]) -> None:
    """A few moments; ``python -m tests.cli.endings`` is for as many as one likes, of all commands."""
    tools.require(*needs)
    command = endings.commands(bundle.path, "", "")[name]
    whole = endings.run(command)
    assert whole.exit_code == 0
    for number in (signal.SIGTERM, signal.SIGHUP):
        endings.interrupt(command, whole, number, random.Random(f"{name} {number}").uniform(0, whole.seconds))


@linux
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_compilers_end_with_us(bundle: Bundle, tmp_path: Path, number: signal.Signals) -> None:
    """Those that they have started as well."""
    ready = tmp_path / "ready"
    compiler = tmp_path / "cc"
    compiler.write_text(f"#!/bin/sh\nsleep 60 &\necho $$ $! > {ready}.part\nmv {ready}.part {ready}\nsleep 60\n")
    compiler.chmod(0o755)
    environment = {
        **os.environ,
        "CC": str(compiler),
        "EDGECODEC_CACHE": str(tmp_path / "cache"),
        "TMPDIR": str(tmp_path),
    }
    command = [sys.executable, "-m", "edgecodec", "verify-host", bundle.path]
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)
    while not ready.exists() and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(number)
    _, told = process.communicate(timeout=60)
    started = [int(word) for word in ready.read_text().split()]
    assert process.returncode == 2
    assert told.endswith("edgecodec: error: interrupted\n")
    assert not [each for each in started if _runs(each)]
    assert not list(tmp_path.glob("edgecodec-*/*"))


def _runs(process: int) -> bool:
    """Whether it is there, and no zombie that waits for its parent to look."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@linux
def test_hangup_that_the_caller_ignores_is_ignored(bundle: Bundle, tmp_path: Path) -> None:
    """As with ``nohup``."""
    program = (
        "import os, signal, sys\n"
        "signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "from edgecodec.cli import entry, main\n"
        "os.kill(os.getpid(), signal.SIGHUP)\n"
        "real = main.main\n"
        "def hung_up():\n"
        "    os.kill(os.getpid(), signal.SIGHUP)\n"
        "    return real()\n"
        "main.main = hung_up\n"
        "entry()\n"
    )
    command = [sys.executable, "-c", program, "generate", bundle.path, "-o", tmp_path / "out"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "out").is_dir()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_before_there_is_a_command(number: signal.Signals) -> None:
    program = (
        "import os, sys\n"
        "class Finder:\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        if name == 'edgecodec.cli.main':\n"
        f"            os.kill(os.getpid(), {int(number)})\n"
        "sys.meta_path.insert(0, Finder())\n"
        "from edgecodec.cli import entry\n"
        "entry()\n"
    )
    command = [sys.executable, "-c", program, "boards"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", "edgecodec: error: interrupted\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_interrupted_amid_a_text_that_python_runs(number: signal.Signals, tmp_path: Path) -> None:
    """As while a dataclass is made: ``python -m`` would end by SIGINT, though the exception is caught."""
    text = f"import os; os.kill(os.getpid(), {int(number)})"
    program = f"""
from edgecodec import interrupts
interrupts.install()
try:
    exec({text!r})
except KeyboardInterrupt:
    raise SystemExit(2)
"""
    (tmp_path / "program.py").write_text(program)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    command = [sys.executable, "-m", "program"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", "")


@pytest.mark.parametrize(
    "becomes", ["raise", "raise ImportError('failed to import') from None"], ids=["itself", "another"]
)
def test_interrupted_while_numpy_is_imported(bundle: Bundle, tmp_path: Path, becomes: str) -> None:
    """What is half imported can't be imported again, and C extensions make another error of an interrupt."""
    program = f"""
import os, signal, sys
from importlib.machinery import PathFinder

class Finder:
    def find_spec(self, name, path, target=None):
        if not name.endswith("._multiarray_umath"):
            return None
        sys.meta_path.remove(self)
        spec = PathFinder.find_spec(name, path)
        execute = spec.loader.exec_module

        def execute_and_interrupt(module):
            execute(module)
            try:
                os.kill(os.getpid(), signal.SIGTERM)
                for _ in range(1000):
                    pass
            except KeyboardInterrupt:
                {becomes}

        spec.loader.exec_module = execute_and_interrupt
        return spec

sys.meta_path.insert(0, Finder())
from edgecodec.cli import entry
entry()
"""
    command = [sys.executable, "-c", program, "generate", str(bundle.path), "-o", str(tmp_path / "out")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", "edgecodec: error: interrupted\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_interrupted_amid_a_finaliser(number: signal.Signals) -> None:
    """Python drops what is raised there, so it is raised once more behind it, in a wait too."""
    program = f"""
import os, time
from edgecodec import interrupts

class Finalised:
    def __del__(self):
        os.kill(os.getpid(), {int(number)})
        for _ in range(1000):
            pass

interrupts.install()
try:
    made = Finalised()
    del made
    time.sleep(50)
except KeyboardInterrupt:
    raise SystemExit(2)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", "")


def test_signals_wait_for_what_must_not_be_cut_in_two() -> None:
    interrupts = _Interrupts()
    done = []

    def work() -> None:
        with interrupts.held():
            with interrupts.held():
                interrupts.handle(signal.SIGTERM, None)
                done.append("inner")
            done.append("outer")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == ["inner", "outer"]
    # The second is the same as the first, which is being tended to; later ones are not.
    interrupts.handle(signal.SIGTERM, None)
    interrupts._last_s -= 2.0
    with pytest.raises(KeyboardInterrupt):
        interrupts.handle(signal.SIGTERM, None)


def test_folders_of_the_dead_are_removed_and_those_of_the_living_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    program = (
        "import os, signal\n"
        "from edgecodec.files.temporary import temporary_folder\n"
        "with temporary_folder('dead') as folder:\n"
        "    (folder / 'file').touch()\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=environment, timeout=60, check=False)
    (root,) = tmp_path.iterdir()
    (dead,) = root.iterdir()
    assert dead.name.startswith("dead-")
    with temporary_folder("living") as living:
        assert list(root.iterdir()) == [living]
        with temporary_folder("other"):
            assert len(list(root.iterdir())) == 2
            assert living.is_dir()
    assert list(root.iterdir()) == []
    assert root.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("odd", ["open", "link", "file"])
def test_root_that_somebody_else_prepared_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, odd: str) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    root, elsewhere = tmp_path / f"edgecodec-{os.getuid()}", tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    if odd == "open":
        root.mkdir()
        root.chmod(0o777)
    elif odd == "link":
        root.symlink_to(elsewhere)
    else:
        root.touch()
    with pytest.raises(InputError, match=rf"{root}: is no folder of yours alone; remove it"), temporary_folder("x"):
        pass
    assert list(elsewhere.iterdir()) == []


def test_build_that_was_killed_is_removed_from_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGECODEC_CACHE", str(tmp_path))
    program = (
        "import os, signal\n"
        "from edgecodec.errors import BuildError\n"
        "from edgecodec.files.content_cache import cached\n"
        "def read(folder):\n"
        "    raise BuildError('not there')\n"
        "cached('things', 'ab', lambda folder: os.kill(os.getpid(), signal.SIGKILL), read)\n"
    )
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, timeout=60, check=False)
    assert len(list((tmp_path / "things").iterdir())) == 1

    def read(folder: Path) -> bool:
        if not folder.is_dir():
            raise BuildError("not there")
        return True

    assert cached("things", "ab", lambda folder: None, read)
    assert [path.name for path in (tmp_path / "things").iterdir()] == ["ab"]


def test_full_disk_names_what_was_written(tmp_path: Path) -> None:
    def fill() -> None:
        with replace_folder(tmp_path / "out", marker="m"):
            raise OSError(28, "No space left on device")

    with pytest.raises(InputError, match=rf"^{tmp_path}/out: cannot be written \(No space left on device\)$"):
        fill()
    assert list(tmp_path.iterdir()) == []


def test_file_that_may_not_grow_is_named(bundle: Bundle, tmp_path: Path) -> None:
    """The limit stands for a full disk, which takes a system administrator to make."""
    command = [sys.executable, "-m", "edgecodec", "generate", str(bundle.path), "-o", str(tmp_path / "out")]
    done = subprocess.run(
        command,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000)),
    )
    assert_one_error(done, f"{tmp_path}/out: cannot be written (File too large)")
    assert list(tmp_path.iterdir()) == []


def test_home_that_cannot_be_written(bundle: Bundle, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.touch()  # no user may make a folder in it
    done = edgecodec("verify-host", bundle.path, env={"HOME": str(home), "EDGECODEC_CACHE": "", "XDG_CACHE_HOME": ""})
    assert_one_error(done, f"the cache {home}", "cannot be written", "set EDGECODEC_CACHE to a folder")


def test_two_runs_on_one_new_cache(bundle: Bundle, tmp_path: Path) -> None:
    tools.require("cc")
    command = [sys.executable, "-m", "edgecodec", "verify-host", str(bundle.path), "--limit", "2", "-q"]
    environment = {**os.environ, "EDGECODEC_CACHE": str(tmp_path)}
    both = [subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL) for _ in range(2)]
    assert [process.wait(280) for process in both] == [0, 0]
    assert not list(tmp_path.rglob(".build.*"))
