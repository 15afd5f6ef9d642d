"""Print a planned codec as C through the Jinja templates; every number is computed before."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
import numpy as np
import numpy.typing as npt

from edgecodec import __version__
from edgecodec.codec.graph import Op
from edgecodec.compile.cascade import Chain
from edgecodec.compile.codebook_search import Search, SortedCodebook, mve_codebook
from edgecodec.compile.kernels import (
    BLOCK_CHANNELS,
    FoldedChannels,
    Kernel,
    PairedWeights,
    TwinWeights,
    fold_channels,
    mve_row,
    mve_weights,
    pair_weights,
    pointwise_weights,
    twin_bias,
    twin_weights,
)
from edgecodec.compile.plan import Plan, Step
from edgecodec.files.resources import firmware_dir, templates_dir

if TYPE_CHECKING:
    from edgecodec.bundle import Bundle

_LINE_WIDTH = 96
_STRUCTS = ("edc_folded_channel", "edc_twin_channel", "edc_mve_channels")
"""Types of tables whose rows are braced."""
GENERATED = ("edc_model.h", "edc_model.c", "edc_model_weights.h", "edc_model_codebooks.h")


@dataclass(frozen=True)
class Table:
    """A constant C array, as its declaration's parts."""

    ctype: str
    name: str
    size: int
    rows: str
    comment: str


def render_template(name: str, **context: object) -> str:
    """Print ``templates/<name>`` with ``context``. An undefined name is an error (jinja2.UndefinedError)."""
    return _environment().get_template(name).render(**context)


def render_codec(bundle: Bundle, plan: Plan) -> dict[str, str]:
    """The generated C of a bundle: file name to text, the same bytes for the same bundle."""
    context = codec_context(bundle, plan)
    return {name: render_template(f"{name}.j2", **context) for name in GENERATED}


def codec_sources() -> list[Path]:
    """The hand-written C sources and headers of the codec, sorted by name."""
    folder = firmware_dir() / "codec"
    return sorted([*folder.glob("*.c"), *folder.glob("*.h")])


@cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(templates_dir()),
        # Escaping is right for the report and wrong for C.
        autoescape=jinja2.select_autoescape(["html.j2"], default=False),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def byte_rows(data: bytes) -> str:
    """``data`` as the rows of a C array."""
    return _rows((f"0x{byte:02x}" for byte in data), indent=4)


def codec_context(bundle: Bundle, plan: Plan) -> dict[str, Any]:
    """What the templates of a codec are told."""
    manifest = bundle.manifest
    major, minor, _patch = __version__.split(".")
    layers = [_layer(index, step) for index, step in enumerate(plan.steps)]
    return {
        "version": __version__,
        "version_major": major,
        "version_minor": minor,
        "digest": bundle.digest,
        "digest_rows": byte_rows(bytes.fromhex(bundle.digest)),
        "numerics": manifest.numerics,
        "samples": bundle.codec.samples,
        "positions": bundle.codec.positions,
        "levels": bundle.codec.levels,
        "channels": bundle.codec.graph.latent.channels,
        "index_count": bundle.codec.positions * bundle.codec.levels,
        "arena_bytes": plan.arena_bytes,
        "state_bytes": plan.state_bytes,
        "input": f"state->arena + {plan.buffers[0].offset_bytes}",
        "latent": f"state->arena + {plan.buffers[-1].offset_bytes}",
        "normalizer": bundle.codec.normalizer,
        "rvq": bundle.codec.rvq,
        "layer_count": len(plan.steps),
        "layers": layers,
        "chain": None if plan.chain is None else _chain(plan.chain, layers),
        "codebooks": [_codebook(bundle, plan, level) for level in range(bundle.codec.levels)],
        "search": plan.search,
        "vector_search": plan.search is Search.MVE,
        "residual_entries": plan.residual_bytes // 2,
        "kernel_headers": sorted({_header(step.kernel) for step in plan.steps}),
        "scratch_words": plan.scratch_bytes // 4,
    }


def _chain(chain: Chain, layers: list[dict[str, Any]]) -> dict[str, Any]:
    members = [layers[index] | {"pace": pace} for index, pace in zip(chain.layers, chain.paces, strict=True)]
    return {"first": chain.first, "last": chain.last, "members": members}


def _layer(index: int, step: Step) -> dict[str, Any]:
    layer = step.layer
    paired = pair_weights(layer, step.kernel) if step.kernel.is_paired else None
    twin = twin_weights(layer) if step.kernel is Kernel.CONV_TWIN else None
    folded = fold_channels(layer, step.kernel) if step.kernel.is_folded else None
    if paired is not None and folded is not None:
        tables = _paired_tables(index, step, paired, folded)
    elif folded is not None:
        tables = _pointwise_tables(index, step, folded)
    elif twin is not None:
        tables = _twin_tables(index, step, twin)
    elif step.kernel.is_vector:
        tables = _mve_tables(index, step)
    else:
        tables = _layer_tables(index, step)
    return {
        "id": f"layer{index}",
        "index": index,
        "layer": layer,
        "step": step,
        "scratch": f" + {step.scratch_offset_bytes // 4}" if step.scratch_offset_bytes else "",
        "paired": paired,
        "folded": folded,
        "twin": twin,
        "row": mve_row(layer) if step.kernel.is_vector else 0,
        "tables": tables,
    }


def _header(kernel: Kernel) -> str:
    """The header that declares a kernel; depthwise ones are declared beside the others."""
    if kernel.is_paired:
        return "edc_conv_paired.h"
    return f"{kernel.replace('depthwise', 'conv')}.h"


def _layer_tables(index: int, step: Step) -> list[Table]:
    layer = step.layer
    order = "[out][kernel][in]" if layer.op is Op.CONV else "[kernel][out]"
    return [
        _table("int8_t", f"edc_layer{index}_weights", layer.weights, f"{order} {list(layer.weights.shape)}"),
        _table("int32_t", f"edc_layer{index}_bias", step.layer.folded_bias, "[out], input zero point folded in"),
        _table("int32_t", f"edc_layer{index}_multiplier", layer.multiplier, "[out], Q31"),
        _table("int8_t", f"edc_layer{index}_shift", _shifts(step), "[out], positive left"),
    ]


def _paired_tables(index: int, step: Step, paired: PairedWeights, folded: FoldedChannels) -> list[Table]:
    order = "[out / 4][columns][4]" if step.layer.op is Op.CONV else "[out][4]"
    shape = f"{order} {list(paired.words.shape)}, pairs of taps"
    tables = [_table("int32_t", f"edc_layer{index}_weights", paired.words, shape), _folded_table(index, folded)]
    if step.layer.op is Op.CONV:
        tables.append(_table("uint8_t", f"edc_layer{index}_parts", paired.parts, "[out / 4]: sums of each block"))
    return tables


def _pointwise_tables(index: int, step: Step, folded: FoldedChannels) -> list[Table]:
    words = pointwise_weights(step.layer).view(np.uint32)
    shape = f"[out / 4][in / 2][4] {list(words.shape)}, two channels a word"
    return [_table("uint32_t", f"edc_layer{index}_weights", words, shape), _folded_table(index, folded)]


def _folded_table(index: int, folded: FoldedChannels) -> Table:
    channels = np.stack([folded.offset, folded.multiplier, folded.down], axis=1)
    return _table("edc_folded_channel", f"edc_layer{index}_channels", channels, "[out]: offset, multiplier, down")


def _twin_tables(index: int, step: Step, twin: TwinWeights) -> list[Table]:
    shape = f"[out / 4][columns][2] {list(twin.words.shape)}, two channels a word"
    bias = twin_bias(step.layer, twin)
    lengths = np.concatenate([np.append(part, np.uint8(0)) for part in twin.lengths])
    channels = np.stack([bias, step.layer.multiplier, -1 - _shifts(step)], axis=1)
    return [
        _table("int32_t", f"edc_layer{index}_weights", twin.words, shape),
        _table("uint8_t", f"edc_layer{index}_parts", lengths, "pairs of columns of each part, 0 after each block"),
        _table("edc_twin_channel", f"edc_layer{index}_channels", channels, "[out]: bias, multiplier, down"),
    ]


def _mve_tables(index: int, step: Step) -> list[Table]:
    weights = mve_weights(step.layer)
    order = "[out][row]" if step.layer.op is Op.CONV else "[out][8]"
    blocks = np.stack([step.layer.folded_bias, step.layer.multiplier, _shifts(step)]).reshape(3, -1, BLOCK_CHANNELS)
    comment = "[out / 4]: bias, multiplier and shift of four"
    return [
        _table("int8_t", f"edc_layer{index}_weights", weights, f"{order} {list(weights.shape)}"),
        _table("edc_mve_channels", f"edc_layer{index}_channels", blocks.transpose(1, 0, 2), comment),
    ]


def _shifts(step: Step) -> npt.NDArray[np.int32]:
    """Shifts ``[out]``; where the multiplier is 0 any is right, and -1 is one that the narrow rounding knows."""
    return np.where(step.layer.multiplier == 0, np.int32(-1), step.layer.shift)


def _codebook(bundle: Bundle, plan: Plan, level: int) -> dict[str, Any]:
    book = bundle.codec.rvq.codebooks[level]
    found = plan.codebooks[level]
    if plan.search is Search.MVE:
        return _mve_codebook(bundle, level, found)
    name = f"edc_codebook{level}"
    shape = f"[code][dimension] {list(book.shape)}"
    codes, norms = (book, bundle.codec.rvq.norms(level)) if found is None else (found.codes, found.norms)
    tables = {
        "codes": _table("int16_t", f"{name}_codes", codes, shape),
        "norms": _table("int32_t", f"{name}_norms", norms, "[code], squared length"),
    }
    if found is not None:
        tables |= {
            "order": _table("uint16_t", f"{name}_order", found.order, "[code], index in the codebook"),
            "keys": _table("int16_t", f"{name}_keys", found.keys, "[code][4], projections"),
            "projection": _table("int8_t", f"{name}_projection", found.projection, "[dimension][4]"),
        }
    return {"size": len(book), "tables": tables, "figures": {} if found is None else {"slack": found.slack}}


def _mve_codebook(bundle: Bundle, level: int, found: SortedCodebook | None) -> dict[str, Any]:
    book = mve_codebook(bundle.codec.rvq, level, found)
    name = f"edc_codebook{level}"
    tables = {"codes": _table("int16_t", f"{name}_codes", book.codes, f"[code][row] {list(book.codes.shape)}")}
    if book.order is not None and book.projection is not None and book.starts is not None:
        blocks = [_braced([block.norms.tolist(), block.keys.tolist()]) for block in book.blocks]
        comment = "[code / 8]: squared lengths of keys, and keys, the projections of eight codes"
        shape = f"[row / 8][4][8] {list(book.projection.shape)}"
        tables |= {
            "blocks": Table("edc_code_block", f"{name}_blocks", len(blocks), _rows(blocks, indent=4), comment),
            "order": _table("uint16_t", f"{name}_order", book.order, "[code], index in the codebook"),
            "projection": _table("int8_t", f"{name}_projection", book.projection, shape),
            "starts": _table("uint16_t", f"{name}_starts", book.starts, "blocks to start from"),
        }
    figures = {"slack": book.slack, "least_key": book.least_key, "start_shift": book.start_shift}
    return {"size": len(book.codes), "tables": tables, "figures": figures if book.blocks else {}}


def _table(ctype: str, name: str, values: npt.NDArray[Any], comment: str) -> Table:
    if ctype in _STRUCTS:
        texts = [_braced(row) for row in values.tolist()]
    else:
        texts = [_literal(number) for number in np.asarray(values).reshape(-1).tolist()]
    return Table(ctype, name, len(texts), _rows(texts, indent=4), comment)


def _braced(values: Any) -> str:
    """A C initialiser of nested lists."""
    return f"{{{', '.join(map(_braced, values))}}}" if isinstance(values, list) else _literal(values)


def _literal(number: int) -> str:
    """INT32_MIN has no literal in C: its digits do not fit int before the sign applies."""
    return "INT32_MIN" if number == -(2**31) else str(number)


def _rows(texts: Iterable[str], indent: int) -> str:
    lines: list[str] = []
    line = ""
    for text in texts:
        item = f"{text}, "
        if line and len(line) + len(item) > _LINE_WIDTH - indent:
            lines.append(line.rstrip())
            line = ""
        line += item
    lines.append(line.rstrip())
    return "\n".join(" " * indent + row for row in lines)
