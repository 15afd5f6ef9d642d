"""What a bundle is, in figures: the document of ``edgecodec inspect``."""

from __future__ import annotations

from typing import Any

from edgecodec.bundle import Bundle
from edgecodec.codec.rvq import IntegerRvq
from edgecodec.compile.codebook_search import pack_codebook
from edgecodec.compile.plan import Plan, Step, make_plan
from edgecodec.compile.target import DEFAULT_TARGET, Target

RAW_BITS_PER_SAMPLE = 16
"""What the compression ratio is measured against: int16 ADC counts."""

_NORM_BYTES = 4
_CODE_ENTRY_BYTES = 2


def summarize(bundle: Bundle, target: Target = DEFAULT_TARGET) -> dict[str, Any]:
    """Return shapes, quantisation, layers, rates, memory plan, table sizes and provenance of ``bundle``.

    ``target`` chooses the kernels. The result is a JSON document. ``flash`` counts the constant tables only;
    ``build-firmware`` measures the whole. Raises PlanError when the codec cannot be executed exactly.
    """
    manifest, codec = bundle.manifest, bundle.codec
    plan = make_plan(codec, target)
    layers = [_layer(step) for step in plan.steps]
    raw_bits = RAW_BITS_PER_SAMPLE * codec.samples
    flash = {
        "encoder_bytes": sum(step.table_bytes for step in plan.steps),
        "codebook_bytes": _codebook_table_bytes(codec.rvq, plan),
    }
    return {
        "path": str(bundle.path),
        "name": manifest.name,
        "bundle_digest": bundle.digest,
        "version": manifest.version,
        "numerics": manifest.numerics,
        "frame": {"samples": codec.samples, "rate_hz": manifest.frame.rate_hz, "seconds": _seconds(bundle)},
        "normalizer": {"kind": manifest.normalizer.kind, "epsilon": manifest.normalizer.epsilon},
        "input": {"shape": [codec.samples], "scale": manifest.input.scale, "zero_point": manifest.input.zero_point},
        "latent": {
            "shape": [codec.positions, manifest.latent.channels],
            "scale": manifest.latent.scale,
            "zero_point": manifest.latent.zero_point,
        },
        "layers": layers,
        "parameters": sum(layer["parameters"] for layer in layers),
        "macs": codec.graph.macs,
        "rvq": {
            "codebook_sizes": list(codec.rvq.codebook_sizes),
            "dimension": codec.rvq.dimension,
            "fraction_bits": codec.rvq.fraction_bits,
            "macs": codec.positions * codec.rvq.dimension * sum(codec.rvq.codebook_sizes),
        },
        "rate": {
            "nominal_bits_per_frame": codec.bits_per_frame,
            "raw_bits_per_frame": raw_bits,
            "compression_ratio": raw_bits / codec.bits_per_frame,
        },
        "plan": _plan(plan),
        "flash": flash | {"table_bytes": sum(flash.values())},
        "files": {name: info.bytes for name, info in sorted(manifest.files.items())},
        "provenance": manifest.provenance,
    }


def _seconds(bundle: Bundle) -> float | None:
    rate_hz = bundle.manifest.frame.rate_hz
    return None if rate_hz is None else bundle.codec.samples / rate_hz


def _layer(step: Step) -> dict[str, Any]:
    layer = step.layer
    return {
        "name": layer.name,
        "op": str(layer.op),
        "input": [layer.input.width, layer.input.channels],
        "output": [layer.output.width, layer.output.channels],
        "kernel": layer.kernel,
        "stride": layer.stride,
        "padding": layer.padding,
        "activation": layer.activation,
        "macs": layer.macs,
        "parameters": int(layer.weights.size + layer.bias.size),
        "c_kernel": str(step.kernel),
        "c_kernel_reason": step.choice.reason,
        "chunk": step.stripe,
        "table_bytes": step.table_bytes,
    }


def _codebook_table_bytes(rvq: IntegerRvq, plan: Plan) -> int:
    return sum(pack_codebook(rvq, level, found, plan.search).table_bytes for level, found in enumerate(plan.codebooks))


def _plan(plan: Plan) -> dict[str, Any]:
    return {
        "optimize": str(plan.target.optimize),
        "arena_bytes": plan.arena_bytes,
        "scratch_bytes": plan.scratch_bytes,
        "chain": None if plan.cascade is None else list(plan.cascade.layers),
        "residual_bytes": plan.residual_bytes,
        "state_bytes": plan.state_bytes,
        "buffers": [
            {
                "tensor": buffer.tensor,
                "offset_bytes": buffer.offset_bytes,
                "size_bytes": buffer.size_bytes,
                "rows": buffer.rows,
                "first_step": buffer.first_step,
                "last_step": buffer.last_step,
            }
            for buffer in plan.buffers
        ],
    }
