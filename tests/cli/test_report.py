"""``--report`` of each command, ``compare``, and the pages in headless Chromium, on a phone and on a desk."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from edgecodec.bundle import Bundle
from edgecodec.cli.main import main
from edgecodec.decoding.decoder import FrameDecoder
from edgecodec.errors import LinkError
from edgecodec.report.documents import ReportedBoard
from edgecodec.report.folder import write_report
from edgecodec.report.sections import Origin, report_profile
from tests.browser import Browser, chromium
from tests.cli.run import assert_one_error, edgecodec
from tests.cli.test_json_schemas import check
from tests.linear_codec import linear_codec, pulse_frames
from tests.packets import bundle_with_packets
from tests.tools import require
from tests.unit.test_profile import profile
from tests.unit.test_report import different

FILES = ["junit.xml", "report.html", "report.json"]
BACKGROUND = "getComputedStyle(document.body).backgroundColor"


def run(*arguments: str | Path) -> tuple[int, str, str]:
    """Exit code and streams of a command line in this process, which saves starting another."""
    with redirect_stdout(StringIO()) as printed, redirect_stderr(StringIO()) as said:
        code = main([str(argument) for argument in arguments])
    return code, printed.getvalue(), said.getvalue()


@pytest.fixture(scope="module")
def reports(bundle: Bundle, good: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the report of each command, by the command's name, and one of a divergence."""
    require("cc", "Python.h", "module:scipy", "module:tensorflow")
    folder = tmp_path_factory.mktemp("reports")
    linear, _ = linear_codec(folder)
    np.savez(folder / "test.npz", frames=pulse_frames(30, seed=2), rate_hz=16.0, subject=np.repeat(["a", "b"], 15))
    np.savez(folder / "train.npz", frames=pulse_frames(40, seed=1), rate_hz=16.0)
    parts = {name: good / file for name, file in (("encoder", "encoder.tflite"), ("codebooks", "codebooks.npz"))}
    for command, *arguments in (
        ("verify-host", bundle_with_packets(bundle, folder / "packets", "plain").path, "--limit", "4"),
        ("evaluate", linear.path, "--frames", folder / "test.npz", "--train-frames", folder / "train.npz"),
        (
            *("quantize", "--encoder", parts["encoder"], "--codebooks", parts["codebooks"]),
            *("--calibration", good / "frames.npz", "--accept-quality", "-o", folder / "quantized"),
        ),
    ):
        code, _, said = run(command, *arguments, "--report", folder / command)
        assert code == 0, said
        assert f"report: {folder / command}" in said.splitlines()[-1]
    board = ReportedBoard("b", "Board", "cortex-m4", False, "speed")
    costs = profile("cycles", 50.0, 2.5e8, 600.0, 100.0)
    write_report(report_profile(Origin("profile", "edgecodec"), bundle, costs, board, None), folder / "profile")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("edgecodec.report.sections.fastest_decoder", FrameDecoder)
        write_report(different(linear), folder / "different")
    return folder


PAGES = ("verify-host", "evaluate", "quantize", "profile", "different")


@pytest.mark.parametrize("name", PAGES)
def test_files(reports: Path, name: str) -> None:
    folder = reports / name
    assert sorted(path.name for path in folder.iterdir()) == FILES
    document = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    check(document, "report")
    assert document["command"] == {"different": "flash-and-verify"}.get(name, name)
    root = ElementTree.parse(folder / "junit.xml").getroot()
    assert (root.attrib["failures"] != "0") == (name == "different")
    sections = {key for key in ("attribution", "divergence", "margins", "quality", "drawn", "parts") if document[key]}
    assert (
        sections
        == {
            "verify-host": {"attribution", "margins", "parts"},
            "evaluate": {"drawn"},
            "quantize": {"parts"},
            "profile": {"parts"},
            "different": {"attribution", "divergence", "margins", "quality", "drawn"},
        }[name]
    )


def test_report_says_how_to_repeat_it(reports: Path) -> None:
    document = json.loads((reports / "verify-host" / "report.json").read_text(encoding="utf-8"))
    words = shlex.split(document["repeat"])
    assert words[:2] == ["edgecodec", "verify-host"]
    assert words[3:] == ["--limit", "4", "--report", str(reports / "verify-host")]
    assert document["verdict"] == document["result"]["verdict"] == "equal"
    assert [row["executor"] for row in document["attribution"]] == ["tflm", "host", "host-encoder"]


def test_costs_without_a_board_are_estimates(reports: Path) -> None:
    document = json.loads((reports / "verify-host" / "report.json").read_text(encoding="utf-8"))
    assert document["unit"] == "estimated instructions"
    kinds = {part["name"]: part["cost"] is not None for part in document["parts"]}
    assert kinds.pop("normaliser") == kinds.pop("rvq") == kinds.pop("entropy coding") is False
    assert len(kinds) == 5
    assert all(kinds.values()), "layers"
    page = (reports / "verify-host" / "report.html").read_text(encoding="utf-8")
    assert page.count('<td class=none data-of="share"></td>') == 3, "no empty line on a phone"
    assert '<th scope="col" class="n">estimated instructions</th>' in page
    assert "Instructions are a model's, for any core from Cortex-M3 up, some tenths more or less" in page


@pytest.mark.emulated
def test_verdict_stays_when_the_parts_cannot_be_timed(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def silent(*_: object) -> None:
        raise LinkError("the board has gone")

    monkeypatch.setattr("edgecodec.verify.run.time_parts", silent)
    code, _, said = run("flash-and-verify", bundle.path, "--limit", "2", "--report", tmp_path / "report")
    assert code == 0, said
    document = json.loads((tmp_path / "report" / "report.json").read_text(encoding="utf-8"))
    assert (document["verdict"], document["unit"]) == ("equal", "estimated instructions")


def test_evaluation_draws_worst_median_and_best(reports: Path) -> None:
    document = json.loads((reports / "evaluate" / "report.json").read_text(encoding="utf-8"))
    drawn = {frame["place"]: frame for frame in document["drawn"]}
    assert (
        drawn["best"]["prdn"] < drawn["median"]["prdn"] < drawn["worst"]["prdn"] == document["result"]["prdn"]["worst"]
    )
    assert drawn["worst"]["person"] in ("a", "b")
    page = (reports / "evaluate" / "report.html").read_text(encoding="utf-8")
    assert "DCT, contexts, RDOQ, same PRDN" in page
    assert page.count('<svg class="frame"') == 3


@pytest.mark.emulated
def test_boards(bundle: Bundle, tmp_path: Path) -> None:
    board = ("--board", "mps2-an386", "--limit", "2")
    timed = []
    for command in ("flash-and-verify", "profile"):
        code, printed, said = run(command, bundle.path, *board, "--json", "--report", tmp_path / command)
        assert code == 0, said
        document = json.loads((tmp_path / command / "report.json").read_text(encoding="utf-8"))
        check(document, "report")
        assert document["result"] == json.loads(printed)
        assert document["board"]["name"] == "mps2-an386"
        assert (document["board"]["emulated"], document["unit"]) == (True, "instructions")
        timed.append(document["parts"])
        assert [part["name"] for part in document["parts"]][0::6] == ["normaliser", "rvq"]
        assert len(document["parts"]) == 8
        assert all(part["flash_bytes"] > 0 for part in document["parts"][1:-1])
        # What a verification counts has no reply in it, and no reading of the timer.
        costs = [part["cost"] for part in document["parts"]]
        whole, within = (sum(costs), 1e-6) if command == "profile" else (sum(costs[:-1]), 0.01)
        assert whole == pytest.approx(document["result"]["instructions_per_frame"], rel=within)
    assert timed[0] == [
        {**part, "cost": pytest.approx(part["cost"], rel=0.01), "share": pytest.approx(part["share"], abs=0.01)}
        for part in timed[1]
    ]


@pytest.mark.emulated
def test_demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    require("cc", "Python.h")
    # What is trained is tested elsewhere: here a codec that comes with edgecodec takes its place.
    monkeypatch.setattr("edgecodec.demo._need_packages", lambda: None)
    monkeypatch.setattr("edgecodec.demo._bundle", lambda out, step: Bundle.load("16x_light"))
    code, printed, said = run("demo", "-o", tmp_path / "demo", "--board", "microbit", "--json")
    assert code == 0, said
    document = json.loads(printed)
    check(document, "demo")
    report = json.loads((tmp_path / "demo" / "report" / "report.json").read_text(encoding="utf-8"))
    check(report, "report")
    assert report["result"] == document
    assert document["report"] == str(tmp_path / "demo" / "report" / "report.html")
    assert report["quality"]["decoded_from"] == "the packets of microbit"
    assert document["summary"]["PRDN"].startswith(f"{report['quality']['mean']:.2f} % mean")


def test_folder_of_somebody_else_is_refused_before_the_work(bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    command = ("verify-host", bundle.path, "--limit", "1", "--report", tmp_path)
    result = edgecodec(*command)
    assert_one_error(result, "holds other files", "--force")
    assert result.stdout == ""
    assert run("verify-host", bundle.path, "--report", bundle.path, "--force")[0] == 2
    assert run(*command, "--force")[0] == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == FILES


def test_verdict_is_printed_before_the_report_fails(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require("cc", "Python.h")
    folder = tmp_path / "report"
    folder.mkdir()

    def look(*_: object, **__: object) -> None:
        """What is in the way comes after the folder was looked at."""
        (folder / "mine.txt").touch()

    monkeypatch.setattr("edgecodec.cli.report.check", look)
    code, printed, said = run("verify-host", bundle.path, "--limit", "1", "--report", folder)
    assert (code, printed.splitlines()[-1].split()) == (2, ["verdict", "equal"])
    assert "holds other files" in said.splitlines()[-1]
    assert [path.name for path in folder.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(
    ("command", "output"),
    [
        ("verify-host BUNDLE", "--indices-out"),
        ("flash-and-verify BUNDLE", "--indices-out"),
        ("evaluate BUNDLE --frames F", "--plot"),
        ("quantize --encoder E --codebooks C --calibration F", "-o"),
        ("demo", "-o"),
    ],
)
def test_report_takes_no_other_output_with_it(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, output: str
) -> None:
    monkeypatch.chdir(tmp_path)
    suffix = {"--indices-out": ".npz", "--plot": ".png"}.get(output, "")
    words = [str(bundle.path) if word == "BUNDLE" else word for word in command.split()]
    for other in (f"r/x{suffix}", f"missing/../r/deep/x{suffix}", *([] if suffix else ["r"])):
        code, printed, said = run(*words, output, other, "--report", "r", "--force")
        assert (code, printed, list(tmp_path.iterdir())) == (2, "", [])
        assert f"{other} lies in the folder of --report, which is replaced as a whole" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("flash-and-verify", "--dry-run", "--report", "r"), "--dry-run finds nothing to report"),
        (("profile", "--dry-run", "--report", "r"), "--dry-run finds nothing to report"),
    ],
)
def test_reports_of_nothing(bundle: Bundle, arguments: tuple[str, ...], said: str) -> None:
    code, printed, errors = run(arguments[0], bundle.path, *arguments[1:])
    assert (code, printed) == (2, "")
    assert said in errors


def test_compare(reports: Path, tmp_path: Path) -> None:
    before = reports / "profile" / "report.json"
    changed = json.loads(before.read_text(encoding="utf-8"))
    changed["result"]["cycles_per_frame"] *= 1.05
    changed["result"]["engine"] = "t|f`lm <b>"
    after = tmp_path / "after.json"
    after.write_text(json.dumps(changed), encoding="utf-8")
    code, printed, _ = run("compare", before, after)
    assert code == 0
    assert "cycles_per_frame" in printed
    code, printed, _ = run("compare", before, after, "--fail-if", "cycles>+2%", "--json")
    assert code == 1
    document = json.loads(printed)
    check(document, "comparison")
    assert [(rule["name"], rule["failed"]) for rule in document["rules"]] == [("cycles_per_frame", True)]
    code, printed, _ = run("compare", before, after, "--fail-if", "cycles>+10%", "--markdown")
    assert code == 0
    lines = printed.splitlines()
    assert lines[0].startswith("**passed**: 1 changed")
    assert "| `engine` | `native` | `t\\|f'lm <b>` |" in lines
    assert "| `cycles_per_frame` | 250,000,750 | 262,500,788 | +12,500,038 | +5.00 |" in lines
    for arguments, said in (
        (("--fail-if", "cyc>+2%"), "no figure is called 'cyc'; there are "),
        (("--fail-if", "cycles>>2"), "is no rule"),
        (("--markdown", "--json"), "not both"),
    ):
        code, _, errors = run("compare", before, after, *arguments)
        assert code == 2
        assert said in errors.splitlines()[-1]
    assert run("compare", before, reports / "quantize" / "report.json")[0] == 2


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    require("chromium")
    with chromium(tmp_path_factory.mktemp("chromium")) as found:
        yield found


@pytest.mark.parametrize("width", [390, 1280])
def test_pages_fit_phone_and_desk_by_day_and_by_night(browser: Browser, reports: Path, width: int) -> None:
    for name in PAGES:
        page = reports / name / "report.html"
        verdict = json.loads((reports / name / "report.json").read_text(encoding="utf-8"))["verdict"]
        grounds = []
        for dark in (False, True):
            browser.open(page, width, dark=dark)
            assert browser.evaluate("innerWidth") == width
            assert browser.evaluate("document.documentElement.scrollWidth <= innerWidth"), name
            # Nothing is cut off either, nor hidden behind a bar of its own.
            wide = "[...document.querySelectorAll('main *')].filter(e => e.getBoundingClientRect().right > innerWidth)"
            assert browser.evaluate(f"{wide}.map(e => e.outerHTML.slice(0, 80))") == [], name
            assert browser.evaluate("document.body.innerText").split()[0] == verdict
            assert browser.evaluate("document.querySelector('main').firstElementChild.innerText").startswith(verdict)
            grounds.append(browser.evaluate(BACKGROUND))
            assert browser.evaluate("getComputedStyle(document.body).color") != grounds[-1]
        assert grounds[0] == "rgb(255, 255, 255)"
        red, green, blue = (int(part) for part in grounds[1][4:-1].split(","))
        assert max(red, green, blue) < 64, "dark"
