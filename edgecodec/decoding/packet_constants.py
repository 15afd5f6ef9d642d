"""What ``firmware/host/edc_unpack.c`` reads packets with: constants of a packet format, ordered for decoding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecodec.decoding.c_constants import CStruct, CValue
from edgecodec.entropy.causal_network import LIKELIHOODS, CausalNetwork, Dense
from edgecodec.entropy.context_tables import ContextTables, LevelTables
from edgecodec.entropy.packet import CHECK_BITS, CHECK_POLYNOMIAL, PacketFormat, index_bits
from edgecodec.entropy.side_information import ROOTS

_LANES = 16
"""``EDC_UNPACK_LANES``"""


@dataclass(frozen=True)
class UnpackConstants:
    """A packet format as C has it."""

    format: CStruct
    """``edc_unpack_format``"""
    work_words: int
    """int32 that a thread works in."""


def unpack_constants(packets: PacketFormat) -> UnpackConstants:
    """The constants of a packet format."""
    bits = np.array([index_bits(codes) for codes in packets.codebook_sizes], np.uint8)
    fields: dict[str, CValue] = {
        "checks": _checks(),
        "code_counts": np.array(packets.codebook_sizes, np.uint32),
        "index_bits": bits,
        "positions": packets.positions,
        "levels": len(packets.codebook_sizes),
        "tag": packets.tag,
    }
    work_words = 1
    if packets.side is not None:
        names = ("first_scale", "scale_bits", "location_bits", "scale_field", "common_bytes", "samples")
        side = {name: int(getattr(packets.side, name)) for name in names}
        roots = np.array(ROOTS, np.uint32)
        fields["side"] = CStruct("edc_unpack_side", {"roots": roots, **side, "squared": int(packets.side.squared)})
    if isinstance(packets.model, ContextTables):
        fields["tables"] = [_tables(level) for level in packets.model.levels]
    elif isinstance(packets.model, CausalNetwork):
        fields["network"], work_words = _network(packets.model)
    return UnpackConstants(CStruct("edc_unpack_format", fields), work_words)


def _tables(level: LevelTables) -> CStruct:
    order = np.argsort(level.ranks)
    starts = level.member_starts.astype(np.uint16)
    ends = np.append(level.group_starts, np.zeros((len(level.group_starts), 1)), axis=1).astype(np.uint32)
    ends[:, -1] = 1 << 16
    firsts = np.searchsorted(level.groups[order], np.arange(level.group_starts.shape[1] + 1)).astype(np.uint16)
    return CStruct(
        "edc_unpack_tables",
        {
            "classes": level.classes.astype(np.uint8),
            "group_starts": ends,
            "group_ranks": firsts,
            "member_starts": starts,
            "member_ends": (starts + level.member_sizes).astype(np.uint16),
            "codes": order.astype(np.uint16),
            "group_count": int(level.group_starts.shape[1]),
        },
    )


def _dense(layer: Dense, channels: int | None = None) -> CStruct:
    """A layer, outputs padded, and its inputs, too, where they are taps of so many ``channels``."""
    weights = _padded(layer.weights, 0)
    if channels is not None:
        weights = _padded(weights.reshape(len(weights), -1, channels), 2).reshape(len(weights), -1)
    outputs, inputs = weights.shape
    columns = weights.reshape(outputs // _LANES, _LANES, inputs).transpose(0, 2, 1)
    bias = _padded(layer.bias + np.int32(1 << (layer.shift - 1)), 0)
    sizes = {"outputs": int(outputs), "inputs": int(inputs), "shift": int(layer.shift)}
    arrays = {"weights": columns.astype(np.int32), "bias": bias.astype(np.int32)}
    return CStruct("edc_unpack_dense", {**arrays, **sizes}, inline=True)


def _network(model: CausalNetwork) -> tuple[CStruct, int]:
    """The network, and the int32 that it works in."""
    channels = model.channels
    first = _dense(model.input)
    blocks = [
        CStruct(
            "edc_unpack_block",
            {
                "taps": _dense(block.taps, channels),
                "mix": _dense(block.mix, channels),
                "dilation": int(block.dilation),
            },
        )
        for block in model.blocks
    ]
    heads = []
    for level in model.levels:
        tables = [_padded(table.astype(np.int32) << level.above_shift, 1) for table in level.above]
        heads.append(
            CStruct(
                "edc_unpack_head",
                {
                    "hidden": _dense(level.hidden, channels),
                    "embedding": level.embedding.astype(np.int8),
                    "above": tables or None,
                    "nodes": _padded(level.nodes.astype(np.int32), 1),
                    "node_bias": level.node_bias.astype(np.int32) << level.node_bias_shift,
                    "codes": np.argsort(level.ranks).astype(np.uint16),
                    "code_count": len(level.ranks),
                    "node_shift": int(level.node_shift),
                },
            )
        )
    inputs, outputs, hidden = _size(first, "inputs"), _size(first, "outputs"), _padded(model.levels[0].hidden.bias, 0)
    fields: dict[str, CValue] = {
        "input": first,
        "blocks": blocks or None,
        "heads": heads,
        "likelihoods": np.asarray(LIKELIHOODS, np.uint16),
        "block_count": len(blocks),
        "hidden": len(hidden),
        "embedding_size": int(model.levels[0].embedding.shape[1]),
    }
    rows = 2 + sum(2 * int(block.dilation) for block in model.blocks)
    return CStruct("edc_unpack_network", fields), inputs + rows * outputs + len(hidden)


def _size(struct: CStruct, name: str) -> int:
    value = struct.fields[name]
    assert isinstance(value, int)
    return value


def _padded(values: npt.NDArray[Any], axis: int) -> npt.NDArray[Any]:
    """``values`` with zeros up to whole vectors along an axis."""
    widths = [(0, -size % _LANES if number == axis else 0) for number, size in enumerate(values.shape)]
    return np.pad(values, widths)


def _checks() -> npt.NDArray[np.uint16]:
    """The CRC's register after each byte from a register of 0, ``[256]``."""
    values = np.arange(256, dtype=np.uint32) << (CHECK_BITS - 8)
    for _ in range(8):
        carry = values >> (CHECK_BITS - 1)
        values = (values << 1 & 0xFFF) ^ carry * CHECK_POLYNOMIAL
    return values.astype(np.uint16)
