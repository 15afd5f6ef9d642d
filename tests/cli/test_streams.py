"""Results on stdout, everything else on stderr; pipes that close; signals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from edgecodec.bundle import Bundle
from edgecodec.cli.main import main
from edgecodec.cli.output import Streams, plain_line
from tests.cli.run import edgecodec

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


def test_reader_that_leaves() -> None:
    # A pipe without a reader: the first write fails.
    read, write = os.pipe()
    os.close(read)
    for arguments in (["boards"], ["boards", "--json"], ["doctor"]):
        result = subprocess.run(
            [sys.executable, "-m", "edgecodec", *arguments],
            stdout=write,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
            cwd=ROOT,
        )
        assert result.returncode == 2
        assert result.stderr == ""
    os.close(write)


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


def test_progress_without_a_terminal_is_lines_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    with Streams(as_json=False) as streams, streams.progress("training") as progress:
        progress(1, 2, {"loss": 0.5})
        progress(2, 2, {"loss": 0.25})
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "training: 2/2 loss 0.25\n"
