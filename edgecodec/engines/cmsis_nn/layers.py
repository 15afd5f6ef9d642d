"""C of an encoder whose layers are calls of CMSIS-NN's kernels.

Parameters are those of ``arm_convolve_wrapper_s8`` and ``arm_depthwise_conv_wrapper_s8`` (``arm_nnfunctions.h`` of
CMSIS-NN v4.0.0); the shapes are of height 1.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from edgecodec.codec.graph import Graph, Layer, Op

_MVE_DEPTHWISE_BYTES = 4 * 124
"""Bytes of scratch for each tap: CH_IN_BLOCK_MVE of CMSIS-NN, four positions."""


def layers_source(graph: Graph, *, vectors: bool) -> str:
    """C of ``edc_next_cmsis_nn``, the ``edc_next_function`` of an encoder.

    ``vectors`` says that the core has the M-profile Vector Extension, for which some kernels want more scratch memory.
    """
    layers = graph.layers
    # Tensors between layers are by turns in two places; the state's arena may hold none of them whole.
    places = [max((layer.output.size_bytes for layer in layers[turn:-1:2]), default=4) for turn in (0, 1)]
    scratch = max(_scratch_bytes(layer, vectors) for layer in layers)
    parts = [
        '#include "arm_nnfunctions.h"\n#include "edc_model.h"\n',
        *(f"static int8_t place{turn}[{size}] __attribute__((aligned(4)));" for turn, size in enumerate(places)),
        f"static int8_t scratch[{scratch}] __attribute__((aligned(4)));",
        *(_tables(index, layer) for index, layer in enumerate(layers)),
        *(_function(index, layer) for index, layer in enumerate(layers)),
        "uint32_t edc_next_cmsis_nn(const edc_model *model, void *state, edc_progress *progress) {\n"
        "  switch (progress->layer) {",
    ]
    for index in range(len(layers)):
        source = "edc_model_input(model, state)" if index == 0 else f"place{(index - 1) % 2}"
        last = index == len(layers) - 1
        target = "edc_model_latent(model, state)" if last else f"place{index % 2}"
        parts.append(f"  case {index}: layer{index}({source}, {target}); break;")
    parts.append("  }\n  return progress->layer++;\n}\n")
    return "\n".join(parts)


def _scratch_bytes(layer: Layer, vectors: bool) -> int:
    """Enough for the two columns of int16 or four of int8 that the convolutions gather, and for depthwise."""
    if layer.op is Op.DEPTHWISE:
        return max(_MVE_DEPTHWISE_BYTES * layer.kernel if vectors else 0, 2 * layer.kernel * layer.input.channels)
    return 4 * layer.kernel * layer.input.channels + 16


def _tables(index: int, layer: Layer) -> str:
    return "\n".join(
        [
            _table("int8_t", f"weights{index}", layer.weights),
            _table("int32_t", f"bias{index}", layer.bias),
            _table("int32_t", f"multiplier{index}", layer.multiplier),
            _table("int32_t", f"shift{index}", layer.shift),
        ]
    )


def _table(ctype: str, name: str, values: npt.NDArray[np.generic]) -> str:
    flat: Iterable[int] = values.reshape(-1).tolist()
    return f"static const {ctype} {name}[] = {{{', '.join(map(str, flat))}}};"


def _function(index: int, layer: Layer) -> str:
    depthwise = layer.op is Op.DEPTHWISE
    kind, call = ("dw_conv", "depthwise_conv") if depthwise else ("conv", "convolve")
    filters = 1 if depthwise else layer.output.channels
    filter_channels = layer.output.channels if depthwise else layer.input.channels
    multiplier = f".ch_mult = {layer.depth_multiplier}, " if depthwise else ""
    return f"""
static void layer{index}(const int8_t *in, int8_t *out) {{
  static const cmsis_nn_{kind}_params params = {{
      .input_offset = {-layer.input.zero_point}, .output_offset = {layer.output.zero_point}, {multiplier}
      .stride = {{{layer.stride}, 1}}, .padding = {{{layer.pad_left}, 0}}, .dilation = {{1, 1}},
      .activation = {{{layer.activation_min}, {layer.activation_max}}}}};
  static const cmsis_nn_per_channel_quant_params quant = {{(int32_t *)multiplier{index}, (int32_t *)shift{index}}};
  static const cmsis_nn_dims input = {{1, 1, {layer.input.width}, {layer.input.channels}}};
  static const cmsis_nn_dims filter = {{{filters}, 1, {layer.kernel}, {filter_channels}}};
  static const cmsis_nn_dims bias = {{1, 1, 1, {layer.output.channels}}};
  static const cmsis_nn_dims output = {{1, 1, {layer.output.width}, {layer.output.channels}}};
  const cmsis_nn_context context = {{scratch, sizeof scratch}};
  (void)arm_{call}_wrapper_s8(&context, &params, &quant, &input, in, &filter, weights{index}, &bias, bias{index},
                              &output, out);
}}"""
