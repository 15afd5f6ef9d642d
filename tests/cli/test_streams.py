"""Results on stdout, everything else on stderr; pipes that close; signals."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edgecodec.bundle import Bundle
from edgecodec.cli.main import main
from edgecodec.cli.output import Streams, plain_line
from tests.cli.run import assert_one_error, edgecodec

ROOT = Path(__file__).resolve().parents[2]


def test_json_is_all_there_is_on_stdout(bundle: Bundle) -> None:
    result = edgecodec("inspect", bundle.path, "--json")
    assert json.loads(result.stdout)["rate"] == {
        # 64 samples, 8 positions, 29 and 13 codes: 8 (5 + 4) bits for 64 x 16.
        "nominal_bits_per_frame": 72,
        "raw_bits_per_frame": 1024,
        "compression_ratio": pytest.approx(1024 / 72),
    }
    assert result.stderr == ""


def test_what_libraries_print_stays_off_the_document() -> None:
    program = (
        "import os\n"
        "from edgecodec.cli.error_document import ErrorDocument\n"
        "from edgecodec.cli.output import Streams\n"
        "with Streams(as_json=True) as streams:\n"
        "    print('from Python')\n"
        "    os.write(1, b'from C')\n"
        "    streams.finish(ErrorDocument('undecided', 'x', None, 'y'), lambda console: None)\n"
        "print('after')\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60, cwd=ROOT
    )
    document, _, rest = result.stdout.partition("}\n")
    assert json.loads(document + "}") == {
        "schema": "edgecodec.error",
        "schema_version": 1,
        "verdict": "undecided",
        "error": "x",
        "hint": None,
        "error_type": "y",
    }
    assert rest == "after\n"
    assert "from Python" in result.stderr
    assert "from C" in result.stderr


def run_with(arguments: list[str], **streams: Any) -> subprocess.CompletedProcess[str]:
    """Run the command line with other streams than pipes."""
    chosen = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | streams
    return subprocess.run(
        [sys.executable, "-m", "edgecodec", *arguments], text=True, timeout=60, check=False, cwd=ROOT, **chosen
    )


def run_closing(redirection: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command line from a shell with a redirection such as ``>&-``."""
    command = f"{shlex.join([sys.executable, '-m', 'edgecodec', *arguments])} {redirection}"
    return subprocess.run(["sh", "-c", command], text=True, timeout=60, check=False, cwd=ROOT, capture_output=True)


@pytest.mark.parametrize(
    "arguments", [["boards"], ["boards", "--json"], ["--help"], ["boards", "--help"], ["--version"]]
)
def test_reader_that_leaves_is_no_error(arguments: list[str]) -> None:
    # A pipe without a reader: the first write fails.
    read, write = os.pipe()
    os.close(read)
    result = run_with(arguments, stdout=write)
    os.close(write)
    assert (result.returncode, result.stderr) == (0, "")


def test_verdict_survives_a_reader_that_leaves() -> None:
    program = (
        "import sys\n"
        "from edgecodec.cli.output import Streams\n"
        "with Streams(as_json=False) as streams:\n"
        "    code = streams.finish({}, lambda console: console.print('x' * 100_000), exit_code=1)\n"
        "sys.exit(code)\n"
    )
    read, write = os.pipe()
    os.close(read)
    result = subprocess.run(
        [sys.executable, "-c", program], stdout=write, stderr=subprocess.PIPE, check=False, cwd=ROOT
    )
    os.close(write)
    assert (result.returncode, result.stderr) == (1, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("arguments", [["boards"], ["boards", "--json"], ["--help"]])
def test_full_disk_behind_stdout_is_an_error(arguments: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        assert_one_error(run_with(arguments, stdout=full), "stdout cannot be written (No space left on device)")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("json_option", [[], ["--json"]])
def test_full_disk_behind_stderr_changes_no_exit_code(json_option: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        assert run_with(["boards", *json_option], stderr=full).returncode == 0
        assert run_with(["inspect", "nowhere", *json_option], stderr=full).returncode == 2


@pytest.mark.parametrize("json_option", [[], ["--json"]])
def test_closed_stdout_is_an_error(json_option: list[str]) -> None:
    assert_one_error(run_closing(">&-", "boards", *json_option), "stdout is closed; send it to a file")


@pytest.mark.parametrize("json_option", [[], ["--json"]])
def test_closed_stderr_loses_prose_alone(json_option: list[str]) -> None:
    result = run_closing("2>&-", "boards", *json_option)
    assert result.returncode == 0
    assert "mps2-an386" in result.stdout
    result = run_closing("2>&-", "inspect", "nowhere", *json_option)
    assert result.returncode == 2
    assert "edgecodec: error" not in result.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted(number: signal.Signals) -> None:
    program = (
        "import os, sys, time, edgecodec.doctor\n"
        "number = int(sys.argv.pop())\n"
        "def diagnose():\n"
        "    os.kill(os.getpid(), number)\n"
        "    time.sleep(30)\n"
        "edgecodec.doctor.diagnose = diagnose\n"
        "from edgecodec.cli import entry\n"
        "entry()\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program, "doctor", "--json", str(int(number))],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=ROOT,
    )
    assert result.returncode == 2
    assert result.stderr.strip() == "edgecodec: error: interrupted"
    assert json.loads(result.stdout)["error"] == "interrupted"


def test_unforeseen_error_is_one_line(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    def explode() -> None:
        raise ZeroDivisionError("by\nzero")

    monkeypatch.delenv("EDGECODEC_DEBUG", raising=False)
    monkeypatch.setattr("edgecodec.doctor.diagnose", explode)
    assert main(["doctor"]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith("edgecodec: error: internal error, ZeroDivisionError: by zero")
    assert err.count("\n") == 1


@pytest.mark.parametrize("debug", [False, True])
def test_compiler_output_is_one_option_away(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], debug: bool
) -> None:
    from edgecodec.errors import BuildError

    def fail() -> None:
        raise BuildError("cc failed", stderr="main.c:1: error: no\n")

    monkeypatch.setenv("EDGECODEC_DEBUG", "1" if debug else "0")
    monkeypatch.setattr("edgecodec.doctor.diagnose", fail)
    assert main(["doctor"]) == 2
    err = capfd.readouterr().err
    if debug:
        assert err.endswith("main.c:1: error: no\nedgecodec: error: cc failed\n")
    else:
        assert err == "edgecodec: error: cc failed (--debug shows what the tool printed)\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\nb", "a b"),
        ("a\x1b[31mb", "a\\x1b[31mb"),
        ("ümlaut", "ümlaut"),
        ("", "unknown"),
        ("a\u2028b", "a b"),
        ("a\udcffb", "a\\udcffb"),
        ("\u202egnp", "\\u202egnp"),
    ],
)
def test_plain_line(text: str, expected: str) -> None:
    assert plain_line(text) == expected


def test_progress_names_what_runs(capsys: pytest.CaptureFixture[str]) -> None:
    with Streams(as_json=False) as streams, streams.progress("verifying") as progress:
        progress(0, 0, "building firmware")
        progress(0, 8, "booting mps2-an386")
        for done in range(1, 9):
            progress(done, 8, "board")
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "verifying: building firmware",
        "verifying: booting mps2-an386 0/8",
        "verifying: board 1/8",
        "verifying: board 8/8",
    ]


def test_bar_names_what_runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    with Streams(as_json=False) as streams, streams.progress("verifying") as progress:
        progress(0, 0, "booting mps2-an386")
        progress(3, 8, "board")
    err = capsys.readouterr().err
    assert "verifying: board" in err
    assert "3/8" in err


@pytest.mark.parametrize("option", ["-q", "--quiet"])
def test_quiet_says_nothing_but_the_result(option: str, bundle: Bundle) -> None:
    for arguments in (["inspect", bundle.path, option], [option, "inspect", bundle.path]):
        result = edgecodec(*arguments)
        assert (result.returncode, result.stderr) == (0, "")
        assert bundle.digest in result.stdout


def test_quiet_progress_and_notes(capsys: pytest.CaptureFixture[str]) -> None:
    with Streams(as_json=False) as streams:
        streams.quiet = True
        streams.say("note: nothing")
        with streams.progress("training") as progress:
            progress(1, 2, {"loss": 0.5})
            progress(2, 2)
    assert capsys.readouterr() == ("", "")


def test_progress_without_a_terminal_is_lines_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    with Streams(as_json=False) as streams, streams.progress("training") as progress:
        progress(1, 2, {"loss": 0.5})
        progress(2, 2, {"loss": 0.25})
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "training: 2/2 loss 0.25\n"
