"""A bundle's codec whose encoder TensorFlow Lite Micro (TFLM) runs: normaliser, codebooks and search stay ours."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from edgecodec.codec.graph import Graph, Op
from edgecodec.compile.render import (
    byte_rows,
    codec_context,
    render_model,
    render_served,
    render_template,
    with_sources,
)

if TYPE_CHECKING:
    from edgecodec.bundle import Bundle
    from edgecodec.compile.plan import Plan

ARENA_ALIGNMENT_BYTES = 16
"""Alignment of arena and model in bytes: what TFLM asks of its buffers."""
_TEMPLATES = {
    "edc_tflm.cc": "edc_tflm.cc.j2",
    "edc_tflm_model.h": "edc_tflm_model.h.j2",
    "edc_tflm_model.c": "edc_tflm_model.c.j2",
}
"""Template of each generated file."""


@dataclass(frozen=True)
class TflmOp:
    """What TFLM calls an op."""

    name: str
    """As in the model file."""
    method: str
    """Method of ``MicroMutableOpResolver`` that adds the op."""
    registration: str
    """Function that gives the kernel: the one for the codec's numerics alone, by which headers of libraries without one
    call the general one."""
    header: str
    """Header in ``tensorflow/lite/micro/kernels`` that declares it."""

    @property
    def code(self) -> str:
        """Enumerator of ``BuiltinOperator``."""
        return f"BuiltinOperator_{self.name}"


_OPS = {
    Op.CONV: TflmOp("CONV_2D", "AddConv2D", "Register_CONV_2D", "conv.h"),
    Op.DEPTHWISE: TflmOp("DEPTHWISE_CONV_2D", "AddDepthwiseConv2D", "Register_DEPTHWISE_CONV_2D", "depthwise_conv.h"),
}
"""With the functions that give kernels for all numerics."""
_MOVES = {
    "PAD": "AddPad",
    "PADV2": "AddPadV2",
    "RESHAPE": "AddReshape",
    "EXPAND_DIMS": "AddExpandDims",
    "SQUEEZE": "AddSqueeze",
}
"""Method of ``MicroMutableOpResolver`` for each of :data:`edgecodec.codec.tflite_reader.MOVING_OPS`."""


def ops_of(graph: Graph) -> tuple[TflmOp, ...]:
    """The ops that a graph uses, each once."""
    used = {layer.op for layer in graph.layers}
    kind = graph.input.numerics.activation.name.upper()
    return tuple(replace(_OPS[op], registration=f"{_OPS[op].registration}_{kind}") for op in Op if op in used)


def moves_of(graph: Graph) -> tuple[str, ...]:
    """Methods of ``MicroMutableOpResolver`` for the ops that only move data, which no layer's figures include."""
    return tuple(_MOVES[op] for op in graph.moves)


def state_bytes(plan: Plan, arena_bytes: int) -> int:
    """RAM of the codec with an arena of ``arena_bytes``: arena, residual, alignment."""
    return aligned(arena_bytes + plan.residual_bytes)


def aligned(count: int) -> int:
    """``count`` rounded up to TFLM's alignment."""
    return -(-count // ARENA_ALIGNMENT_BYTES) * ARENA_ALIGNMENT_BYTES


def tflm_codec_files(bundle: Bundle, plan: Plan, arena_bytes: int) -> dict[str, str]:
    """Every file of the codec, hand-written and generated: path to text.

    ``plan`` is the native one, of which only the codebook search is used; ``arena_bytes`` a multiple of
    :data:`ARENA_ALIGNMENT_BYTES`.
    """
    context = codec_context(bundle, plan) | {
        "activation_bytes": bundle.codec.numerics.activation.itemsize,
        "arena_bytes": arena_bytes,
        "state_bytes": state_bytes(plan, arena_bytes),
        "places": {"input": 0, "latent": 0, "residual": arena_bytes},
        "cascades": [],
        "layers": (),
        "kernel_headers": (),
        "ops": ops_of(bundle.codec.graph),
        "moves": moves_of(bundle.codec.graph),
        "model": {"size": len(bundle.encoder_bytes), "rows": byte_rows(bundle.encoder_bytes)},
    }
    served = render_served(bundle.codec.numerics, packets=bundle.packets() is not None, encoder=False)
    codec = with_sources(render_model(context)) | served
    return {f"codec/{name}": text for name, text in codec.items()} | {
        f"tflm/{name}": render_template(template, **context) for name, template in _TEMPLATES.items()
    }
