"""Choosing a model of indices by a budget, and keeping it in a bundle."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgecodec.bundle import PACKETS, Bundle, write_bundle
from edgecodec.entropy.causal_network import CausalNetwork
from edgecodec.entropy.context_tables import ContextTables
from edgecodec.entropy.packet_file import PacketConstants
from edgecodec.errors import BundleError, InputError
from edgecodec.training import index_models
from edgecodec.training.causal_network import NetworkFitting, fit_causal_network
from edgecodec.training.index_models import ModelBudget, fit_index_model, network_costs
from tests.packets import SIDE, network, tables, walk
from tests.tools import require

SIZES = (32, 16)
BOOKS = [np.arange(size, dtype=np.float64)[:, None] for size in SIZES]


def test_tables_within_the_budget() -> None:
    train, others = walk(1, 400, 10, SIZES), walk(2, 100, 10, SIZES)
    model, curve = fit_index_model(train, others, BOOKS, ModelBudget(500, 10_000))
    assert isinstance(model, ContextTables)
    assert model.flash_bytes <= 500
    assert [point.chosen for point in curve].count(True) == 1
    chosen = next(point for point in curve if point.chosen)
    assert chosen.bits_per_frame == pytest.approx(model.code_lengths(others).sum(axis=(1, 2)).mean())
    assert all(point.bits_per_frame >= chosen.bits_per_frame for point in curve if point.flash_bytes <= 500)
    assert max(point.flash_bytes for point in curve) > 500


def test_networks_when_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    require("module:tensorflow")
    shape = NetworkFitting(4, 8, 8, (1, 2), steps=200, batch_size=32, learning_rate=1e-2)
    monkeypatch.setattr(index_models, "NETWORKS", (shape,))
    train, others = walk(1, 400, 10, SIZES), walk(2, 100, 10, SIZES)
    told: list[tuple[int, int, str]] = []
    budget = ModelBudget(100_000, 1_000_000)
    model, curve = fit_index_model(train, others, BOOKS, budget, 20, lambda *call: told.append(call))
    assert {point.kind for point in curve} == {"tables", "network"}
    assert told[-1] == (20, 20, "network 1 of 1")
    assert model is not None
    none, curve = fit_index_model(train, others, BOOKS, ModelBudget(10, 10))
    assert none is None
    assert {point.kind for point in curve} == {"tables"}


@pytest.mark.parametrize("sizes", [(32, 16), (7,), (5, 6, 9)])
def test_costs_are_known_before_fitting(sizes: tuple[int, ...]) -> None:
    require("module:tensorflow")
    shape = NetworkFitting(3, 8, 12, (1, 4), steps=1, batch_size=4)
    given = walk(1, 4, 6, sizes)
    books = [np.arange(size, dtype=np.float64)[:, None] for size in sizes]
    model = fit_causal_network(given, given, books, shape)
    assert network_costs(shape, 6, sizes)[0] == model.flash_bytes


def test_a_codebook_too_large_has_no_model() -> None:
    given = np.zeros((4, 3, 1), int)
    assert fit_index_model(given, given, [np.zeros((300, 1))]) == (None, ())
    with pytest.raises(InputError, match="with at least one frame"):
        fit_index_model(given, given[:0], [np.zeros((30, 1))])


@pytest.mark.parametrize("kind", ["tables", "network", "plain"])
def test_bundle_keeps_it(bundle: Bundle, kind: str, tmp_path: Path) -> None:
    sizes = bundle.codec.rvq.codebook_sizes
    made = {"tables": lambda: tables(1, 10, tuple(sizes), 2048), "network": lambda: network(1, tuple(sizes))}
    model = made[kind]() if kind in made else None
    side = replace(SIDE, samples=bundle.codec.samples)
    constants = PacketConstants(side, model)
    optional = {PACKETS: constants.to_npz()}
    written = write_bundle(
        tmp_path / "b", encoder=bundle.encoder_bytes, rvq=bundle.codec.rvq, name="n", optional=optional
    )
    packets = written.packets()
    assert packets is not None
    assert packets.side == side
    assert packets.tag == int(written.digest[:3], 16)
    assert type(packets.model) is type(model)
    if isinstance(model, ContextTables | CausalNetwork):
        for name, array in packets.model.to_arrays().items():
            np.testing.assert_array_equal(array, model.to_arrays()[name])


def test_bundle_refuses_packets_of_another_codec(bundle: Bundle, tmp_path: Path) -> None:
    assert bundle.packets() is None
    for constants, expected in (
        (PacketConstants(SIDE, None), "packets of 320 samples"),
        (PacketConstants(None, tables(1, 10, (3, 3), 2048)), "index model is of codebooks"),
    ):
        optional = {PACKETS: constants.to_npz()}
        written = write_bundle(
            tmp_path / "b", encoder=bundle.encoder_bytes, rvq=bundle.codec.rvq, name="n", optional=optional, force=True
        )
        with pytest.raises(BundleError, match=expected):
            written.packets()
    with pytest.raises(InputError, match=r"not a readable .npz"):
        PacketConstants.from_npz(b"PK")
