"""A bundle's encoder on CMSIS-NN: a firmware project whose layers are calls of its kernels.

The C sources are those that the installed package ``bakenn`` carries; they are copied into the project that is
built and nowhere else.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgecodec.bundle import Bundle
from edgecodec.codec.graph import Layer, Op

PACKAGE = "bakenn"
_FOLDERS = ("ConvolutionFunctions", "NNSupportFunctions")
_NOT_OURS = {"bakenn_cmsis_memory.c"}
"""Copies byte by byte, which would be unfair: with a C library the compiler copies words in place."""
_MVE_DEPTHWISE_BYTES = 4 * 124
"""Of scratch for each tap: CH_IN_BLOCK_MVE of CMSIS-NN, four positions."""

# The firmware has no C library; CMSIS-NN includes these two and needs three functions, which our port has.
_HEADERS = {
    "cmsis/hosted/string.h": "#include <stddef.h>\nvoid *memcpy(void *, const void *, size_t);\n"
    "void *memmove(void *, const void *, size_t);\nvoid *memset(void *, int, size_t);\n",
    "cmsis/hosted/math.h": "\n",
}
_CMAKE = """
add_library(cmsis_nn STATIC {sources})
target_include_directories(cmsis_nn PRIVATE codec cmsis cmsis/hosted)
target_compile_options(cmsis_nn PRIVATE -std=gnu11 -O3 -fno-common -ffunction-sections -fdata-sections
  -fstack-usage -w)
target_link_libraries(firmware.elf PRIVATE cmsis_nn gcc)
# The generated encoder steps aside for the one that calls CMSIS-NN.
set_source_files_properties(codec/edc_model.c PROPERTIES COMPILE_DEFINITIONS
  "edc_model_infer=edc_model_infer_own;edc_model_next=edc_model_next_own")
"""


def package_folder() -> Path:
    """The package's copy of CMSIS-NN. Raises ModuleNotFoundError without the package."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"the package {PACKAGE} is not installed; pip install 'edgecodec[bench]'")
    return Path(spec.origin).parent / "backend" / "cmsis_nn" / "vendor"


def with_cmsis_nn(files: dict[str, str], bundle: Bundle, *, mve: bool) -> dict[str, str]:
    """``files`` of a firmware project of our plain kernels, with the encoder's layers run by CMSIS-NN.

    ``mve`` says that the core has vectors, for which some of its kernels want more scratch memory.
    """
    vendor = package_folder()
    added = dict(_HEADERS)
    for folder in (vendor / "cmsis_nn" / "Include", vendor / "cmsis_core" / "Include"):
        added |= {f"cmsis/{path.name}": path.read_text(encoding="utf-8") for path in folder.glob("*.h")}
    for name in _FOLDERS:
        paths = (vendor / "cmsis_nn" / "Source" / name).glob("*.c")
        added |= {
            f"cmsis/{path.name}": path.read_text(encoding="utf-8") for path in paths if path.name not in _NOT_OURS
        }
    added["cmsis/layers.c"] = _layers_source(bundle, mve)
    sources = " ".join(sorted(path for path in added if path.endswith(".c")))
    cmake = files["CMakeLists.txt"] + _CMAKE.format(sources=sources)
    return files | added | {"CMakeLists.txt": cmake}


def _layers_source(bundle: Bundle, mve: bool) -> str:
    """C of ``edc_model_infer`` and ``edc_model_next`` by CMSIS-NN."""
    layers = bundle.codec.graph.layers
    # Tensors between layers are by turns in two places; the state's arena may hold none of them whole.
    places = [max((layer.output.size_bytes for layer in layers[turn:-1:2]), default=4) for turn in (0, 1)]
    parts = [
        '#include "arm_nnfunctions.h"\n#include "edc_model.h"\n',
        *(f"static int8_t place{turn}[{size}] __attribute__((aligned(4)));" for turn, size in enumerate(places)),
        f"static int8_t scratch[{max(_scratch_bytes(layer, mve) for layer in layers)}] __attribute__((aligned(4)));",
        *(_tables(index, layer) for index, layer in enumerate(layers)),
        *(_function(index, layer) for index, layer in enumerate(layers)),
        "uint32_t edc_model_next(edc_model_state *state, edc_model_progress *progress) {\n  switch (progress->layer) {",
    ]
    for index in range(len(layers)):
        source = "edc_model_input(state)" if index == 0 else f"place{(index - 1) % 2}"
        last = index == len(layers) - 1
        target = "(int8_t *)edc_model_latent(state)" if last else f"place{index % 2}"
        parts.append(f"  case {index}: layer{index}({source}, {target}); break;")
    parts += [
        "  }\n  return progress->layer++;\n}",
        "void edc_model_infer(edc_model_state *state) {",
        "  edc_model_progress progress = {0};",
        f"  while (progress.layer < {len(layers)}) edc_model_next(state, &progress);\n}}\n",
    ]
    return "\n".join(parts)


def _scratch_bytes(layer: Layer, mve: bool) -> int:
    """Enough for the two columns of int16 or four of int8 that the convolutions gather, and for depthwise."""
    if layer.op is Op.DEPTHWISE:
        return max(_MVE_DEPTHWISE_BYTES * layer.kernel if mve else 0, 2 * layer.kernel * layer.input.channels)
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
