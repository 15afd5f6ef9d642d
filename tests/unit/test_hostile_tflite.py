"""``.tflite`` files made to take long: what reading and planning take is bounded by the file, or by a stated limit."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import flatbuffers
import pytest
from ai_edge_litert import schema_py_generated as schema

from edgecodec.codec.tflite_reader import MAX_LAYERS, op_names, read_graph
from edgecodec.compile import cascade
from edgecodec.compile.cascade import MOST_STRIPES
from edgecodec.compile.plan import make_plan
from edgecodec.errors import EdgecodecError, InputError, UnsupportedOpError
from tests.tflite_builder import CONV, LayerSpec, build_encoder, bundle_of

SAME = 300
"""Times that one thing is named."""


def calls_of(run: Callable[[], object]) -> int:
    """Calls of Python functions that ``run`` makes."""
    count = 0

    def on_event(_frame: Any, event: str, _argument: Any) -> None:
        nonlocal count
        count += event == "call"

    sys.setprofile(on_event)
    try:
        run()
    finally:
        sys.setprofile(None)
    return count


class Shared:
    """A model of tables that are there once and named many times."""

    def __init__(self) -> None:
        self.builder = flatbuffers.Builder(1024)

    def vector(self, places: Sequence[int]) -> int:
        self.builder.StartVector(4, len(places), 4)
        for place in places:
            self.builder.PrependUOffsetTRelative(place)
        return int(self.builder.EndVector())

    def table(self, kind: str, **fields: int) -> int:
        getattr(schema, f"{kind}Start")(self.builder)
        for name, value in fields.items():
            getattr(schema, f"{kind}Add{name}")(self.builder, value)
        return int(getattr(schema, f"{kind}End")(self.builder))

    def model(self, subgraphs: list[int], **fields: int) -> bytes:
        made = self.vector(subgraphs)
        codes, buffers = self.vector([self.table("OperatorCode")]), self.vector([self.table("Buffer")])
        root = self.table("Model", Version=3, Subgraphs=made, OperatorCodes=codes, Buffers=buffers, **fields)
        self.builder.Finish(root, b"TFL3")
        return bytes(self.builder.Output())


def shared_subgraphs() -> bytes:
    made = Shared()
    operators = made.vector([made.table("Operator")] * SAME)
    return made.model([made.table("SubGraph", Operators=operators)] * SAME)


def shared_operators() -> bytes:
    made = Shared()
    return made.model([made.table("SubGraph", Operators=made.vector([made.table("Operator")] * SAME * 30))])


def shared_names() -> bytes:
    made = Shared()
    name = made.builder.CreateString("n" * 100_000)
    tensors = [made.table("Tensor", Name=name) for _ in range(SAME)]
    return made.model([made.table("SubGraph", Tensors=made.vector(tensors))])


def shared_dimensions() -> bytes:
    made = Shared()
    dimensions = made.vector([made.table("DimensionMetadata")] * SAME)
    sparsity = made.table("SparsityParameters", DimMetadata=dimensions)
    tensors = [made.table("Tensor", Sparsity=sparsity) for _ in range(SAME)]
    return made.model([made.table("SubGraph", Tensors=made.vector(tensors))])


def shared_signatures() -> bytes:
    made = Shared()
    maps = made.vector([made.table("TensorMap")] * SAME)
    signatures = made.vector([made.table("SignatureDef", Inputs=maps) for _ in range(SAME)])
    return made.model([made.table("SubGraph")], SignatureDefs=signatures)


@pytest.mark.parametrize(
    "make", [shared_subgraphs, shared_operators, shared_names, shared_dimensions, shared_signatures]
)
def test_tables_that_are_there_once_are_not_unfolded(make: Callable[[], bytes]) -> None:
    data = make()

    def refused() -> None:
        with pytest.raises(EdgecodecError, match=r"unfolds to more than|300 subgraphs; expected 1"):
            read_graph(data)

    # Unfolded they are 90,000 tables, of some ten calls each, or 30 MB of names.
    assert calls_of(refused) < 20_000


def test_more_ops_than_are_read() -> None:
    made = Shared()
    operators = [made.table("Operator") for _ in range(1 << 16)]
    data = made.model([made.table("SubGraph", Operators=made.vector(operators))])
    with pytest.raises(UnsupportedOpError, match="at most 65,536 are read"):
        op_names(data)


def test_shape_of_many_axes() -> None:
    data = schema.ModelT.InitFromPackedBuf(build_encoder([LayerSpec(CONV, 2, 3)], 16, seed=0), 0)
    data.subgraphs[0].tensors[0].shapeSignature = [1] * 100_000
    builder = flatbuffers.Builder(1024)
    builder.Finish(data.Pack(builder), b"TFL3")
    with pytest.raises(InputError, match="100,000 numbers"):
        read_graph(bytes(builder.Output()))


def test_weights_that_dilation_unfolds(monkeypatch: pytest.MonkeyPatch) -> None:
    data = build_encoder([LayerSpec(CONV, 4, 1), LayerSpec(CONV, 4, 2, dilation=50)], 80, seed=0)
    read_graph(data)
    monkeypatch.setattr("edgecodec.codec.tflite_reader.MAX_WEIGHTS", 500)
    with pytest.raises(UnsupportedOpError, match="to 820 weights, dilation filled up; expected at most 500"):
        read_graph(data)


def test_layers_at_most() -> None:
    assert len(read_graph(build_encoder([LayerSpec(CONV, 1, 1)] * MAX_LAYERS, 8, seed=0)).layers) == MAX_LAYERS
    with pytest.raises(UnsupportedOpError, match="has 65 layers; expected at most 64"):
        read_graph(build_encoder([LayerSpec(CONV, 1, 1)] * (MAX_LAYERS + 1), 8, seed=0))


@pytest.mark.parametrize(("layers", "width"), [(30, 64), (60, 64), (12, 4096)])
def test_planning_works_through_a_limited_number_of_stripes(
    layers: int, width: int, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Encoders of equal layers, where every run of them may be a cascade."""
    count, run = 0, cascade._Schedule.run

    def counted(schedule: Any) -> Any:
        nonlocal count
        count += 1
        # What it took before is not waited for.
        assert count < 2 * MOST_STRIPES
        return run(schedule)

    codec = bundle_of(tmp_path / "b", build_encoder([LayerSpec(CONV, 8, 3, 1, "SAME")] * layers, width, seed=0)).codec
    monkeypatch.setattr(cascade._Schedule, "run", counted)
    make_plan(codec)
    assert count < MOST_STRIPES / 4
