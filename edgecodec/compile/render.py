"""Print a planned codec as C through the Jinja templates, which calculate nothing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
import numpy as np

from edgecodec._version import __version__
from edgecodec.compile.cascade import Cascade, schedule_fields
from edgecodec.compile.codebook_search import Search, pack_codebook
from edgecodec.compile.plan import Plan, Step
from edgecodec.compile.tables import Constants, Table
from edgecodec.files.resources import firmware_dir, templates_dir

if TYPE_CHECKING:
    from edgecodec.bundle import Bundle

_LINE_WIDTH = 96
GENERATED = ("edc_model.h", "edc_model.c", "edc_model_weights.h", "edc_model_codebooks.h")


@dataclass(frozen=True)
class PrintedTable:
    """A constant C array, as its declaration's parts."""

    ctype: str
    """C type of an element."""
    name: str
    """Name of the array."""
    size: int
    """Elements."""
    rows: str
    """The initialiser's lines, indented."""
    comment: str
    """Layout and meaning."""


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
        "cascade": None if plan.cascade is None else _cascade(plan, plan.cascade, layers),
        "codebooks": [_codebook(bundle, plan, level) for level in range(bundle.codec.levels)],
        "search": plan.search,
        "looks": plan.looks,
        "vector_search": plan.search is Search.MVE,
        "residual_entries": plan.residual_bytes // 2,
        "kernel_headers": sorted({step.kernel.header for step in plan.steps}),
        "table_headers": sorted({step.kernel.header for step in plan.steps if _has_structures(step)}),
        "scratch_words": plan.scratch_bytes // 4,
    }


def _cascade(plan: Plan, cascade: Cascade, layers: list[dict[str, Any]]) -> dict[str, Any]:
    members = []
    for index, stripe in zip(cascade.layers, cascade.stripes, strict=True):
        step = plan.steps[index]
        fields = schedule_fields(step.packed, step.source.offset_bytes, stripe)
        members.append(layers[index] | {"schedule_fields": fields})
    return {"first": cascade.first, "last": cascade.last, "members": members}


def _layer(index: int, step: Step) -> dict[str, Any]:
    scratch = f"state->scratch + {step.scratch_offset_bytes // 4}" if step.scratch_offset_bytes else "state->scratch"
    return {
        "id": f"layer{index}",
        "index": index,
        "layer": step.layer,
        "step": step,
        "scratch_argument": f", {scratch}" if step.kernel.takes_scratch else "",
    } | _constants(f"edc_layer{index}", step.packed)


def _has_structures(step: Step) -> bool:
    """Whether a step's tables have rows of a type that the kernel's header declares."""
    return any(table.struct for table in step.packed.tables)


def _codebook(bundle: Bundle, plan: Plan, level: int) -> dict[str, Any]:
    packed = pack_codebook(bundle.codec.rvq, level, plan.codebooks[level], plan.search)
    return _constants(f"edc_codebook{level}", packed)


def _constants(name: str, constants: Constants) -> dict[str, Any]:
    """Members and arrays of a structure, whose arrays are called ``name`` and their own name."""
    fields = {
        field: f"{name}_{value.name}" if isinstance(value, Table) else value
        for field, value in constants.fields.items()
    }
    return {"fields": fields, "tables": [printed(name, table) for table in constants.tables]}


def printed(owner: str, table: Table) -> PrintedTable:
    """A table of ``owner``, the first part of its C name."""
    rows = table.values if table.struct else table.values.reshape(-1)
    texts = [_braced(row) for row in rows.tolist()]
    return PrintedTable(table.ctype, f"{owner}_{table.name}", len(texts), _rows(texts, indent=4), table.comment)


def _braced(values: Any) -> str:
    """A C initialiser of a number, or of a structure or array as nested tuples and lists."""
    if isinstance(values, list | tuple | np.ndarray):
        return f"{{{', '.join(map(_braced, values))}}}"
    return _literal(int(values))


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
