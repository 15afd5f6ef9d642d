"""Take the float ends off an integer ``.tflite`` file: what TensorFlow's converter leaves unless told otherwise."""

from __future__ import annotations

import struct
from typing import Any

from ai_edge_litert import schema_py_generated as schema

from edgecodec.codec.tflite_reader import unpack
from edgecodec.errors import UnsupportedOpError

_INSIDE = (schema.TensorType.INT8, schema.TensorType.INT16)
_OUTSIDE = (schema.TensorType.FLOAT32, schema.TensorType.UINT8)
_SIGNATURES_SLOT = 18
"""Place of ``Model.signature_defs`` in the table's vtable, in bytes: 4 + 2 times its number in schema.fbs."""


def without_ends(data: bytes) -> tuple[bytes, tuple[str, ...]]:
    """``data`` that begins and ends with INT8 or INT16, and what was taken off, a phrase each.

    The outer QUANTIZE and DEQUANTIZE ops (or QUANTIZE to and from uint8) leave the graph; all other bytes stay where
    they are. Signatures, which name the tensors outside, go too. Files without such ops come back as they are. Raises
    InputError when ``data`` is no readable ``.tflite`` file, UnsupportedOpError when one of its inputs is none.
    """
    parsed = unpack(data)
    buffer = bytearray(data)
    model = schema.Model.GetRootAs(buffer, 0)
    graph = model.Subgraphs(0)
    notes = []
    if graph.OperatorsLength() > 1 and graph.InputsLength() == graph.OutputsLength() == 1:
        first, last = graph.Operators(0), graph.Operators(graph.OperatorsLength() - 1)
        if _moves(model, graph, last, ("DEQUANTIZE", "QUANTIZE"), inside=0) and last.Outputs(0) == graph.Outputs(0):
            graph.OutputsAsNumpy()[:] = last.Inputs(0)
            _drop_operator(buffer, graph, graph.OperatorsLength() - 1)
            notes.append(f"took the {_name(model, last)} off its output")
        if _moves(model, graph, first, ("QUANTIZE",), inside=1) and first.Inputs(0) == graph.Inputs(0):
            graph.InputsAsNumpy()[:] = first.Outputs(0)
            _drop_operator(buffer, graph, 0)
            notes.append(f"took the {_name(model, first)} off its input")
    if notes and parsed.signatureDefs:
        _drop_vector(buffer, model, _SIGNATURES_SLOT)
    return bytes(buffer) if notes else data, tuple(reversed(notes))


def _name(model: Any, operator: Any) -> str:
    code = model.OperatorCodes(operator.OpcodeIndex())
    value = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
    return next((name for name, number in vars(schema.BuiltinOperator).items() if number == value), str(value))


def _moves(model: Any, graph: Any, operator: Any, names: tuple[str, ...], *, inside: int) -> bool:
    """Whether an op of ``names`` leads from integers outwards (``inside`` 0, its input) or inwards (1, its output)."""
    if operator.InputsLength() != 1 or operator.OutputsLength() != 1 or _name(model, operator) not in names:
        return False
    ends = [operator.Inputs(0), operator.Outputs(0)]
    if not all(0 <= end < graph.TensorsLength() for end in ends):
        raise UnsupportedOpError(f"{_name(model, operator)}: reads or writes a tensor that is not there")
    kinds = [graph.Tensors(end).Type() for end in ends]
    return bool(kinds[inside] in _INSIDE and kinds[1 - inside] in _OUTSIDE)


def _drop_operator(buffer: bytearray, graph: Any, index: int) -> None:
    """Shorten the vector of operators by one. Its entries are offsets from where they stand."""
    table = graph._tab
    start = table.Vector(table.Offset(10))  # SubGraph.operators
    count = graph.OperatorsLength()
    for place in range(index, count - 1):
        (offset,) = struct.unpack_from("<I", buffer, start + 4 * (place + 1))
        struct.pack_into("<I", buffer, start + 4 * place, offset + 4)
    struct.pack_into("<I", buffer, start - 4, count - 1)


def _drop_vector(buffer: bytearray, model: Any, slot: int) -> None:
    """Make a vector of a table empty."""
    table = model._tab
    offset = table.Offset(slot)
    if offset:
        struct.pack_into("<I", buffer, table.Vector(offset) - 4, 0)
