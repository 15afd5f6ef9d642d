"""The tables of docs/presets.md, as tools.presets makes them of its results."""

from __future__ import annotations

import importlib
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgecodec.cli.main import COMMANDS
from tools import presets

BEATS = {
    "heart_rate": {"mean_absolute_bpm": 0.2, "measured": 9, "not_measured": 1},
    "onset_error_ms": 0.6,
    "missed_share": 0.0,
    "rmssd_frames": 9,
    "rmssd_ms": 10.0,
    "rmssd_error_ms": 4.0,
    "rmssd_usable": False,
}


COSTS = {
    "normaliser": 10_000,
    "encoder": 20_000,
    "search": 70_000,
    "packet": 0,
    "flash_bytes": 2048,
    "state_bytes": 700,
}


def result(seed: int, bits: float) -> dict[str, Any]:
    prdn = {"mean": 1.5, "median": 1.4, "p90": 2.0, "p95": 2.5, "worst": 9.0}
    point = {"step": 0.1, "bits_per_frame": 400.0, "prdn": 1.5, "instructions": 43_000, "flash_bytes": 9_000}
    opponent = {
        "name": "dct-rdoq",
        "title": "DCT, contexts, RDOQ",
        "equal_prdn": point,
        "equal_bits": None,
        "bits_over_opponent": {"conditional": 1.1, "coded": bits / 400},
        "bits_over_opponent_with_side_information": (bits + 24) / 424,
    }
    group = {"by": "person", "name": "7", "frames": 10, "prdn": prdn, "beats": BEATS}
    return {
        "preset": "08x",
        "seed": seed,
        "commands": [],
        "float_prdn": 1.2,
        "quantization": {"agreement_l1": 0.99, "agreement_l2": seed / 2, "agreement_rounded_input_l1": 1.0},
        "evaluation": {
            "frames": 10,
            "prdn": prdn,
            "beats": BEATS,
            "groups": [group, group | {"by": "rhythm", "name": "2"}],
            "bits_per_frame": {"conditional": 440.0, "coded": bits},
            "packets": {"mean_bits": bits + 50},
            "opponents": [opponent],
            "best_model": "coded",
        },
        "boards": {"M4": COSTS, "M0": COSTS | {"search": 200_000}},
    }


def test_seeds_become_mean_and_spread() -> None:
    text = presets.tables([result(1, 380.0), result(2, 420.0)])
    assert "| `08x` | 1, 2 | 1.200 % (1.200 % to 1.200 %) | 1.500 %" in text
    # The least of them.
    assert "| 99.0 %, 50.0 % |" in text
    assert "400.0 (380.0 to 420.0)" in text
    assert "| DCT, contexts, RDOQ | 400.0 (400.0 to 400.0) | 1.000 (0.950 to 1.050) |" in text
    assert "| worst person | 10 | 1.40 % | 0.20 | 0.60 | 10.0 | 4.0 | no |" in text
    assert "| rhythm 2 | 10 |" in text


def test_costs_are_those_of_boards_and_of_settings_too() -> None:
    other = result(1, 390.0) | {"preset": "08x:embedding_dim=4,encoder_kernel=63"}
    text = presets.tables([result(1, 380.0), result(2, 420.0), other])
    costs = "0.020 M | 0.070 M | 0.100 M | 0.020 M | 0.200 M | 0.230 M | 2.0 KiB | 700 bytes |"
    spread = "400.0 (380.0 to 420.0) | 1.000 (0.950 to 1.050)"
    assert f"| `08x` | 1, 2 | 1.500 % (1.500 % to 1.500 %) | {spread} | {costs}" in text
    assert f"| `08x`, `embedding_dim=4`, `encoder_kernel=63` | 1 | 1.500 % | 390.0 | 0.975 | {costs}" in text
    # In no other table.
    assert text.count("embedding_dim") == 1


def test_settings_behind_a_preset_are_of_its_model(tmp_path: Path) -> None:
    train = presets.train_command("08x_light:embedding_dim=4,encoder_kernel=63", 1, tmp_path / "data.npz", tmp_path)
    assert train[train.index("--preset") + 1] == "08x_light"
    assert train[train.index("model.embedding_dim=4") - 1] == "--set"
    assert train[train.index("model.encoder_kernel=63") - 1] == "--set"
    # Commas of a list are its own.
    assert presets.split_name("08x:a=[1,2],b=3") == ("08x", ["a=[1,2]", "b=3"])


def test_results_take_their_place_beside_those_of_other_bundles() -> None:
    held = [result(1, 380.0), result(2, 420.0), result(1, 100.0) | {"preset": "32x"}]
    found = [result(2, 410.0), result(1, 170.0) | {"preset": "16x"}]
    rows = presets.merged(held, found)
    bits = [(row["preset"], row["seed"], row["evaluation"]["bits_per_frame"]["coded"]) for row in rows]
    assert bits == [("08x", 1, 380.0), ("08x", 2, 410.0), ("16x", 1, 170.0), ("32x", 1, 100.0)]


def test_board_costs_are_read_of_a_profile(tmp_path: Path) -> None:
    layers = [("normaliser", 10.4), ("layer", 20.0), ("layer", 1.0), ("rvq", 70.0), ("packet", 9.0), ("reply", 4.0)]
    parts = [{"part": name, "text": 100, "rodata": 1} for name in ("codec", "weights", "codebooks", "link", "port")]
    memory = {"parts": parts, "codec_state_bytes": 700}
    profile = {"layers": [{"kind": kind, "cost": cost} for kind, cost in layers], "memory": memory}
    (tmp_path / "board.json").write_text(json.dumps(profile), encoding="utf-8")
    expected = {"normaliser": 10, "encoder": 21, "search": 70, "packet": 9, "flash_bytes": 303, "state_bytes": 700}
    assert presets._board_costs(tmp_path / "board.json") == expected


def test_page_keeps_what_is_around_the_tables(tmp_path: Path) -> None:
    page = tmp_path / "presets.md"
    page.write_text("before\n<!-- measured -->\nold\n<!-- end of measured -->\nafter\n", encoding="utf-8")
    presets.write_page([result(1, 380.0)], page)
    written = page.read_text(encoding="utf-8")
    assert re.fullmatch(
        r"before\n<!-- measured -->\n\n\| preset .*\n<!-- end of measured -->\nafter\n", written, re.DOTALL
    )
    presets.write_page([result(1, 380.0)], page)
    assert page.read_text(encoding="utf-8") == written
    page.write_text("nothing", encoding="utf-8")
    with pytest.raises(ValueError, match="measured"):
        presets.write_page([], page)


def test_docs_are_made_from_the_results_beside_them(tmp_path: Path) -> None:
    page = presets.DOCS / "presets.md"
    rows = json.loads((presets.DOCS / "presets.json").read_text(encoding="utf-8"))
    copy = tmp_path / "presets.md"
    copy.write_text(page.read_text(encoding="utf-8"), encoding="utf-8")
    presets.write_page(rows, copy)
    assert copy.read_text(encoding="utf-8") == page.read_text(encoding="utf-8")


def test_the_last_eight_people_are_tested_on(tmp_path: Path) -> None:
    people = np.repeat(np.arange(12), 2)
    np.savez(tmp_path / "all.npz", adc=np.arange(24 * 5).reshape(24, 5), subject=people, rhythm=people % 3)
    presets.write_test_people(tmp_path / "all.npz", tmp_path / "test.npz")
    with np.load(tmp_path / "test.npz") as written:
        assert written["subject"].tolist() == np.repeat(np.arange(4, 12), 2).tolist()
        assert written["rhythm"].tolist() == (written["subject"] % 3).tolist()
        assert written["adc"][0, 0] == 8 * 5
        assert written["rate_hz"] == 64.0


def test_commands_are_those_of_edgecodec_and_say_the_rate(tmp_path: Path) -> None:

    for name in ("data.npz", "test.npz", "run", "bundle"):
        (tmp_path / name).mkdir() if "." not in name else (tmp_path / name).touch()
    train = presets.train_command("08x_light", 2, tmp_path / "data.npz", tmp_path)
    # Of recordings that do not say their rate, as the shared ones, training refuses to guess it.
    assert train[train.index("--rate") + 1] == "64"
    quantize = presets.quantize_command(tmp_path, 4000, "16", presets.NETWORK_BUDGET)
    evaluate = presets.evaluate_command(tmp_path, tmp_path / "test.npz", presets.OPPONENT_NAMES)
    profile = presets.profile_command(tmp_path, presets.BOARDS["M0"])
    for command, *arguments in (train, quantize, evaluate, profile):
        assert command in COMMANDS
        module = importlib.import_module(f"edgecodec.cli.{command}")
        with module.command.make_context(command, arguments) as context:
            assert context.params
