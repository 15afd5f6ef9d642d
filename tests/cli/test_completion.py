"""Completion in a shell, as README tells it to be set up, and the nearest command for a mistyped one."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.cli.run import assert_one_error, edgecodec
from tests.tools import require


def completions(*words: str) -> list[str]:
    """What bash is offered for the last of ``words``, as ``type,value`` lines of click's protocol."""
    line = " ".join(["edgecodec", *words])
    variables = {"_EDGECODEC_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(len(words))}
    result = edgecodec(env=variables)
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout.split()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("ins",), ["plain,inspect"]),
        (("build-firmware", "bundle", "--board", "mps2-an3"), ["plain,mps2-an385", "plain,mps2-an386"]),
        (("boards", "show", "micro"), ["plain,microbit", "plain,microbit-v1"]),
        (("boards", "show", "./my-b"), ["file,./my-b"]),
        (("train", "--preset", "08"), ["plain,08x_ds8_l2", "plain,08x_light"]),
        (("inspect", "bun"), ["dir,bun"]),
        (("inspect", "08x"), ["plain,08x_light", "dir,08x"]),
        (("decode", "bundle", "ind"), ["file,ind"]),
        (("generate", "bundle", "--core", "cortex-m55"), ["plain,cortex-m55"]),
        (("boards", "--js"), ["plain,--json"]),
    ],
)
def test_what_is_offered(words: tuple[str, ...], expected: list[str]) -> None:
    assert completions(*words) == expected


def test_all_commands_are_offered_in_the_order_of_the_road() -> None:
    assert completions("")[:3] == ["plain,train", "plain,check", "plain,quantize"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_script_of_the_shell(shell: str) -> None:
    if shell == "bash":
        require("bash")
    result = edgecodec(env={"_EDGECODEC_COMPLETE": f"{shell}_source"})
    assert (result.returncode, result.stderr) == (0, "")
    assert "_EDGECODEC_COMPLETE" in result.stdout


def test_bash_loads_its_script(tmp_path: Path) -> None:
    require("bash")
    script = tmp_path / "completion.bash"
    script.write_text(edgecodec(env={"_EDGECODEC_COMPLETE": "bash_source"}).stdout)
    loaded = subprocess.run(
        ["bash", "-c", f". {script}; complete -p edgecodec"], capture_output=True, text=True, check=True
    )
    assert "_edgecodec_completion edgecodec" in loaded.stdout


def test_unknown_shell_is_no_verdict() -> None:
    assert edgecodec(env={"_EDGECODEC_COMPLETE": "tcsh_source"}).returncode == 2


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("inspct", "no such command 'inspct'; did you mean inspect?; see: edgecodec --help"),
        ("flash", "no such command 'flash'"),
        ("verify", "did you mean verify-host?"),
        ("xyzzy", "no such command 'xyzzy'; see: edgecodec --help"),
    ],
)
def test_mistyped_command_is_answered_with_the_nearest(typed: str, expected: str) -> None:
    assert_one_error(edgecodec(typed), expected)
