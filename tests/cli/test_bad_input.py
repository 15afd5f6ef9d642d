"""Whatever a person gives it, a command ends in one clear line and exit code 2, and writes nothing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import numpy as np
import pytest

from edgecodec.bundle import Bundle
from edgecodec.cli.main import main
from edgecodec.errors import InputError
from tests.cli.run import assert_one_error, edgecodec
from tests.tools import require

BUNDLE_COMMANDS = {
    "inspect": [],
    "generate": ["-o", "out"],
    "verify-host": [],
    "build-firmware": ["-o", "out"],
    "flash-and-verify": [],
    "profile": [],
}
FRAME_COMMANDS = ("verify-host", "flash-and-verify", "profile")


@pytest.fixture
def copy(bundle: Bundle, tmp_path: Path) -> Path:
    """A bundle folder to damage."""
    return Path(shutil.copytree(bundle.path, tmp_path / "bundle"))


def files_below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


@pytest.mark.parametrize("command", BUNDLE_COMMANDS)
def test_missing_bundle(command: str, tmp_path: Path) -> None:
    result = edgecodec(command, "nowhere", *BUNDLE_COMMANDS[command], cwd=tmp_path)
    assert_one_error(result, "nowhere", "no such bundle")
    assert result.stdout == ""
    assert files_below(tmp_path) == set()


@pytest.mark.parametrize("command", BUNDLE_COMMANDS)
def test_bundle_is_a_file(command: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"\0" * 100)
    assert_one_error(edgecodec(command, "file", *BUNDLE_COMMANDS[command], cwd=tmp_path), "file")
    assert files_below(tmp_path) == {"file"}


@pytest.mark.parametrize("command", BUNDLE_COMMANDS)
def test_empty_folder(command: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert_one_error(edgecodec(command, "empty", *BUNDLE_COMMANDS[command], cwd=tmp_path), "manifest.json")


@pytest.mark.parametrize("command", BUNDLE_COMMANDS)
def test_truncated_encoder(command: str, copy: Path, tmp_path: Path) -> None:
    encoder = copy / "encoder.tflite"
    encoder.write_bytes(encoder.read_bytes()[:-10])
    before = files_below(tmp_path)
    assert_one_error(edgecodec(command, copy, *BUNDLE_COMMANDS[command], cwd=tmp_path), "encoder.tflite", "truncated")
    assert files_below(tmp_path) == before


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('"version": 1', '"version": 2', "version 2"),
        ('"version": 1', '"version": true', "version True"),
        ('"samples": 64', '"samples": 32', "edited"),
        ('"samples": 64', '"samples": "64"', "frame.samples"),
        ('"samples": 64', '"samples": NaN', "NaN is no JSON"),
        ("{", "", "not valid JSON"),
    ],
)
def test_edited_manifest(copy: Path, old: str, new: str, expected: str) -> None:
    manifest = copy / "manifest.json"
    text = manifest.read_text()
    assert old in text
    manifest.write_text(text.replace(old, new, 1))
    assert_one_error(edgecodec("inspect", copy), "manifest.json", expected)


def test_json_error_is_one_document(tmp_path: Path) -> None:
    result = edgecodec("verify-host", "nowhere", "--json", cwd=tmp_path)
    assert_one_error(result, "nowhere")
    document = json.loads(result.stdout)
    assert document["verdict"] == "undecided"
    assert document["error_type"] == "BundleError"
    assert document["error"] in result.stderr


def test_usage_error_with_json(tmp_path: Path) -> None:
    result = edgecodec("verify-host", "--json", "--nonsense", cwd=tmp_path)
    assert_one_error(result, "--nonsense", "edgecodec verify-host --help")
    assert json.loads(result.stdout)["verdict"] == "undecided"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["nonsense"], "nonsense"),
        (["inspect"], "BUNDLE"),
        (["inspect", ""], "empty"),
        (["inspect", "bundle", "--nonsense"], "No such option '--nonsense'; see: "),
        (["inspect", "a", "b"], "unexpected extra argument"),
        (["generate", "bundle"], "--output"),
        (["verify-host", "bundle", "--limit", "0"], "--limit"),
        (["verify-host", "bundle", "--limit", "-1"], "--limit"),
        (["verify-host", "bundle", "--limit", "many"], "--limit"),
        (["quantize", "-o", "out"], "RUN"),
        (["quantize", "run", "--encoder", "e.keras", "-o", "out"], "not both"),
        (["quantize", "--encoder", "e.keras", "--codebooks", "c.npz", "-o", "out"], "--calibration"),
        (["quantize", "run", "--name", "mine", "-o", "out"], "RUN has its own"),
        (["quantize", "run", "--index-flash", "9", "-o", "out"], "--index-flash needs --index-model or --index-frames"),
        (["quantize", "run", "--normalization", "minmax", "-o", "out"], "RUN has its own"),
        (["quantize", "run", "--normalization", "median", "-o", "out"], "'median'; expected zscore[:EPSILON]"),
        (["quantize", "run", "--normalization", "", "-o", "out"], "''; expected zscore[:EPSILON]"),
        (["quantize", "run", "--normalization", "minmax:1", "-o", "out"], "'minmax:1'; expected zscore"),
        (["quantize", "run", "--normalization", "minmax:1,0", "-o", "out"], "expected the lower end first"),
        (["quantize", "run", "--normalization", "fixed:0,x", "-o", "out"], "'fixed:0,x'; expected zscore"),
        (["quantize", "run", "--normalization", "fixed:0,0", "-o", "out"], "scale is 0.0; expected a finite value"),
        (["quantize", "run", "--normalization", "zscore:nan", "-o", "out"], "epsilon is nan"),
        (["quantize", "run", "--normalization", "none:", "-o", "out"], "'none:'; expected zscore"),
        (["quantize", "run", "--fine-tune-steps", "9", "-o", "out"], "--fine-tune-steps needs --fine-tune"),
        (["train", "-o", "out"], "CONFIG"),
        (["decode", "bundle", "-o", "out.npz"], "PACKETS"),
    ],
)
def test_usage(arguments: list[str], expected: str, tmp_path: Path) -> None:
    assert_one_error(edgecodec(*arguments, cwd=tmp_path), expected, "--help")
    assert files_below(tmp_path) == set()


FRAMES = {
    "missing.npz": None,
    "empty.npz": b"",
    "empty.csv": b"",
    "text.csv": b"time,ppg\n1,2\n",
    "ragged.csv": b"1,2,3\n1,2\n",
    "garbage.npy": b"\x93NUMPY\xff\xff\xff\xff",
    "garbage.npz": b"PK\x03\x04 not a zip",
    "frames.wav": b"RIFF",
}


@pytest.mark.parametrize("command", FRAME_COMMANDS)
@pytest.mark.parametrize("name", FRAMES)
def test_unreadable_frames(command: str, name: str, bundle: Bundle, tmp_path: Path) -> None:
    content = FRAMES[name]
    if content is not None:
        (tmp_path / name).write_bytes(content)
    assert_one_error(edgecodec(command, bundle.path, "--frames", name, cwd=tmp_path), name)


@pytest.mark.parametrize("command", FRAME_COMMANDS)
def test_frames_that_never_end(command: str, bundle: Bundle, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.npz")
    (tmp_path / "zero.csv").symlink_to("/dev/zero")
    for name in ("pipe.npz", "zero.csv"):
        assert_one_error(edgecodec(command, bundle.path, "--frames", name, cwd=tmp_path), f"{name}: is no regular file")


ARRAYS = {
    "float": np.full((2, 64), 0.5),
    "nan": np.full((2, 64), np.nan),
    "infinite": np.full((2, 64), np.inf),
    "length": np.zeros((2, 63), np.int16),
    "range": np.full((2, 64), 40000),
    "none": np.zeros((0, 64), np.int16),
    "short": np.zeros(10, np.int16),
    "shape": np.zeros((2, 2, 64), np.int16),
    "text": np.array([["a"] * 64]),
    "complex": np.zeros((2, 64), complex),
    "bool": np.zeros((2, 64), bool),
    "object": np.array([{}], dtype=object),
}


@pytest.mark.parametrize("kind", ARRAYS)
def test_wrong_frames(kind: str, bundle: Bundle, tmp_path: Path) -> None:
    np.save(tmp_path / "frames.npy", ARRAYS[kind], allow_pickle=True)
    assert_one_error(edgecodec("verify-host", bundle.path, "--frames", "frames.npy", cwd=tmp_path), "frames.npy")


@pytest.mark.parametrize("board", ["nonsense", "../../etc/passwd", "mps2-an386\x1b[31m", "", "a/b", "."])
@pytest.mark.parametrize("command", ["build-firmware", "flash-and-verify"])
def test_unknown_board(command: str, board: str, bundle: Bundle, tmp_path: Path) -> None:
    arguments = [command, str(bundle.path), "--board", board, *BUNDLE_COMMANDS[command]]
    assert_one_error(edgecodec(*arguments, cwd=tmp_path), "board")
    assert files_below(tmp_path) == set()


@pytest.mark.parametrize("command", ["build-firmware", "flash-and-verify"])
def test_board_file_that_never_ends(command: str, bundle: Bundle, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "board.yaml")
    arguments = [command, str(bundle.path), "--board", "./board.yaml", *BUNDLE_COMMANDS[command]]
    assert_one_error(edgecodec(*arguments, cwd=tmp_path), "board.yaml: ", "is no regular file")
    assert files_below(tmp_path) == {"board.yaml"}


@pytest.mark.parametrize("port", ["/dev/nonsense", "socket://127.0.0.1:1", "nonsense://x", "/dev/null", ""])
def test_port_that_is_none(port: str, bundle: Bundle) -> None:
    require("cc", "Python.h")
    result = edgecodec("flash-and-verify", bundle.path, "--port", port, "--limit", "1", "--json")
    assert_one_error(result)
    assert json.loads(result.stdout)["verdict"] == "undecided"


def test_bundle_without_frames(bundle: Bundle, tmp_path: Path) -> None:
    from edgecodec.bundle import write_bundle

    write_bundle(tmp_path / "bare", encoder=bundle.encoder_bytes, rvq=bundle.codec.rvq, name="bare")
    assert_one_error(edgecodec("verify-host", tmp_path / "bare"), "--frames")


@pytest.mark.parametrize("command", ["generate", "build-firmware"])
def test_output_with_other_files(command: str, bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("keep me")
    assert_one_error(edgecodec(command, bundle.path, "-o", "out", cwd=tmp_path), "out", "--force")
    assert files_below(tmp_path) == {"out", "out/thesis.txt"}


def test_output_is_a_file(bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("keep me")
    assert_one_error(edgecodec("generate", bundle.path, "-o", "out", "--force", cwd=tmp_path), "out")
    assert (tmp_path / "out").read_text() == "keep me"


@pytest.mark.parametrize(
    "name", ["with space", "[red]markup[/red]", "new\nline", "esc\x1b[2Jape", "-dash", "ümlaut", "{{ x }}"]
)
def test_hostile_names_work(name: str, bundle: Bundle, tmp_path: Path) -> None:
    shutil.copytree(bundle.path, tmp_path / name)
    result = edgecodec("inspect", "--", name, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "\x1b" not in result.stdout
    result = edgecodec("inspect", "--json", "--", name, cwd=tmp_path)
    assert json.loads(result.stdout)["path"] == name
    assert edgecodec("generate", "-o", f"{name}.c", "--", name, cwd=tmp_path).returncode == 0


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS refuses such names itself")
def test_name_that_is_no_unicode(tmp_path: Path) -> None:
    result = edgecodec("inspect", os.fsdecode(b"\xff\xfe\x1b]0;x"), "--json", cwd=tmp_path)
    assert_one_error(result, "no such bundle")
    assert "\x1b" not in result.stderr
    assert json.loads(result.stdout)["error_type"] == "BundleError"


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_unreadable_bundle(copy: Path) -> None:
    (copy / "encoder.tflite").chmod(0)
    assert_one_error(edgecodec("inspect", copy), "encoder.tflite")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "codec.yaml"),
        ("a: [", "codec.yaml"),
        ("\0\0\0", "codec.yaml"),
        ("- 1\n- 2\n", "codec.yaml"),
        ("nonsense: 1\n", "nonsense"),
        ("model:\n  num_stages: many\n", "num_stages"),
        ("a: !!python/object/apply:os.getcwd []\n", "codec.yaml"),
    ],
)
def test_bad_training_configuration(content: str | None, expected: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "codec.yaml").write_text(content)
    assert_one_error(edgecodec("train", "codec.yaml", "-o", "run", cwd=tmp_path), expected)
    assert not (tmp_path / "run").exists()


def test_quantize_of_what_is_no_run(tmp_path: Path) -> None:
    assert_one_error(edgecodec("quantize", "nowhere", "-o", "bundle", cwd=tmp_path), "nowhere")
    (tmp_path / "empty").mkdir()
    assert_one_error(edgecodec("quantize", "empty", "-o", "bundle", cwd=tmp_path), "empty")
    assert files_below(tmp_path) == {"empty"}


def test_quantize_of_missing_files(tmp_path: Path) -> None:
    arguments = ["--encoder", "e.keras", "--codebooks", "c.npz", "--calibration", "f.npz", "-o", "bundle"]
    assert_one_error(edgecodec("quantize", *arguments, cwd=tmp_path), "no such file")
    assert files_below(tmp_path) == set()


INDICES = {
    "missing": None,
    "shape": np.zeros((3, 8), np.uint16),
    "range": np.full((3, 8, 2), 29, np.uint16),
    "float": np.zeros((3, 8, 2)),
}


@pytest.mark.parametrize("kind", INDICES)
def test_wrong_indices(kind: str, bundle: Bundle, tmp_path: Path) -> None:
    array = INDICES[kind]
    if array is not None:
        np.savez(tmp_path / "indices.npz", indices=array)
    assert_one_error(edgecodec("decode", bundle.path, "indices.npz", "-o", "ppg.npz", cwd=tmp_path))
    assert not (tmp_path / "ppg.npz").exists()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("y.wav", "'y.wav' does not end in .csv, .npy, .npz, .parquet, .edf or .hea"),
        ("y", "'y' does not end in .csv"),
        ("y.npz.csv", "y.npz.csv: indices are decoded to .npz alone"),
    ],
)
def test_output_of_another_kind_is_refused_before_the_work(
    name: str, expected: str, bundle: Bundle, tmp_path: Path
) -> None:
    before = files_below(tmp_path)
    assert_one_error(edgecodec("decode", bundle.path, "indices.npz", "-o", name, cwd=tmp_path), expected)
    result = edgecodec("verify-host", bundle.path, "--indices-out", name, cwd=tmp_path)
    assert_one_error(result, f"'{name}' does not end in .npz", "--indices-out")
    assert files_below(tmp_path) == before


def test_inputs_are_not_outputs(bundle: Bundle, tmp_path: Path) -> None:
    before = files_below(bundle.path)
    for command in (("build-firmware", "--board", "mps2-an386"), ("generate",)):
        result = edgecodec(command[0], bundle.path, *command[1:], "-o", bundle.path, "--force", cwd=tmp_path)
        assert_one_error(result, "holds a bundle (manifest.json), which is not replaced; choose another output")
    assert files_below(bundle.path) == before
    assert files_below(tmp_path) == set()


def test_indices_that_cannot_be_written(bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    result = edgecodec("verify-host", bundle.path, "--indices-out", "file/x.npz", cwd=tmp_path)
    assert_one_error(result, "file/x.npz: cannot be written (Not a directory)")

    def fail(*arguments: object) -> None:
        raise InputError("the disk is full now")

    monkeypatch.setattr("edgecodec.decoding.index_file.save_indices", fail)
    arguments = ["verify-host", str(bundle.path), "--limit", "1", "--indices-out", str(tmp_path / "x.npz")]
    with redirect_stdout(StringIO()) as printed:
        assert main(arguments) == 2
    assert "verdict" in printed.getvalue()


def test_demo_names_the_extra_that_is_missing(tmp_path: Path) -> None:
    # As on an install without extras: Python finds none of these.
    program = (
        "import importlib.util, sys\n"
        "find = importlib.util.find_spec\n"
        "missing = {'tensorflow', 'keras', 'heartpy', 'scipy', 'matplotlib'}\n"
        "importlib.util.find_spec = lambda name, *rest: None if name in missing else find(name, *rest)\n"
        "from edgecodec.cli import entry\n"
        "entry()\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    result = subprocess.run(
        [sys.executable, "-c", program, "demo"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env=environment,
    )
    assert_one_error(result, "heartpy", 'pip install "edgecodec[train]"')
    assert files_below(tmp_path) == set()


def test_decode_refuses_indices_of_another_bundle(bundle: Bundle, tmp_path: Path) -> None:
    np.savez(tmp_path / "indices.npz", indices=np.zeros((1, 8, 2), np.uint16), digest=np.array("0" * 64))
    assert_one_error(edgecodec("decode", bundle.path, "indices.npz", "-o", "ppg.npz", cwd=tmp_path))


def test_no_compiler(bundle: Bundle, tmp_path: Path) -> None:
    env = {"PATH": str(tmp_path), "EDGECODEC_CACHE": str(tmp_path / "cache")}
    assert_one_error(edgecodec("verify-host", bundle.path, env=env), "compiler")


def test_no_cross_compiler(bundle: Bundle, tmp_path: Path) -> None:
    env = {"PATH": str(tmp_path), "EDGECODEC_CACHE": str(tmp_path / "cache")}
    result = edgecodec("build-firmware", bundle.path, "-o", "out", cwd=tmp_path, env=env)
    assert_one_error(result, "arm-none-eabi-gcc")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", ["flash-and-verify", "profile", "demo"])
def test_tools_of_the_last_step_are_missed_before_the_first(bundle: Bundle, tmp_path: Path, command: str) -> None:
    """Not behind minutes of training, of building and of the host's part."""
    if command == "demo":
        require("module:tensorflow", "module:heartpy")
    tools, work = tmp_path / "tools", tmp_path / "work"
    tools.mkdir()
    work.mkdir()
    what = ["-o", "demo"] if command == "demo" else [bundle.path, "--report", "report"]
    env = {"PATH": str(tools), "EDGECODEC_CACHE": str(tmp_path / "cache"), "CC": ""}
    expected = ["qemu-system-arm not found; install the", "arm-none-eabi-gcc not found; install the"]
    for name, text in zip(["qemu-system-arm", ""], expected, strict=True):
        result = edgecodec(command, *what, cwd=work, env=env)
        assert_one_error(result, text)
        assert len(result.stderr.splitlines()) == 1, "nothing was begun"
        assert files_below(work) == set()
        if name:
            (tools / name).symlink_to("/bin/false")


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    for arguments, env in (
        (["inspect", "nowhere", "--debug"], {}),
        (["--debug", "inspect", "nowhere"], {}),
        (["inspect", "nowhere"], {"EDGECODEC_DEBUG": "1"}),
    ):
        result = edgecodec(*arguments, cwd=tmp_path, env=env)
        assert result.returncode == 2
        assert "Traceback" in result.stderr
        assert result.stderr.splitlines()[-1].startswith("edgecodec: error: ")
