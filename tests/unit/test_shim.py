"""The host shim: its cache, its arguments, its errors."""

from __future__ import annotations

import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgecodec.bundle import Bundle
from edgecodec.codec.reference import ReferenceExecutor
from edgecodec.compile.plan import make_plan
from edgecodec.errors import BuildError, InputError
from edgecodec.host import extension
from edgecodec.host.extension import load_extension
from edgecodec.host.shim import HostShim
from edgecodec.verify.compare import NamedStages, compare
from tests.tflite_builder import ppg_frames
from tests.tools import require

SOURCES = {"answer.c": "int answer(void);\nint answer(void) { return 42; }\n"}
CDEF = "int answer(void);"
PREAMBLE = "int answer(void);"


@pytest.fixture(autouse=True)
def _compiler() -> None:
    require("cc", "Python.h")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and no module loaded yet."""
    monkeypatch.setenv("EDGECODEC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(extension, "_loaded", {})
    return tmp_path / "cache" / "extension"


@pytest.fixture(scope="module")
def shim(bundle: Bundle) -> HostShim:
    require("cc", "Python.h")
    return HostShim(bundle)


def _library(cache: Path) -> Path:
    (found,) = cache.glob("*/_edc_*")
    return found


def test_stages_and_encode_equal_the_reference(bundle: Bundle, shim: HostShim) -> None:
    frames = np.concatenate([ppg_frames(40, bundle.codec.samples, 9), np.full((1, bundle.codec.samples), 7, np.int16)])
    expected = ReferenceExecutor(bundle.codec).stages(frames)
    stages = shim.stages(frames)
    for name in ("input", "latent", "indices", "offset", "spread"):
        found, wanted = getattr(stages, name), getattr(expected, name)
        assert found.dtype == wanted.dtype
        np.testing.assert_array_equal(found, wanted)
    np.testing.assert_array_equal(shim.encode(frames), expected.indices)
    assert shim.state_bytes == make_plan(bundle.codec).state_bytes


def test_frames_in_any_memory_order(bundle: Bundle, shim: HostShim) -> None:
    frames = ppg_frames(6, bundle.codec.samples, 9)
    expected = shim.encode(frames)
    np.testing.assert_array_equal(shim.encode(np.asfortranarray(frames)), expected)
    np.testing.assert_array_equal(shim.encode(frames[::2]), expected[::2])
    np.testing.assert_array_equal(shim.encode(frames.astype(np.uint16)), expected)
    np.testing.assert_array_equal(shim.encode(frames.astype(">i2")), expected)
    frames.flags.writeable = False
    np.testing.assert_array_equal(shim.encode(frames), expected)


def test_no_frames(bundle: Bundle, shim: HostShim) -> None:
    none = np.zeros((0, bundle.codec.samples), np.int16)
    assert shim.encode(none).shape == (0, bundle.codec.positions, bundle.codec.levels)
    assert shim.stages(none).latent.shape == (0, bundle.codec.positions, bundle.codec.rvq.dimension)


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        (np.zeros((2, 64), np.float64), "float64"),
        (np.zeros((2, 65), np.int16), r"\(2, 65\)"),
        (np.zeros(64, np.int16), r"\(64,\)"),
        (np.full((1, 64), -32769), "-32769"),
    ],
)
def test_refuses_other_frames(shim: HostShim, frames: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        shim.encode(frames)
    with pytest.raises(InputError, match=message):
        shim.stages(frames)


def test_threads_share_a_shim(bundle: Bundle, shim: HostShim) -> None:
    batches = [ppg_frames(50, bundle.codec.samples, seed) for seed in range(4)]
    expected = [shim.encode(batch) for batch in batches]
    found: dict[int, np.ndarray] = {}
    threads = [
        threading.Thread(target=lambda n=number, b=batch: found.update({n: shim.encode(b)}))
        for number, batch in enumerate(batches)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, indices in enumerate(expected):
        np.testing.assert_array_equal(found[number], indices)


@pytest.mark.parametrize("channel", [0, 5])
def test_a_corrupt_multiplier_is_found_where_it_acts(bundle: Bundle, channel: int) -> None:
    """The comparison can fail, and says where: a quarter off in one channel of the last layer."""
    plan = make_plan(bundle.codec)
    layer = plan.steps[-1].layer
    multiplier = layer.multiplier.copy()
    multiplier[channel] = 2**30 if multiplier[channel] > 1.5 * 2**30 else 2**31 - 1
    packed = plan.steps[-1].kernel.pack(replace(layer, multiplier=multiplier))
    last = replace(plan.steps[-1], choice=replace(plan.steps[-1].choice, packed=packed))
    steps = (*plan.steps[:-1], last)
    frames = ppg_frames(20, bundle.codec.samples, 3)
    expected = ReferenceExecutor(bundle.codec).stages(frames)
    broken = HostShim(bundle, replace(plan, steps=steps)).stages(frames)
    result = compare(NamedStages("reference", expected), NamedStages("host", broken), bundle.codec.rvq)
    assert result.verdict == "different"
    mismatches = {pair.stage: pair.mismatches for pair in result.pairs}
    assert mismatches["input"] == 0
    places = [
        (n, p, c)
        for n in range(20)
        for p in range(bundle.codec.positions)
        for c in range(bundle.codec.rvq.dimension)
        if expected.latent[n, p, c] != broken.latent[n, p, c]
    ]
    assert {c for _, _, c in places} == {channel}
    assert mismatches["latent"] == len(places)
    found = result.first_divergence
    assert (found.stage, found.frame, found.position, found.channel) == ("latent", *places[0])
    assert (found.expected, found.received) == (expected.latent[places[0]], broken.latent[places[0]])


def test_a_corrupt_code_is_found_with_its_margin(bundle: Bundle) -> None:
    """The most used code of level 1 moved away: input and latent agree, indices do not."""
    frames = ppg_frames(20, bundle.codec.samples, 3)
    expected = ReferenceExecutor(bundle.codec).stages(frames)
    code = int(np.bincount(expected.indices[..., 1].reshape(-1)).argmax())
    books = [book.copy() for book in bundle.codec.rvq.codebooks]
    books[1][code] += 400
    broken = HostShim(
        replace(bundle, codec=replace(bundle.codec, rvq=replace(bundle.codec.rvq, codebooks=tuple(books))))
    ).stages(frames)
    result = compare(NamedStages("reference", expected), NamedStages("host", broken), bundle.codec.rvq)
    assert [pair.mismatches > 0 for pair in result.pairs] == [False, False, True]
    found = result.first_divergence
    assert (found.stage, found.level, found.expected) == ("indices", 1, code)
    assert found.margin >= 0


def test_built_once(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_extension(SOURCES, CDEF, PREAMBLE).lib.answer() == 42
    library = _library(cache)
    assert sorted(path.name for path in cache.iterdir()) == [library.parent.name]
    monkeypatch.setattr(extension, "_loaded", {})
    monkeypatch.setattr(extension._Recipe, "build", lambda *_: pytest.fail("built again"))
    assert load_extension(SOURCES, CDEF, PREAMBLE).lib.answer() == 42


def test_other_content_is_another_module(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load_extension(SOURCES, CDEF, PREAMBLE)
    changed = {"answer.c": SOURCES["answer.c"].replace("42", "43")}
    assert load_extension(changed, CDEF, PREAMBLE).lib.answer() == 43
    monkeypatch.setattr(extension, "_BUILD_FLAGS", ("-O1", "-fPIC"))
    load_extension(SOURCES, CDEF, PREAMBLE)
    monkeypatch.setenv("CC", "cc -DOTHER")
    if extension.Compiler.find().command[1:] == ("-DOTHER",):
        load_extension(SOURCES, CDEF, PREAMBLE)
    assert len(list(cache.iterdir())) == 4


@pytest.mark.parametrize("damage", ["truncated", "foreign", "no checksum", "empty folder"])
def test_a_damaged_or_foreign_library_is_never_loaded(
    cache: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    load_extension({"answer.c": SOURCES["answer.c"].replace("42", "13")}, CDEF, PREAMBLE)
    foreign = _library(cache).read_bytes()
    load_extension(SOURCES, CDEF, PREAMBLE)
    (library,) = (path for path in cache.glob("*/_edc_*") if path.read_bytes() != foreign)
    library.unlink()  # replaced, not written into: this process has it mapped
    if damage == "truncated":
        library.write_bytes(foreign[:1000])
    elif damage == "foreign":
        library.write_bytes(foreign)
    elif damage == "no checksum":
        (library.parent / "sha256").unlink()
        library.write_bytes(foreign)
    monkeypatch.setattr(extension, "_loaded", {})
    script = (
        "import sys; from edgecodec.host.extension import load_extension\n"
        f"print(load_extension({SOURCES!r}, {CDEF!r}, {PREAMBLE!r}).lib.answer())"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("42\n", "")


def test_concurrent_builds(cache: Path) -> None:
    script = (
        "from edgecodec.host.extension import load_extension\n"
        f"print(load_extension({SOURCES!r}, {CDEF!r}, {PREAMBLE!r}).lib.answer())"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    assert [process.communicate() for process in processes] == [("42\n", "")] * 4
    assert len(list(cache.iterdir())) == 1


def test_no_compiler(cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BuildError, match=r"no C compiler.*apt install gcc libc6-dev") as error:
        load_extension(SOURCES, CDEF, PREAMBLE)
    assert "\n" not in str(error.value)
    monkeypatch.setenv("CC", "no-such-cc -m32")
    with pytest.raises(BuildError, match="no-such-cc"):
        load_extension(SOURCES, CDEF, PREAMBLE)


def test_no_python_headers(cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(extension.sysconfig, "get_paths", lambda: {"include": str(tmp_path)})
    with pytest.raises(BuildError, match=r"no Python\.h.*apt install python3-dev"):
        load_extension(SOURCES, CDEF, PREAMBLE)


@pytest.mark.parametrize("code", ["int answer(void) { return x; }", "int answer(void) { return 42LL << 40; }"])
def test_compile_failure_keeps_what_the_compiler_said(cache: Path, code: str) -> None:
    with pytest.raises(BuildError) as error:
        load_extension({"answer.c": f"int answer(void);\n{code}\n"}, CDEF, PREAMBLE)
    assert "answer.c:2" in str(error.value)
    assert "\n" not in str(error.value)
    assert "answer.c:2" in error.value.stderr
    assert not list(cache.iterdir())


def test_cache_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("EDGECODEC_CACHE", str(tmp_path / "file"))
    with pytest.raises(BuildError, match="EDGECODEC_CACHE"):
        load_extension({"other.c": SOURCES["answer.c"]}, CDEF, PREAMBLE)


def test_prints_nothing(cache: Path, capfd: pytest.CaptureFixture[str]) -> None:
    load_extension(SOURCES, CDEF, PREAMBLE)
    assert capfd.readouterr() == ("", "")
