"""The command line starts in a blink and without TensorFlow."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from edgecodec import __version__
from edgecodec.bundle import Bundle
from edgecodec.cli.main import COMMANDS, cli
from tests.cli.run import ROOT, edgecodec
from tests.tools import EMULATOR, require

HELP_MODULES = 200
"""Python's own and click's among them."""
_REFUSE = """
import sys
from importlib.abc import MetaPathFinder

class Refuse(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {refused!r}:
            raise RuntimeError("imports " + name)

sys.meta_path.insert(0, Refuse())
from edgecodec.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


def run_refusing(refused: set[str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command line where importing a module of ``refused`` fails."""
    program = _REFUSE.format(refused=refused)
    return subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, timeout=280, check=False
    )


def test_help_imports_little() -> None:
    """Importing is what starting takes; clocks say little on a busy machine."""
    program = "import sys; from edgecodec.cli.main import main; main(['--help']); sys.exit(str(len(sys.modules)))"
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=280, check=False, cwd=ROOT
    )
    assert "Usage: edgecodec" in result.stdout
    assert int(result.stderr) < HELP_MODULES


def test_help_imports_nothing_heavy() -> None:
    heavy = {"tensorflow", "keras", "numpy", "rich", "jinja2", "pydantic", "scipy", "matplotlib", "serial", "cffi"}
    result = run_refusing(heavy, "--help")
    assert (result.returncode, result.stderr) == (0, "")
    for name in COMMANDS:
        assert name in result.stdout


def test_flash_tools_are_offered_without_what_they_use() -> None:
    heavy = {"tensorflow", "keras", "numpy", "rich", "jinja2", "pydantic", "scipy", "serial", "cffi", "pyocd", "yaml"}
    result = run_refusing(heavy, "flash-and-verify", "--help")
    assert (result.returncode, result.stderr) == (0, "")
    assert "[pyocd|openocd|jlink|uf2]" in result.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_each_command(name: str) -> None:
    result = run_refusing({"tensorflow", "keras", "matplotlib", "heartpy", "scipy"}, name, "--help")
    assert (result.returncode, result.stderr) == (0, "")
    assert f"Usage: edgecodec {name}" in result.stdout
    assert f"edgecodec {name}" in result.stdout.partition("Example:")[2], "the help ends with an example"
    assert "--debug" in result.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_short_helps_are_the_first_lines_of_the_long_ones(name: str) -> None:
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    assert command.name == name
    assert (command.help or "").splitlines()[0].rstrip(".") == COMMANDS[name].rstrip(".")


def test_bare_command_prints_the_help() -> None:
    result = CliRunner().invoke(cli, [])
    assert result.exit_code == 0
    assert "Commands:" in result.output


def test_version() -> None:
    assert edgecodec("--version").stdout.strip().endswith(__version__)


def test_module_runs_as_the_script() -> None:
    result = edgecodec("boards", "--json", env={})
    assert result.returncode == 0
    assert "mps2-an386" in result.stdout


def test_inspect_without_tensorflow(bundle: Bundle) -> None:
    result = run_refusing({"tensorflow", "keras"}, "inspect", str(bundle.path), "--json")
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["bundle_digest"] == bundle.digest


@pytest.mark.emulated
def test_flash_and_verify_without_tensorflow(bundle: Bundle, tmp_path: Path) -> None:
    require(*EMULATOR, "cc", "Python.h", "module:tflite_micro")
    indices = tmp_path / "indices.npz"
    result = run_refusing(
        {"tensorflow", "keras"},
        "flash-and-verify",
        str(bundle.path),
        "--limit",
        "3",
        "--json",
        "--indices-out",
        str(indices),
    )
    assert result.returncode == 0, result.stderr
    document = json.loads(result.stdout)
    assert document["verdict"] == "equal"
    assert document["frames"] == 3
    assert indices.is_file()
