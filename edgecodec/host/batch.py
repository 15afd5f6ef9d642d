"""The codec over many frames at once on this machine's vectors: for servers, the same indices as everywhere.

One frame a vector lane (``firmware/host/edc_batch.c``). Every layer is a list of dot products of groups of samples,
four int8 or two int16, with as many weights; the tables that say which are made here.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from queue import Empty, SimpleQueue
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecodec.codec.arrays import Frames, Indices, as_frames
from edgecodec.codec.codec import Codec
from edgecodec.codec.graph import Layer, Op
from edgecodec.codec.numerics import INT8
from edgecodec.codec.stages import Stages
from edgecodec.errors import PlanError
from edgecodec.files.resources import firmware_dir
from edgecodec.host.extension import load_extension
from edgecodec.host.threads import deal, thread_count
from edgecodec.signal.normalize import NORMALIZATIONS

_CDEF = """
#define EDC_BATCH_LANES ...
#define EDC_BATCH_WEIGHT_WORDS ...
#define EDC_BATCH_BLOCK ...
typedef ... edc_lanes;
typedef struct {
  uint64_t epsilon; uint32_t inverse_scale; uint16_t samples; uint8_t variance_shift; uint8_t inverse_shift;
  int8_t zero_point; ...;
} edc_zscore;
typedef struct { int64_t bias; uint32_t steps; uint16_t samples; uint8_t steps_shift; ...; } edc_minmax;
typedef struct { int64_t bias; int32_t gain; uint16_t samples; uint8_t gain_shift; ...; } edc_fixed;
typedef struct {
  const int32_t *weights; const int32_t *offsets; const int32_t *bias; const int32_t *multiplier;
  const int32_t *shift; edc_lanes *in; edc_lanes *out; int32_t blocks; int32_t groups; int32_t step;
  int32_t out_width; int32_t out_channels; int32_t zero_point; int32_t activation_min; int32_t activation_max;
  int32_t gives_groups; edc_lanes *slid; int32_t slid_count; edc_lanes *slid_from; ...;
} edc_batch_layer;
typedef struct { const int32_t *codes; const int32_t *plain; const int32_t *keys; int32_t size; ...; }
  edc_batch_codebook;
typedef struct {
  const edc_zscore *zscore; const edc_minmax *minmax; const edc_fixed *fixed;
  const edc_batch_layer *layers; const edc_batch_codebook *books; int8_t *input; const edc_lanes *latent;
  int32_t is_wide; int32_t layer_count; int32_t level_count; int32_t positions;
  int32_t dimension; int32_t latent_channels; int32_t samples; int32_t input_bytes; int32_t input_pad;
  int32_t input_groups;  int32_t fraction_bits; int32_t zero_point; ...;
} edc_batch_model;
void edc_batch_encode(const edc_batch_model *model, const int16_t *frames, size_t count,
                      uint16_t *indices, int32_t *offsets, uint64_t *spreads);
"""
_MAX_DIMENSION = 512
_FRAMES_A_TASK = 64
_ALIGNMENT_BYTES = 64
_OFFSET = INT8.reach
"""What int8 activations have on top, so that they are unsigned."""
_INT32_LIMIT = 1 << 31
Int32Array = npt.NDArray[np.int32]


class BatchEncoder:
    """Encodes many frames on this machine's vectors, by ``threads`` threads (None for one a CPU).

    The interpreter is free while frames are encoded. Safe for threads that share one. Building takes seconds
    the first time on a machine and is cached. Raises BuildError when there is no compiler or it fails, PlanError
    when the codec cannot be executed exactly in int32, InputError for less than one thread.
    """

    name = "batch"

    def __init__(self, codec: Codec, *, threads: int | None = 1) -> None:
        self._threads = thread_count(threads)
        if codec.rvq.dimension > _MAX_DIMENSION:
            raise PlanError(f"codes have {codec.rvq.dimension} dimensions; the batch encoder takes {_MAX_DIMENSION}")
        self._module = load_extension(_sources(), _CDEF, '#include "edc_batch.h"', native=True)
        self._tables = _Tables(self._module, codec)
        self._shape = codec.shape
        self._idle: SimpleQueue[_Workspace] = SimpleQueue()

    def __repr__(self) -> str:
        return f"BatchEncoder({self.lanes} lanes, {self._threads} thread{'s' if self._threads > 1 else ''})"

    @property
    def lanes(self) -> int:
        """Frames that one vector holds."""
        return int(self._module.lib.EDC_BATCH_LANES)

    def encode(self, frames: Frames) -> Indices:
        """Encode int16 ``[N, T]`` into uint16 ``[N, P, L]``. Raises InputError for another shape or type."""
        return self.stages(frames).indices

    def stages(self, frames: Frames) -> Stages:
        """Encode int16 ``[N, T]`` into indices, offset and spread; inputs and latents are not kept.

        Raises InputError for another shape or type.
        """
        frames = as_frames(frames, self._shape.samples)
        count = len(frames)
        result = Stages.empty(count, self._shape, ("offset", "spread", "indices"))
        deal(lambda part: self._run(frames, result, part), count, _FRAMES_A_TASK, self._threads)
        return result

    def _run(self, frames: Frames, result: Stages, part: slice) -> None:
        try:
            workspace = self._idle.get_nowait()
        except Empty:
            workspace = _Workspace(self._tables)
        ffi = self._module.ffi
        assert result.offset is not None
        assert result.spread is not None
        self._module.lib.edc_batch_encode(
            workspace.model,
            ffi.from_buffer("int16_t[]", frames[part]),
            len(frames[part]),
            ffi.from_buffer("uint16_t[]", result.indices[part]),
            ffi.from_buffer("int32_t[]", result.offset[part]),
            ffi.from_buffer("uint64_t[]", result.spread[part]),
        )
        self._idle.put(workspace)


@dataclass(frozen=True)
class _Source:
    """How a tensor lies in memory for the layer that reads it: rows with padding, elements in groups."""

    rows: int
    channels: int
    pad_left: int
    pad_value: int
    """Of an element, int8's with 128 on top."""
    group: int
    """Elements of a group: four int8, two int16."""

    @property
    def slides(self) -> bool:
        """Whether a group starts at each element, because rows are no whole groups."""
        return self.channels % self.group != 0

    @property
    def elements(self) -> int:
        return self.rows * self.channels

    @property
    def groups(self) -> int:
        return self.elements if self.slides else self.elements // self.group

    @property
    def row_groups(self) -> int:
        return self.channels if self.slides else self.channels // self.group

    def place(self, element: int) -> tuple[int, int]:
        """The group that holds an element, and where in it."""
        return (element, 0) if self.slides else divmod(element, self.group)

    @classmethod
    def of(cls, layer: Layer) -> _Source:
        rows = max((layer.output.width - 1) * layer.stride + layer.kernel, layer.pad_left + layer.input.width)
        if layer.numerics == INT8:
            return cls(rows, layer.input.channels, layer.pad_left, layer.input.zero_point + _OFFSET, 4)
        return cls(rows, layer.input.channels, layer.pad_left, 0, 2)


class _Tables:
    """Constants of a codec as the C wants them, shared by all threads."""

    def __init__(self, module: Any, codec: Codec) -> None:
        self.module = module
        self.codec = codec
        self.is_wide = codec.numerics != INT8
        self.layers = codec.graph.layers
        self.sources = [_Source.of(layer) for layer in self.layers]
        self.layer_tables = [
            self._layer(layer, source) for layer, source in zip(self.layers, self.sources, strict=True)
        ]
        self.books = [self._book(level) for level in range(codec.levels)]

    @cached_property
    def normalizer(self) -> Any:
        constants = self.codec.normalizer
        return self.module.ffi.new(f"edc_{constants.kind} *", dict(constants.fields))

    def _layer(self, layer: Layer, source: _Source) -> dict[str, Int32Array]:
        block = int(self.module.lib.EDC_BATCH_BLOCK)
        channels = _group_weights(layer, source)
        blocks = [channels[start : start + block] for start in range(0, len(channels), block)]
        offsets = [sorted(set().union(*of_block)) for of_block in blocks]
        longest = max(map(len, offsets))
        weights = np.zeros((len(blocks), longest, block, source.group), np.int8)
        for index, (of_block, places) in enumerate(zip(blocks, offsets, strict=True)):
            for channel, of_channel in enumerate(of_block):
                for at, place in enumerate(places):
                    weights[index, at, channel] = of_channel.get(place, 0)
        constants = _wide_requantization(layer) if self.is_wide else _requantization(layer)
        padding = len(blocks) * block - len(channels)
        return {
            "weights": self._words(weights),
            "offsets": np.array([places + [0] * (longest - len(places)) for places in offsets], np.int32),
        } | {name: np.pad(values, (0, padding)).astype(np.int32) for name, values in constants.items()}

    def _words(self, weights: npt.NDArray[np.int8]) -> Int32Array:
        """Groups of two ``[..., 2]`` as a word each, of four ``[..., 4]`` as ``EDC_BATCH_WEIGHT_WORDS``."""
        if self.is_wide:
            return weights.astype(np.int16).view(np.int32)
        if self.module.lib.EDC_BATCH_WEIGHT_WORDS == 1:
            return np.ascontiguousarray(weights).view(np.int32)
        pairs = np.stack([weights[..., 0::2], weights[..., 1::2]], axis=-2).astype(np.int16)
        return np.ascontiguousarray(pairs).view(np.int32)

    def _book(self, level: int) -> dict[str, Int32Array]:
        book = self.codec.rvq.codebooks[level].astype(np.int64)
        if np.abs(2 * book).max() > 32767:
            raise PlanError(f"codebook level_{level} has entries beyond 16383, which the batch encoder cannot double")
        even = np.pad(book, ((0, 0), (0, book.shape[1] % 2)))
        return {
            "codes": np.ascontiguousarray((-2 * even).astype(np.int16)).view(np.int32),
            "plain": np.ascontiguousarray(even.astype(np.int16)).view(np.int32),
            "keys": self.codec.rvq.keys(level),
        }


def _requantization(layer: Layer) -> dict[str, npt.NDArray[np.integer[Any]]]:
    """Constants ``[out]`` of int8 activations, of which the input's are 128 too large."""
    sums = layer.weights.astype(np.int64).sum(axis=(1, 2) if layer.op is Op.CONV else 0)
    shift = np.where(layer.multiplier == 0, 0, layer.shift)
    return {"bias": layer.folded_bias - _OFFSET * sums, "multiplier": layer.multiplier, "shift": shift}


def _wide_requantization(layer: Layer) -> dict[str, npt.NDArray[np.integer[Any]]]:
    """Constants ``[out]`` of int16 activations. Raises PlanError when a sum may leave int32."""
    if layer.accumulator_bound >= _INT32_LIMIT:
        raise PlanError(
            f"{layer.op} '{layer.name}': sums may reach {layer.accumulator_bound}; the batch encoder has int32"
        )
    return {"bias": layer.folded_bias, "multiplier": layer.reduced_multiplier, "shift": layer.total_shift}


def _group_weights(layer: Layer, source: _Source) -> list[dict[int, npt.NDArray[np.int8]]]:
    """For each output channel, its weights by their group, counted from a position's first."""
    found: list[dict[int, npt.NDArray[np.int8]]] = []
    for channel in range(layer.output.channels):
        if layer.op is Op.CONV:
            flat = layer.weights[channel].reshape(-1)
            flat = np.pad(flat, (0, -len(flat) % source.group)).reshape(-1, source.group)
            step = source.group if source.slides else 1
            found.append({step * index: group for index, group in enumerate(flat)})
            continue
        groups: dict[int, npt.NDArray[np.int8]] = {}
        for tap in range(layer.kernel):
            index, place = source.place(tap * source.channels + channel // layer.depth_multiplier)
            groups.setdefault(index, np.zeros(source.group, np.int8))[place] = layer.weights[tap, channel]
        found.append(groups)
    return found


class _Workspace:
    """The memory of one thread, and the C structures that lead to it."""

    def __init__(self, tables: _Tables) -> None:
        self._ffi: Any = tables.module.ffi
        self._lane_bytes = 4 * int(tables.module.lib.EDC_BATCH_LANES)
        self._kept: list[Any] = [tables]
        codec, sources = tables.codec, tables.sources
        groups = [self._vectors(source.groups, 0x01010101 * source.pad_value) for source in sources]
        latent = self._vectors(codec.positions * codec.rvq.dimension, 0)
        layers = self._keep(self._ffi.new("edc_batch_layer[]", len(sources)))
        for index, layer in enumerate(tables.layers):
            fields = self._pointers(tables.layer_tables[index]) | _sizes(layer, sources[index])
            if index + 1 == len(sources):
                fields |= {"out": self._lanes_at(latent)}
            else:
                fields |= self._target(sources[index + 1], groups[index + 1])
            fields |= {"in": self._lanes_at(groups[index]), "blocks": len(tables.layer_tables[index]["offsets"])}
            fields["groups"] = tables.layer_tables[index]["offsets"].shape[1]
            for name, value in fields.items():
                setattr(layers[index], name, value)
        books = self._keep(self._ffi.new("edc_batch_codebook[]", codec.levels))
        for book, arrays in zip(books, tables.books, strict=True):
            for name, value in self._pointers(arrays).items():
                setattr(book, name, value)
            book.size = len(arrays["keys"])
        first = sources[0]
        padded = np.full(
            (self._lane_bytes // 4, first.elements + first.group - 1),
            codec.graph.input.zero_point,
            codec.numerics.activation,
        )
        element_bytes = padded.itemsize
        self.model = self._ffi.new(
            "edc_batch_model *",
            {
                codec.normalizer.kind: tables.normalizer,
                "layers": layers,
                "books": books,
                "input": self._keep(self._ffi.from_buffer("int8_t[]", padded.view(np.int8))),
                "latent": self._lanes_at(latent),
                "is_wide": int(tables.is_wide),
                "layer_count": len(sources),
                "level_count": codec.levels,
                "positions": codec.positions,
                "dimension": codec.rvq.dimension + codec.rvq.dimension % 2,
                "latent_channels": codec.rvq.dimension,
                "samples": codec.samples,
                "input_bytes": padded.shape[1] * element_bytes,
                "input_pad": first.pad_left * element_bytes,
                "input_groups": first.elements,
                "fraction_bits": codec.rvq.fraction_bits,
                "zero_point": codec.rvq.latent_zero_point,
            },
        )

    def _target(self, source: _Source, groups: int) -> dict[str, Any]:
        """Where a layer writes, for the next one, which reads ``source`` at the address ``groups``."""
        if not source.slides:
            first = groups + source.pad_left * source.row_groups * self._lane_bytes
            return {"out": self._lanes_at(first), "gives_groups": 1}
        elements = self._vectors(source.elements + 3, source.pad_value)
        return {
            "out": self._lanes_at(elements + source.pad_left * source.channels * self._lane_bytes),
            "slid": self._lanes_at(groups),
            "slid_from": self._lanes_at(elements),
            "slid_count": source.elements,
        }

    def _vectors(self, count: int, value: int) -> int:
        """Address of ``count`` vectors with ``value`` in every lane."""
        memory = np.empty(count * self._lane_bytes + _ALIGNMENT_BYTES, np.uint8)
        address = int(self._ffi.cast("uintptr_t", self._keep(self._ffi.from_buffer(memory))))
        skipped = -address % _ALIGNMENT_BYTES
        memory[skipped : skipped + count * self._lane_bytes].view(np.uint32)[:] = value
        return address + skipped

    def _lanes_at(self, address: int) -> Any:
        return self._ffi.cast("edc_lanes *", address)

    def _pointers(self, arrays: dict[str, Int32Array]) -> dict[str, Any]:
        return {name: self._keep(self._ffi.from_buffer("int32_t[]", array)) for name, array in arrays.items()}

    def _keep(self, thing: Any) -> Any:
        """C knows addresses only: what they lead to must live as long as this."""
        self._kept.append(thing)
        return thing


def _sizes(layer: Layer, source: _Source) -> dict[str, int]:
    return {
        "step": layer.stride * source.row_groups,
        "out_width": layer.output.width,
        "out_channels": layer.output.channels,
        "zero_point": layer.output.zero_point,
        "activation_min": layer.activation_min,
        "activation_max": layer.activation_max,
    }


def _sources() -> dict[str, str]:
    root = firmware_dir()
    paths = [*(root / "host").glob("edc_batch.[ch]"), root / "codec" / "edc.h", root / "codec" / "edc_config.h"]
    kinds = [f"{kind}{suffix}" for kind in NORMALIZATIONS for suffix in ("", "16", "_frame")]
    for name in ("activation", "divide", *kinds):
        paths += (root / "codec").glob(f"edc_{name}.[ch]")
    return {path.name: path.read_text(encoding="utf-8") for path in sorted(paths)}
