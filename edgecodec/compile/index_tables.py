"""The constants of packets as C: tables of the index model, side information, format (SPEC.md 5)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edgecodec._version import __version__
from edgecodec.compile.render import (
    DEFAULT_PREFIX,
    PrintedTable,
    printed,
    render_served,
    render_template,
    with_sources,
)
from edgecodec.compile.tables import Table, rows_of, structure
from edgecodec.entropy.causal_network import CausalNetwork, Dense
from edgecodec.entropy.context_tables import ContextTables, LevelTables
from edgecodec.entropy.packet import PacketFormat, index_bits
from edgecodec.files.resources import firmware_dir

if TYPE_CHECKING:
    from edgecodec.bundle import Bundle

GENERATED = ("edc_packet_model.h", "edc_packet_model.c")
_PARTS = ("edc_packet", "edc_range", "edc_side")
_SIDE_FIELDS = ("first_scale", "scale_bits", "location_bits", "scale_field", "common_bytes", "squared")

_CODE = structure(group=np.uint8, start=np.uint8, last=np.uint8)

Members = dict[str, int | str]
"""Members of a C structure, those of a structure within it by ``outer.inner``: a number or the name of an array."""


@dataclass(frozen=True)
class PrintedStructure:
    """A constant C structure, or an array of them."""

    ctype: str
    """C type of it."""
    name: str
    """Name of it."""
    rows: list[Members]
    """Members of each element."""
    is_array: bool
    """Whether it is an array."""


@dataclass
class _Constants:
    """What is printed, in the order in which C needs it."""

    tables: list[PrintedTable] = field(default_factory=list)
    pointers: list[tuple[str, list[str]]] = field(default_factory=list)
    structures: list[PrintedStructure] = field(default_factory=list)

    def table(self, owner: str, name: str, values: npt.NDArray[Any], comment: str, struct: str = "") -> str:
        """Add an array and return its name."""
        self.tables.append(printed(owner, Table(name, values, comment, struct)))
        return self.tables[-1].name

    def dense(self, owner: str, name: str, layer: Dense) -> Members:
        """Add a layer's arrays and return its members."""
        outputs, inputs = layer.weights.shape
        weights = self.table(owner, f"{name}_weights", in_blocks(layer.weights), f"[{outputs}][{inputs}] in blocks")
        bias = self.table(owner, f"{name}_bias", rounding_bias(layer), f"[{outputs}], with half a step of the result")
        members: Members = {"weights": weights, "bias": bias, "outputs": outputs, "inputs": inputs}
        return {f"{name}.{member}": value for member, value in {**members, "shift": layer.shift}.items()}

    def structure(self, ctype: str, name: str, *rows: Members, is_array: bool = False) -> str:
        """Add a structure and return its name."""
        self.structures.append(PrintedStructure(ctype, name, list(rows), is_array))
        return name


def render_packets(packets: PacketFormat) -> dict[str, str]:
    """The generated C of a packet format: file name to text, the same bytes for the same format.

    It defines ``edc_packet_model``, an ``edc_packet_format``, the words of state that its model needs, and the bytes of
    the longest packet.
    """
    constants = _Constants()
    model, tables, state_words = "NULL", "NULL", 1
    if isinstance(packets.model, ContextTables):
        model, tables = "&edc_context_model", f"&{_context_tables(constants, packets.model)}"
    elif isinstance(packets.model, CausalNetwork):
        model, tables = "&edc_causal_model", f"&{_network(constants, packets.model)}"
        state_words = packets.model.state_bytes // 4
    side = "NULL"
    if packets.side is not None:
        members: Members = {name: int(getattr(packets.side, name)) for name in _SIDE_FIELDS}
        side = f"&{constants.structure('edc_side', 'edc_packet_side', members)}"
    bits = np.array([index_bits(codes) for codes in packets.codebook_sizes], np.uint8)
    context = {
        "version": __version__,
        "digest": packets.digest,
        "header": f"{_model_part(packets) or 'edc_packet'}.h",
        "constants": constants,
        "model": model,
        "model_tables": tables,
        "side": side,
        "index_bits": constants.table("edc_packet", "index_bits", bits, "[levels], bits of a plain index"),
        "positions": packets.positions,
        "samples": 1 if packets.side is None else packets.side.samples,
        "tag": packets.tag,
        "levels": len(bits),
        "state_words": state_words,
        "plain_bytes": packets.plain_bytes(),
    }
    return {name: render_template(f"{name}.j2", **context) for name in GENERATED}


def packet_files(packets: PacketFormat) -> dict[str, str]:
    """Every C file of a packet format, hand-written and generated: file name to text."""
    parts = [*_PARTS, *filter(None, [_model_part(packets)])]
    folder = firmware_dir() / "codec"
    names = [f"{part}.{end}" for part in parts for end in ("c", "h")]
    return {name: (folder / name).read_text(encoding="utf-8") for name in names} | render_packets(packets)


def with_packets(bundle: Bundle, generated: Mapping[str, str], prefix: str = DEFAULT_PREFIX) -> dict[str, str]:
    """``generated`` C of the model of ``prefix``, the bundle's packets if it has any, and all that they include.

    File name to text, with the header by which the serial link knows them.
    """
    packets = bundle.packets()
    found = dict(generated) if packets is None else {**generated, **render_packets(packets)}
    return with_sources(found) | render_served(prefix, packets=packets is not None)


def code_rows(level: LevelTables) -> npt.NDArray[np.void]:
    """Rows ``[K]`` of ``edc_context_code``."""
    starts = level.member_starts[level.ranks]
    return rows_of(_CODE, group=level.groups, start=starts, last=starts + level.member_sizes[level.ranks] - 1)


def rounding_bias(layer: Dense) -> npt.NDArray[np.int32]:
    """The bias ``[O]`` as ``edc_causal.h`` has it: what rounds a sum half up is in it."""
    return layer.bias + np.int32(1 << (layer.shift - 1))


def in_blocks(weights: npt.NDArray[np.int8]) -> npt.NDArray[np.int8]:
    """Rows ``[O, I]`` as ``edc_causal.h`` has a layer's: four by four, ``[O / 4, I / 4, 4, 4]``, in fours."""
    outputs, inputs = weights.shape
    fours = in_fours(weights).reshape(outputs // 4, 4, inputs // 4, 4)
    return np.ascontiguousarray(fours.transpose(0, 2, 1, 3))


def in_fours(weights: npt.NDArray[np.int8]) -> npt.NDArray[np.int8]:
    """Rows ``[O, I]`` as ``edc_causal.h`` has them: of each four entries the first, third, second and fourth."""
    fours: npt.NDArray[Any] = weights.reshape(len(weights), weights.shape[1] // 4, 4)
    return np.ascontiguousarray(fours[..., [0, 2, 1, 3]].reshape(weights.shape))


def _model_part(packets: PacketFormat) -> str | None:
    """The hand-written part that codes with the model."""
    if packets.model is None:
        return None
    return "edc_context" if isinstance(packets.model, ContextTables) else "edc_causal"


def _context_tables(constants: _Constants, model: ContextTables) -> str:
    rows: list[Members] = []
    for number, level in enumerate(model.levels):
        owner, classes, groups = f"edc_context{number}", *level.group_starts.shape
        starts = np.append(level.group_starts.reshape(-1), np.uint16(0))
        rows.append(
            {
                "classes": constants.table(owner, "classes", level.classes, "[contexts]"),
                "codes": constants.table(owner, "codes", code_rows(level), "[codes]", "edc_context_code"),
                "group_starts": constants.table(owner, "group_starts", starts, f"[{classes}][{groups}] and 0, of 2^16"),
                "group_count": groups,
            }
        )
    levels = constants.structure("edc_context_level", "edc_context_levels", *rows, is_array=True)
    return constants.structure("edc_context_tables", "edc_packet_tables", {"levels": levels})


def _network(constants: _Constants, model: CausalNetwork) -> str:
    blocks: list[Members] = []
    for number, block in enumerate(model.blocks):
        owner = f"edc_block{number}"
        layers = constants.dense(owner, "taps", block.taps) | constants.dense(owner, "mix", block.mix)
        blocks.append(layers | {"dilation": block.dilation})
    rows: list[Members] = []
    for number, level in enumerate(model.levels):
        owner = f"edc_level{number}"
        above = "NULL"
        if level.above:
            tables = [
                constants.table(owner, f"above{other}", table, "[codes there][hidden]")
                for other, table in enumerate(level.above)
            ]
            above = f"{owner}_above"
            constants.pointers.append((above, tables))
        many = len(level.ranks) > 1
        nodes = constants.table(owner, "nodes", in_fours(level.nodes), "[codes - 1][hidden]") if many else "NULL"
        bias = constants.table(owner, "node_bias", level.node_bias, "[codes - 1]") if many else "NULL"
        rows.append(
            constants.dense(owner, "hidden", level.hidden)
            | {
                "embedding": constants.table(owner, "embedding", level.embedding, "[codes + 1][embedding]"),
                "above": above,
                "nodes": nodes,
                "node_bias": bias,
                "ranks": constants.table(owner, "ranks", level.ranks, "[codes]"),
                "codes": len(level.ranks),
                "above_shift": level.above_shift,
                "node_bias_shift": level.node_bias_shift,
                "node_shift": level.node_shift,
            }
        )
    members = constants.dense("edc_input", "input", model.input)
    members["blocks"] = "NULL"
    if blocks:
        members["blocks"] = constants.structure("edc_causal_block", "edc_causal_blocks", *blocks, is_array=True)
    return constants.structure(
        "edc_causal_network",
        "edc_packet_tables",
        members
        | {
            "levels": constants.structure("edc_causal_level", "edc_causal_levels", *rows, is_array=True),
            "channels": model.channels,
            "hidden": len(model.levels[0].hidden.weights),
            "block_count": len(model.blocks),
            "level_count": len(model.levels),
            "embedding_size": model.levels[0].embedding.shape[1],
        },
    )
