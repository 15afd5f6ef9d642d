"""What a bundle is, in figures: the document of ``edgecodec inspect``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgecodec.bundle import Bundle
from edgecodec.codec.graph import Op
from edgecodec.compile.codebook_search import pack_codebook
from edgecodec.compile.plan import Buffer, LongestCall, Plan, Step, make_plan
from edgecodec.compile.search_bound import SearchBound, bound_search
from edgecodec.compile.target import DEFAULT_TARGET, Optimize, Target
from edgecodec.documents import Document
from edgecodec.signal.normalize import Normalization

RAW_BITS_PER_SAMPLE = 16
"""What the compression ratio is measured against: int16 ADC counts."""


@dataclass(frozen=True)
class InspectedFrame:
    """A frame of ADC counts."""

    samples: int
    """ADC counts of a frame."""
    rate_hz: float | None
    """Sampling rate in Hz; null when the bundle does not say."""
    seconds: float | None
    """Duration of a frame in seconds; null when the bundle does not say the rate."""


@dataclass(frozen=True)
class InspectedNormalizer:
    """The normaliser before the encoder."""

    kind: str
    """Kind of normalisation (SPEC.md 1.1): ``zscore``, ``minmax`` or ``fixed``."""
    parameters: Mapping[str, float]
    """Its constants, as the manifest has them: ``epsilon``; ``low`` and ``high``; ``offset`` and ``scale``."""
    formula: str
    """What it does to a frame."""

    @classmethod
    def of(cls, normalization: Normalization) -> InspectedNormalizer:
        """Describe ``normalization``."""
        return cls(normalization.kind, asdict(normalization), str(normalization))


@dataclass(frozen=True)
class InspectedTensor:
    """A tensor of activations whose real values are ``scale (q - zero_point)``."""

    shape: tuple[int, ...]
    """Elements along each axis: positions, then channels if it has more than one."""
    scale: float
    """Real value of a step."""
    zero_point: int
    """The integer that stands for 0."""


@dataclass(frozen=True)
class InspectedLayer:
    """A layer of the encoder and how it runs."""

    name: str
    """Name in the model file."""
    op: Op
    """TFLite op of the layer."""
    input: tuple[int, int]
    """Positions and channels of the input."""
    output: tuple[int, int]
    """Positions and channels of the output."""
    kernel: int
    """Taps along the positions."""
    stride: int
    """Input positions from one output position to the next."""
    padding: str
    """``SAME``, ``VALID``, or ``PAD`` where an op before the layer pads."""
    activation: str
    """``NONE``, ``RELU`` or ``RELU6``."""
    macs: int
    """Multiply-accumulates of a frame, padding taps counted."""
    parameters: int
    """Weights and biases."""
    c_kernel: str
    """C function that runs the layer."""
    c_kernel_reason: str
    """Why that function was chosen, or why no faster one was."""
    stripe: int | None
    """Positions at a time, at most, where the layer runs in stripes; null where it runs whole."""
    table_bytes: int
    """Flash of the layer's constants."""

    @classmethod
    def of(cls, step: Step) -> InspectedLayer:
        """What a plan's step runs."""
        layer = step.layer
        return cls(
            name=layer.name,
            op=layer.op,
            input=(layer.input.width, layer.input.channels),
            output=(layer.output.width, layer.output.channels),
            kernel=layer.kernel,
            stride=layer.stride,
            padding=layer.padding,
            activation=layer.activation,
            macs=layer.macs,
            parameters=layer.weights.size + layer.bias.size,
            c_kernel=str(step.kernel),
            c_kernel_reason=step.choice.reason,
            stripe=step.stripe,
            table_bytes=step.table_bytes,
        )


@dataclass(frozen=True)
class InspectedQuantizer:
    """The residual vector quantiser."""

    codebook_sizes: tuple[int, ...]
    """Codes of each level."""
    dimension: int
    """Entries of a code."""
    fraction_bits: int
    """Bits of the codes' entries below a step of the latent."""
    macs: int
    """Multiply-accumulates of a frame when each code is looked at."""
    search: str
    """C function that searches the codebooks."""
    bound: SearchBound
    """The most that the search of a frame takes, whatever the latent is."""


@dataclass(frozen=True)
class InspectedRate:
    """Bits of a frame before any entropy coding."""

    nominal_bits_per_frame: int
    """Bits of a frame's indices, each in as many whole bits as its codebook needs."""
    raw_bits_per_frame: int
    """Bits of a frame's ADC counts, 16 each."""
    compression_ratio: float
    """Raw bits a nominal bit."""


@dataclass(frozen=True)
class InspectedBuffer:
    """The place of a tensor in the arena."""

    tensor: str
    """Name of the tensor."""
    offset_bytes: int
    """Where it starts in the arena, in bytes."""
    size_bytes: int
    """Bytes of the rows that exist at a time."""
    rows: int
    """Rows that exist at a time, at most."""
    first_step: int
    """Step that makes it: 0 is the normaliser, n the n-th layer."""
    last_step: int
    """Last step that reads it: n is the n-th layer, one more than all layers the quantiser."""

    @classmethod
    def of(cls, buffer: Buffer) -> InspectedBuffer:
        """What a plan's buffer is."""
        return cls(
            tensor=buffer.tensor,
            offset_bytes=buffer.offset_bytes,
            size_bytes=buffer.size_bytes,
            rows=buffer.rows,
            first_step=buffer.first_step,
            last_step=buffer.last_step,
        )


@dataclass(frozen=True)
class InspectedPlan:
    """Memory of the codec on the core."""

    optimize: Optimize
    """The goal that kernels were chosen for."""
    arena_bytes: int
    """RAM of the tensors."""
    scratch_bytes: int
    """RAM that the kernels work in, shared by all."""
    cascade: tuple[int, ...] | None
    """Layers in a row whose stripes take turns, counted from 0; null when none do."""
    residual_bytes: int
    """RAM of the codebook search."""
    state_bytes: int
    """RAM of the codec: arena, scratch, residual, and how far a cascade is."""
    longest_call: LongestCall | None
    """The call of a kernel that takes the most instructions; null without layers."""
    buffers: tuple[InspectedBuffer, ...]
    """Places of the tensors in the arena, in the order in which they are made."""

    @classmethod
    def of(cls, plan: Plan) -> InspectedPlan:
        """The memory of ``plan``."""
        return cls(
            optimize=plan.target.optimize,
            arena_bytes=plan.arena_bytes,
            scratch_bytes=plan.scratch_bytes,
            cascade=None if plan.cascade is None else tuple(plan.cascade.layers),
            residual_bytes=plan.residual_bytes,
            state_bytes=plan.state_bytes,
            longest_call=plan.longest_call,
            buffers=tuple(InspectedBuffer.of(buffer) for buffer in plan.buffers),
        )


@dataclass(frozen=True)
class InspectedFlash:
    """Constant tables of the codec; ``build-firmware`` measures the whole."""

    encoder_bytes: int
    """Flash of the layers' constants."""
    codebook_bytes: int
    """Flash of the codebooks, with what the search sorts them by."""
    table_bytes: int
    """Flash of both."""


@dataclass(frozen=True)
class InspectDocument(Document):
    """A bundle in figures: shapes, quantisation, layers, rates, memory plan, table sizes and provenance."""

    SCHEMA = "edgecodec.inspect"

    path: Path
    """Folder of the bundle."""
    name: str
    """Name of the bundle."""
    bundle_digest: str
    """SHA-256 of the bundle's manifest, in hexadecimal digits."""
    version: int
    """Version of the bundle's format."""
    numerics: str
    """Arithmetic of the codec, such as ``edgecodec.int8.v1``."""
    frame: InspectedFrame
    """What is encoded at a time."""
    normalizer: InspectedNormalizer
    """What frames are normalised by."""
    input: InspectedTensor
    """The encoder's input."""
    latent: InspectedTensor
    """The encoder's output."""
    layers: tuple[InspectedLayer, ...]
    """The encoder's layers in order."""
    parameters: int
    """Weights and biases of the encoder."""
    macs: int
    """Multiply-accumulates of the encoder for a frame."""
    rvq: InspectedQuantizer
    """The residual vector quantiser."""
    rate: InspectedRate
    """Bits of a frame."""
    plan: InspectedPlan
    """Memory of the codec."""
    flash: InspectedFlash
    """Constant tables of the codec."""
    files: Mapping[str, int]
    """Bytes of each file of the bundle, by name."""
    provenance: Mapping[str, Any]
    """Where the bundle comes from, as ``quantize`` wrote it: versions, sources, figures."""


def summarize(bundle: Bundle, target: Target = DEFAULT_TARGET, *, is_for_core: bool = False) -> InspectDocument:
    """Look at ``bundle`` with the kernels for ``target``, which is that of a core with ``is_for_core``.

    Raises PlanError when a layer cannot be executed exactly.
    """
    manifest, codec = bundle.manifest, bundle.codec
    rate_hz = manifest.frame.rate_hz
    plan = make_plan(codec, target)
    layers = tuple(InspectedLayer.of(step) for step in plan.steps)
    raw_bits = RAW_BITS_PER_SAMPLE * codec.samples
    encoder_bytes = sum(layer.table_bytes for layer in layers)
    codebook_bytes = sum(
        pack_codebook(codec.rvq, level, found, plan.search).table_bytes for level, found in enumerate(plan.codebooks)
    )
    return InspectDocument(
        path=bundle.path,
        name=manifest.name,
        bundle_digest=bundle.digest,
        version=manifest.version,
        numerics=manifest.numerics,
        frame=InspectedFrame(codec.samples, rate_hz, None if rate_hz is None else codec.samples / rate_hz),
        normalizer=InspectedNormalizer.of(manifest.normalizer),
        input=InspectedTensor((codec.samples,), manifest.input.scale, manifest.input.zero_point),
        latent=InspectedTensor(
            (codec.positions, manifest.latent.channels), manifest.latent.scale, manifest.latent.zero_point
        ),
        layers=layers,
        parameters=sum(layer.parameters for layer in layers),
        macs=codec.graph.macs,
        rvq=InspectedQuantizer(
            codebook_sizes=tuple(codec.rvq.codebook_sizes),
            dimension=codec.rvq.dimension,
            fraction_bits=codec.rvq.fraction_bits,
            macs=codec.positions * codec.rvq.dimension * sum(codec.rvq.codebook_sizes),
            search=str(plan.search),
            bound=bound_search(codec, plan, is_for_core=is_for_core),
        ),
        rate=InspectedRate(codec.bits_per_frame, raw_bits, raw_bits / codec.bits_per_frame),
        plan=InspectedPlan.of(plan),
        flash=InspectedFlash(encoder_bytes, codebook_bytes, encoder_bytes + codebook_bytes),
        files={name: info.bytes for name, info in sorted(manifest.files.items())},
        provenance=manifest.provenance,
    )
