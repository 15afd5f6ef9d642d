"""Print a planned codec as C through the Jinja templates, which calculate nothing."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2

from edgecodec._version import __version__
from edgecodec.codec.numerics import Numerics
from edgecodec.compile.cascade import Cascade, schedule_fields
from edgecodec.compile.codebook_search import pack_codebook
from edgecodec.compile.index_tables import packet_context
from edgecodec.compile.plan import Plan, Step
from edgecodec.compile.tables import Constants, Table, number_rows, printed
from edgecodec.entropy.packet import PacketFormat
from edgecodec.errors import InputError
from edgecodec.files.escape import FILTERS, c_string, checked
from edgecodec.files.resources import firmware_dir, templates_dir

if TYPE_CHECKING:
    from edgecodec.bundle import Bundle

LICENSE = "Apache-2.0"
"""SPDX identifier of what is generated and of the C beside it."""
PACKETS_ALONE = ("edc_packet_model.h", "edc_packet_model.c")
"""What :func:`render_packets` prints."""
DEFAULT_PREFIX = "ppg"
"""First part of the names of a generated model."""
_PREFIX = re.compile(r"[a-z][a-z0-9_]{0,31}")
_INCLUDE = re.compile(r'^#include "([^"]+)"', re.MULTILINE)


def render_template(name: str, **context: object) -> str:
    """Print ``templates/<name>`` with ``context``.

    An undefined name is an error (jinja2.UndefinedError), and so is a text that is printed unescaped (ValueError).
    """
    return _environment().get_template(name).render(**context)


def render_codec(bundle: Bundle, plan: Plan, prefix: str = DEFAULT_PREFIX) -> dict[str, str]:
    """The generated C of a bundle, ``<prefix>_model.c`` and ``.h``: the same bytes for the same bundle.

    Raises InputError for a prefix that starts no C name of its own.
    """
    return render_model(codec_context(bundle, plan, prefix))


def render_model(context: Mapping[str, Any]) -> dict[str, str]:
    """``<prefix>_model.c`` and ``.h`` of what :func:`codec_context` returns: file name to text."""
    return {f"{context['symbol']}.{kind}": render_template(f"model.{kind}.j2", **context) for kind in ("c", "h")}


def render_served(
    numerics: Numerics, prefix: str = DEFAULT_PREFIX, *, packets: bool = False, encoder: bool = True
) -> dict[str, str]:
    """The header by which the serial link knows the model of ``prefix`` and whether it has packets: name to text.

    ``encoder`` says whether a model with packets also has encoder objects, as those of other engines have not.
    """
    header = render_template(
        "served_model.h.j2",
        version=__version__,
        activation_bytes=numerics.activation.itemsize,
        packets=packets,
        encoder=encoder,
        **_names(prefix),
    )
    return {"edc_served_model.h": header}


def render_packets(packets: PacketFormat) -> dict[str, str]:
    """The C of a packet format without a codec: file name to text, the same bytes for the same format.

    It defines ``edc_packet_model``, an ``edc_packet_format``, the words of state that its model needs, and the bytes of
    the longest packet.
    """
    context = {"version": __version__, "digest": packets.digest, "packets": packet_context(packets)}
    return {name: render_template(f"{name}.j2", **context) for name in PACKETS_ALONE}


def packet_files(packets: PacketFormat) -> dict[str, str]:
    """Every C file of a packet format without a codec, hand-written and generated: file name to text."""
    return with_sources(render_packets(packets))


def with_sources(generated: Mapping[str, str]) -> dict[str, str]:
    """``generated`` C, with the hand-written headers that it includes, those that they do, and their sources.

    File name to text. What a model does not use is left out.
    """
    texts = {source.name: source.read_text(encoding="utf-8") for source in codec_sources()} | dict(generated)
    found: dict[str, str] = {}
    pending = set(generated)
    while pending:
        name = pending.pop()
        found[name] = texts[name]
        near = {*_INCLUDE.findall(texts[name]), name.replace(".h", ".c")}
        pending |= (near & texts.keys()) - found.keys()
    return dict(sorted(found.items()))


def codec_sources() -> list[Path]:
    """The hand-written C sources and headers of the codec, sorted by name."""
    folder = firmware_dir() / "codec"
    return sorted([*folder.glob("*.c"), *folder.glob("*.h")])


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(templates_dir()),
        # Escaping of markup is wrong for C; what is printed here is no page.
        autoescape=False,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=_printed,
    )
    environment.filters.update(FILTERS)
    return environment


@jinja2.pass_eval_context
def _printed(context: jinja2.nodes.EvalContext, value: object) -> object:
    """What a template prints, looked at on its way; the report's own escaping is Jinja's."""
    return value if context.autoescape else checked(value)


def byte_rows(data: bytes) -> str:
    """``data`` as the rows of a C array."""
    return number_rows(f"0x{byte:02x}" for byte in data)


def check_prefix(prefix: str) -> None:
    """Raise InputError for a prefix that starts no C name of its own."""
    if not _PREFIX.fullmatch(prefix) or prefix == "edc" or prefix.startswith("edc_"):
        raise InputError(
            f"prefix {prefix!r}; expected at most 32 small letters, digits and _, and not to start with edc"
        )


def _names(prefix: str) -> dict[str, str]:
    check_prefix(prefix)
    return {"prefix": prefix, "symbol": f"{prefix}_model", "macro": f"{prefix.upper()}_MODEL"}


def codec_context(bundle: Bundle, plan: Plan, prefix: str = DEFAULT_PREFIX) -> dict[str, Any]:
    """What the templates of a codec are told. Raises InputError for a prefix that starts no C name of its own."""
    manifest = bundle.manifest
    major, minor, _patch = __version__.split(".")
    layers = [_layer(index, step, plan) for index, step in enumerate(plan.steps)]
    sizes = bundle.codec.rvq.codebook_sizes
    chain = {"edc_chain.h"} if plan.cascades else set()
    packets = bundle.packets()
    return _names(prefix) | {
        "license": LICENSE,
        "title": c_string(bundle.name),
        "rate_mhz": round(1000 * (bundle.rate_hz or 0)),
        "codebook_sizes": sizes,
        "index_bits": [max(1, (size - 1).bit_length()) for size in sizes],
        "around_headers": (f"{bundle.codec.normalizer.function}.h", plan.search.header),
        "kernel_headers": sorted(chain | {step.kernel.header for step in plan.steps}),
        "packets": None if packets is None else packet_context(packets, "bits"),
        "places": {
            "input": plan.buffers[0].offset_bytes,
            "latent": plan.buffers[-1].offset_bytes,
            "residual": plan.residual_offset_bytes,
        },
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
        "normalizer": bundle.codec.normalizer,
        "latent_bytes": bundle.codec.graph.latent.row_bytes,
        "layer_count": len(plan.steps),
        "layers": layers,
        "cascades": [_cascade(plan, cascade, layers) for cascade in plan.cascades],
        "rows_offset_bytes": plan.rows_offset_bytes,
        "codebooks": [_codebook(bundle, plan, level) for level in range(bundle.codec.levels)],
        "search": plan.search,
        "looks": plan.looks,
        "rvq_fields": plan.search.fields(bundle.codec.rvq),
        "blob": None,
        "all_kernels": False,
    }


def _cascade(plan: Plan, cascade: Cascade, layers: list[dict[str, Any]]) -> dict[str, Any]:
    members = []
    for index, stripe in zip(cascade.layers, cascade.stripes, strict=True):
        step = plan.steps[index]
        fields = schedule_fields(step.packed, step.source.offset_bytes, stripe)
        members.append(layers[index] | {"schedule_fields": fields})
    return {"first": cascade.first, "last": cascade.last, "members": members}


def _layer(index: int, step: Step, plan: Plan) -> dict[str, Any]:
    return {
        "id": f"layer{index}",
        "index": index,
        "layer": step.layer,
        "step": step,
        "scratch": plan.scratch_offset_bytes + step.scratch_offset_bytes,
    } | _constants(f"edc_layer{index}", step.packed)


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
