"""The table of ``tools/mutate.py``: wrong changes that the tests must notice."""

from __future__ import annotations

from tools.mutate import Mutant

_PLAIN = ("tests/bitexact/test_sweep.py", "-k", "random_encoder")
_STRIPES = ("tests/bitexact/test_cascade.py",)
_TAPS = ("tests/bitexact/test_packed_taps.py",)
_CHANNELS = ("tests/bitexact/test_packed_channels.py",)
_POINTWISE = ("tests/bitexact/test_pointwise.py",)
_BYTES = ("tests/bitexact/test_conv_bytes.py",)
_INT16 = ("tests/bitexact/test_int16x8.py", "-k", "c_kernels or multipliers or by_hand or c_normalizers")
_FAST16 = ("tests/bitexact/test_kernels16.py",)
_ROOT = ("tests/bitexact/test_divide.py",)
_NORMALIZERS = ("tests/bitexact/test_normalizer_stage.py", "tests/bitexact/test_divide.py")
_SLACK = ("tests/bitexact/test_codebook_search.py", "-k", "bound_covers")
_SEARCH = ("tests/bitexact/test_codebook_search.py",)
_SEARCH16 = ("tests/bitexact/test_int16x8.py", "-k", "c_search")
_PACKETS = ("tests/bitexact/test_packets.py",)
_UNPACK = ("tests/bitexact/test_unpack.py",)
_SERVER = ("tests/link/test_server.py", "-k", "not sanitizers")
_HARNESS = (
    "tests/link/test_harness.py",
    "-k",
    "at_once or another_type or another_bundle or another_shape or other_numerics or restarted_before or layer",
)
_LATE = ("tests/link/test_harness.py", "-k", "repaired and lose or given_up or mid_run")
_ENCODER = ("tests/c/test_encoder.py",)
_BLOB = ("tests/c/test_blob.py", "-k", "refused or arguments or lies or leave or memorys_end or magic or kinds")
_PROTOCOL = ("tests/unit/test_protocol.py",)
_COMPARE = ("tests/unit/test_compare.py",)
_VERIFY = ("tests/unit/test_verify_run.py",)
_BUNDLE = ("tests/unit/test_bundle.py",)
_EXIT = ("tests/cli/test_exit_codes.py",)
_RANGE = ("tests/unit/test_range_coder.py",)
_PACKET = ("tests/unit/test_packet.py",)
_SIDE = ("tests/unit/test_side_information.py",)
_RVQ = ("tests/unit/test_rvq.py",)
_READER = ("tests/unit/test_tflite_reader.py", "-k", "multiplier or padding")
_PLAN = ("tests/unit/test_plan.py", "-k", "overflow or narrow or fold_bias")
_LAYERS = ("tests/unit/test_reference.py", "tests/unit/test_layers.py")
_REFERENCE = ("tests/bitexact/test_sweep.py", "-k", "random_encoder")

_CODEC = "firmware/codec/edc"
_LINK = "firmware/link/edc"
_REQUANTIZE = f"{_CODEC}_requantize.h"

MUTANTS = (
    # Requantisation, 8 bits.
    Mutant("requantize-half", _REQUANTIZE, "product + (1ll << 30)) >> 31", "product + (1ll << 29)) >> 31", _PLAIN),
    Mutant("requantize-tie", _REQUANTIZE, "(high & mask) > threshold ? 1", "(high & mask) >= threshold ? 1", _PLAIN),
    Mutant("requantize-sign", _REQUANTIZE, "(mask >> 1) + (high < 0 ? 1 : 0)", "(mask >> 1)", _PLAIN),
    Mutant("requantize-left", _REQUANTIZE, "acc * (int32_t)(1u << left)", "acc * (int32_t)(1u << 0)", _PLAIN),
    Mutant(
        "requantize-narrow-round", _REQUANTIZE, "(int32_t)((uint32_t)product >> 31);", "0;", (*_CHANNELS, *_PLAIN[:1])
    ),
    Mutant(
        "requantize-narrow-sign",
        _REQUANTIZE,
        "  high += high >> 31;\n  return ((high >> down) + bias) >> 1;",
        "  return ((high >> down) + bias) >> 1;",
        (*_CHANNELS, *_PLAIN[:1]),
    ),
    Mutant("requantize-folded-sign", _REQUANTIZE, "  high += high >> 31;\n  return edc_sat", "  return edc_sat", _TAPS),
    Mutant(
        "requantize-folded-rectified", _REQUANTIZE, "edc_saturate(high >> channel->down)", "edc_saturate(high)", _TAPS
    ),
    Mutant(
        "saturate-bound",
        _REQUANTIZE,
        "return edc_clamp(value, -128, 127);",
        "return edc_clamp(value, -127, 127);",
        _PLAIN,
    ),
    # Plain kernels, 8 bits.
    Mutant(
        "taps-left", f"{_CODEC}_taps.h", ".first = start < 0 ? -start : 0", ".first = start < -1 ? -start : 0", _PLAIN
    ),
    Mutant(
        "taps-right",
        f"{_CODEC}_taps.h",
        "left < kernel ? left : kernel",
        "left <= kernel ? left : kernel",
        _PLAIN,
        "where both are equal the two are one number",
    ),
    Mutant(
        "taps-rest",
        f"{_CODEC}_taps.h",
        "for (; i + 4 <= count; i += 4)",
        "for (; i + 4 < count; i += 4)",
        _PLAIN,
        "the loop behind it takes the last four one by one",
    ),
    Mutant("conv-padding-point", f"{_CODEC}_conv.c", "if (end - skipped != row) {", "if (end < skipped) {", _PLAIN),
    Mutant("conv-padding-right", f"{_CODEC}_conv.c", "sum_of(weights + end, 1, row - end)", "0", _PLAIN),
    Mutant("conv-padding-left", f"{_CODEC}_conv.c", "(sum_of(weights, 1, skipped) +", "(0 +", _PLAIN),
    Mutant(
        "conv-stride",
        f"{_CODEC}_conv.c",
        "position * layer->stride - layer->pad_left, layer->kernel",
        "position - layer->pad_left, layer->kernel",
        _PLAIN,
    ),
    Mutant("conv-activation", f"{_CODEC}_conv.c", "layer->activation_min, layer->activation_max", "-128, 127", _PLAIN),
    Mutant("conv-zero-point", f"{_CODEC}_conv.c", "2 * layer->out_zero_point + 1", "2 * layer->out_zero_point", _PLAIN),
    Mutant(
        "conv-stripe-padding",
        f"{_CODEC}_conv.c",
        "layer.pad_left = chunk->pad_left;\n  layer.out_width = chunk->out_width;\n  edc_conv(",
        "layer.out_width = chunk->out_width;\n  edc_conv(",
        _STRIPES,
    ),
    Mutant(
        "depthwise-multiplier",
        f"{_CODEC}_conv.c",
        "left = multiplier;\n        patch++",
        "left = 1;\n        patch++",
        _PLAIN,
    ),
    Mutant("depthwise-padding", f"{_CODEC}_conv.c", "sum_of(w, channels, layer->kernel - taps.last)", "0", _PLAIN),
    # Fast kernels, 8 bits.
    Mutant(
        "paired-mid-lane",
        f"{_CODEC}_conv_paired.c",
        "#define START (HALF + (HALF << LANE))",
        "#define START (HALF)",
        _TAPS,
    ),
    Mutant(
        "paired-carry",
        f"{_CODEC}_conv_paired.c",
        "now.carry[i] + found.before, rectified",
        "found.before, rectified",
        _TAPS,
    ),
    Mutant("paired-parts", f"{_CODEC}_conv_paired.c", "found.even += more.even;", "", _TAPS),
    Mutant(
        "paired-last-odd",
        f"{_CODEC}_conv_paired.c",
        "layer->out_width + (layer->pauses ? 0 : 1)",
        "layer->out_width",
        _TAPS,
    ),
    Mutant("paired-edge", f"{_CODEC}_conv_paired.c", "first >= 0 && second < layer->in_width", "first >= 0", _TAPS),
    Mutant("paired-resumes", f"{_CODEC}_conv_paired.c", "layer.resumes = chunk->resumes;", "", _STRIPES),
    Mutant(
        "winograd-third",
        f"{_CODEC}_conv_paired.c",
        "row[2 * columns] = pack(x[2 * step], x[4 * step]) - odd;",
        "row[2 * columns] = pack(x[2 * step], x[4 * step]);",
        _TAPS,
    ),
    Mutant(
        "winograd-last",
        f"{_CODEC}_conv_paired.c",
        "layer->out_width + (layer->pauses ? 0 : 2)",
        "layer->out_width",
        _TAPS,
    ),
    Mutant(
        "depthwise-paired-first",
        f"{_CODEC}_conv_paired.c",
        "position > 0 || layer->resumes ? out",
        "position >= 0 || layer->resumes ? out",
        _TAPS,
    ),
    Mutant("twin-half", f"{_CODEC}_conv_twin.c", "uint32_t first = HALF;", "uint32_t first = 0;", _CHANNELS),
    Mutant(
        "twin-odd-column",
        f"{_CODEC}_conv_twin.c",
        "scratch[layer->columns - 1] = 0;",
        "",
        _CHANNELS,
        "that column's weights are 0, whatever they are multiplied with; memory that nobody wrote stays unread",
    ),
    Mutant("twin-padding", f"{_CODEC}_conv_twin.c", "*window++ = layer->in_zero_point;", "*window++ = 0;", _CHANNELS),
    Mutant(
        "pointwise-start", f"{_CODEC}_pointwise.c", "#define START (1 << 24)", "#define START (1 << 23)", _POINTWISE
    ),
    Mutant(
        "pointwise-last",
        f"{_CODEC}_pointwise.c",
        "int8_t *second = left > 1 ?",
        "int8_t *second = left > 0 ?",
        _POINTWISE,
    ),
    Mutant(
        "pointwise-sign",
        f"{_CODEC}_pointwise.c",
        "(uint16_t)a[channel] | (uint32_t)a[channel + 1] << 16",
        "(uint8_t)a[channel] | (uint32_t)a[channel + 1] << 16",
        _POINTWISE,
    ),
    Mutant("bytes-sign", f"{_CODEC}_conv_bytes.c", "(int16_t)x * (int8_t)w +", "(int16_t)x * (uint8_t)w +", _BYTES),
    # 16-bit activations.
    Mutant(
        "rescale-round",
        f"{_CODEC}_requantize16.h",
        "return ((high >> down) + 1) >> 1;",
        "return (high >> down) >> 1;",
        _INT16,
    ),
    Mutant(
        "rescale-high-round",
        f"{_CODEC}_requantize16.h",
        "(int64_t)acc * multiplier + (1ll << 31)) >> 32",
        "(int64_t)acc * multiplier) >> 32",
        _FAST16,
    ),
    Mutant(
        "saturate16",
        f"{_CODEC}_requantize16.h",
        "const int32_t least = rectified ? 0 : INT16_MIN;",
        "const int32_t least = INT16_MIN;",
        _FAST16,
    ),
    Mutant("conv16-wide-round", f"{_CODEC}_conv16.c", "((int64_t)1 << (shift - 1))) >> shift", "0) >> shift", _INT16),
    Mutant(
        "conv16-wide-sum",
        f"{_CODEC}_conv16.c",
        "layer->wide_bias[channel] + wide_dot(patch, weights, count)",
        "layer->wide_bias[channel] + dot16(patch, weights, count)",
        _INT16,
    ),
    Mutant("conv16-small-shift", f"{_CODEC}_conv16.c", "if (down < 0) {", "if (down < -1) {", _INT16),
    Mutant(
        "depthwise16-together",
        f"{_CODEC}_conv16.c",
        "multiplier == 1 && channel + TOGETHER <= channels",
        "channel + TOGETHER <= channels",
        _INT16,
    ),
    Mutant(
        "pairs-single-edge", f"{_CODEC}_conv16_pairs.c", "first >= 0 && first + columns <= size", "first >= 0", _FAST16
    ),
    Mutant(
        "pairs-depthwise",
        f"{_CODEC}_conv16_pairs.c",
        "layer->weights + taps.first * (channels / EDC_PAIRS_BLOCK)",
        "layer->weights",
        _FAST16,
    ),
    # Normalisers.
    Mutant("root-short", f"{_CODEC}_zscore_frame.h", "bit = 1u << 31; bit != 0;", "bit = 1u << 31; bit > 1;", _ROOT),
    Mutant(
        "root-open",
        f"{_CODEC}_zscore_frame.h",
        "(uint64_t)trial * trial <= value",
        "(uint64_t)trial * trial < value",
        _ROOT,
    ),
    Mutant(
        "zscore-half",
        f"{_CODEC}_zscore_frame.h",
        "const int64_t half = (int64_t)1 << (shift - 1);",
        "const int64_t half = 0;",
        _NORMALIZERS,
    ),
    Mutant(
        "zscore-flat",
        f"{_CODEC}_zscore_frame.h",
        "normalizer->zero_point, is_int16);\n    }\n    return;",
        "0, is_int16);\n    }\n    return;",
        _NORMALIZERS,
    ),
    Mutant(
        "zscore-epsilon",
        f"{_CODEC}_zscore_frame.h",
        "<< normalizer->variance_shift) + normalizer->epsilon",
        "<< normalizer->variance_shift)",
        _NORMALIZERS,
    ),
    Mutant(
        "zscore-square",
        f"{_CODEC}_zscore_frame.h",
        "(uint64_t)((int64_t)sum * sum)",
        "(uint64_t)(sum * sum)",
        _NORMALIZERS,
    ),
    Mutant("minmax-ceiling", f"{_CODEC}_minmax_frame.h", "<< 31) + range - 1, range)", "<< 31), range)", _NORMALIZERS),
    Mutant(
        "minmax-first",
        f"{_CODEC}_minmax_frame.h",
        "for (int32_t i = 1; i < samples; i++) {\n    const int32_t x",
        "for (int32_t i = 2; i < samples; i++) {\n    const int32_t x",
        _NORMALIZERS,
    ),
    Mutant(
        "minmax-bias", f"{_CODEC}_minmax_frame.h", "normalizer->bias >> (32 - shift)", "normalizer->bias", _NORMALIZERS
    ),
    Mutant(
        "fixed-shift",
        f"{_CODEC}_fixed_frame.h",
        ">> normalizer->gain_shift",
        ">> (normalizer->gain_shift + 1)",
        _NORMALIZERS,
    ),
    Mutant("divide-top", f"{_CODEC}_divide.c", "top != 0 || rest >= divisor", "rest >= divisor", _ROOT),
    Mutant("divide-equal", f"{_CODEC}_divide.c", "rest >= divisor) {", "rest > divisor) {", _ROOT),
    Mutant("activation-least", f"{_CODEC}_activation.h", "value < -128 ? -128", "value < -127 ? -127", _NORMALIZERS),
    # Codebook search and its bounds.
    Mutant(
        "search-tie",
        f"{_CODEC}_rvq.c",
        "distance == best->distance && index < best->index",
        "distance == best->distance && index > best->index",
        _SEARCH,
    ),
    Mutant(
        "search-tie-all",
        f"{_CODEC}_rvq.c",
        "if (distance < best_distance) {",
        "if (distance <= best_distance) {",
        _SEARCH,
    ),
    Mutant("search-tie-long", f"{_CODEC}_rvq.c", "if (distance < least) {", "if (distance <= least) {", _SEARCH),
    Mutant(
        "search-double",
        f"{_CODEC}_rvq.c",
        "best_distance = INT32_MAX;\n  uint32_t best = 0;",
        "best_distance = 0;\n  uint32_t best = 0;",
        _SEARCH,
    ),
    Mutant("search-rounding", f"{_CODEC}_rvq.c", "#define ROUNDING 132u", "#define ROUNDING 0u", _SEARCH),
    Mutant(
        "search-slack-device",
        f"{_CODEC}_rvq.c",
        "whole + (whole >> 8) * book->slack + book->slack + ROUNDING",
        "whole + ROUNDING",
        _SEARCH,
    ),
    Mutant("search-backwards", f"{_CODEC}_rvq.c", "walk(&q, start, start, -1, best);", "", _SEARCH),
    Mutant("search-projection", f"{_CODEC}_rvq.c", "length += last * last;", "", _SEARCH),
    Mutant(
        "search16-half",
        f"{_CODEC}_rvq.c",
        "const int32_t half = (1 << down) >> 1;",
        "const int32_t half = 0;",
        _SEARCH16,
    ),
    Mutant(
        "slack-share",
        "edgecodec/compile/codebook_search.py",
        "(stretch * (1 + 1 / 32) - 1) * 256",
        "(stretch - 1) * 256",
        _SLACK,
    ),
    Mutant(
        "slack-stretch",
        "edgecodec/compile/codebook_search.py",
        "np.linalg.eigvalsh(gram.astype(np.float64)).max()",
        "np.linalg.eigvalsh(gram.astype(np.float64)).min()",
        _SLACK,
    ),
    Mutant(
        "bound-distance",
        "edgecodec/compile/codebook_search.py",
        "max(residual**2, farthest)",
        "residual**2",
        _SEARCH,
    ),
    Mutant("bound-rounding", "edgecodec/compile/codebook_search.py", " + np.abs(projections).sum(axis=1)", "", _SEARCH),
    Mutant(
        "search-first",
        "edgecodec/compile/codebook_search.py",
        "first = int(np.argmin(visits.round(3)))",
        "first = 0",
        _SEARCH,
    ),
    Mutant(
        "search-start",
        "edgecodec/compile/codebook_search.py",
        " + rvq.bias(level)[found.order], axis=1)",
        ", axis=1)",
        _SEARCH,
    ),
    Mutant(
        "bound-projections",
        "edgecodec/compile/codebook_search.py",
        "projections.min() < -_INT16_MAX - 1 or projections.max() > _INT16_MAX",
        "False",
        _SEARCH,
    ),
    Mutant(
        "bound-bias",
        "edgecodec/compile/codebook_search.py",
        "math.isqrt(each) for each in",
        "math.isqrt(each) + 1 for each in",
        _SEARCH,
    ),
    Mutant(
        "rvq-residual", "edgecodec/codec/rvq.py", "if int(bound.max()) > 32767:", "if int(bound.max()) > 65535:", _RVQ
    ),
    Mutant(
        "rvq-distance", "edgecodec/codec/rvq.py", "wide * wide + 2 * wide * bound", "wide * wide + wide * bound", _RVQ
    ),
    Mutant(
        "rvq-rounding",
        "edgecodec/codec/rvq.py",
        "np.floor(np.abs(s) + 0.5), s) for s",
        "np.floor(np.abs(s)), s) for s",
        _RVQ,
    ),
    # CRC, COBS and messages.
    Mutant("crc-start", f"{_LINK}_link.c", "uint32_t crc = 0xFFFFFFFFu;", "uint32_t crc = 0;", _SERVER),
    Mutant("crc-table", f"{_LINK}_link.c", "0xBDBDF21Cu", "0xBDBDF21Du", _SERVER),
    Mutant("crc-unchecked", f"{_LINK}_link.c", "      !crc_is_right(reader->buffer, count)", "      false", _SERVER),
    Mutant("cobs-run", f"{_LINK}_link.c", "#define COBS_LONGEST_RUN 254u", "#define COBS_LONGEST_RUN 253u", _SERVER),
    Mutant(
        "cobs-whole-run",
        f"{_LINK}_link.c",
        "reader->zero_is_due = byte != COBS_RUN_WITHOUT_ZERO;",
        "reader->zero_is_due = true;",
        _SERVER,
    ),
    Mutant("cobs-last-zero", f"{_LINK}_link.c", "if (start == count) {", "if (start >= count - 1) {", _SERVER),
    Mutant("link-cut", f"{_LINK}_link.c", "!reader->failed && reader->left == 0", "!reader->failed", _SERVER),
    Mutant("link-overlong", f"{_LINK}_link.c", "    reader->failed = true;\n", "", _SERVER),
    Mutant(
        "link-shortest",
        f"{_LINK}_link.c",
        "count < EDC_LINK_HEADER_BYTES + EDC_LINK_CRC_BYTES ||",
        "count < EDC_LINK_CRC_BYTES ||",
        _SERVER,
    ),
    Mutant(
        "link-flush",
        f"{_LINK}_link.c",
        "  if (!reader->started) {\n    return EDC_LINK_MORE;",
        "  if (!reader->started) {\n    return EDC_LINK_ERROR_MESSAGE;",
        _SERVER,
    ),
    # The server.
    Mutant(
        "server-repeat",
        f"{_LINK}_server.c",
        "bool same = reply_count > 0 && crc == answered_crc;",
        "bool same = false && crc == answered_crc;",
        _SERVER,
    ),
    Mutant(
        "server-repeat-crc",
        f"{_LINK}_server.c",
        "bool same = reply_count > 0 && crc == answered_crc;",
        "bool same = reply_count > 0 && crc != 0;",
        _SERVER,
    ),
    Mutant(
        "server-length",
        f"{_LINK}_server.c",
        "payload_bytes != payload_bytes_of(type)",
        "payload_bytes < payload_bytes_of(type)",
        _SERVER,
    ),
    Mutant(
        "server-flags", f"{_LINK}_server.c", "request.encode.flags & ~FLAGS_KNOWN", "request.encode.flags & 0", _SERVER
    ),
    Mutant("server-type", f"{_LINK}_server.c", "type < HELLO || type > LAYER", "type > LAYER", _SERVER),
    Mutant(
        "server-layer-first",
        f"{_LINK}_server.c",
        "put_bytes(output + first, left < room ? left : room);",
        "put_bytes(output, left < room ? left : room);",
        _SERVER,
    ),
    Mutant(
        "server-layer-end",
        f"{_LINK}_server.c",
        "if (first < bytes) {",
        "if (first <= bytes) {",
        _SERVER,
        "no byte is left then, and none is put",
    ),
    Mutant(
        "server-input",
        f"{_LINK}_server.c",
        "reply_count = layers + (flags & FLAG_LAYERS ? LAYERS_BYTES : 0u);",
        "reply_count = layers;",
        _SERVER,
    ),
    Mutant("server-sequence", f"{_LINK}_server.c", ".sequence = request.encode.tail[0]};", ".sequence = 0};", _SERVER),
    # The harness: retry, checks, comparison.
    Mutant(
        "retry-damage",
        "edgecodec/link/client.py",
        'link.write(b"".join(run.repeat_damaged(damaged)))',
        "pass",
        _HARNESS,
    ),
    Mutant(
        "retry-lost",
        "edgecodec/link/client.py",
        "range(position if request.attempts == 1 else 0)",
        "range(0)",
        _HARNESS,
    ),
    Mutant(
        "retry-late",
        "edgecodec/link/client.py",
        'link.write(FLUSH + b"".join(requests))',
        "pass",
        _LATE,
    ),
    Mutant(
        "retry-end",
        "edgecodec/link/client.py",
        "return bool(self._in_flight) and time.monotonic() >= self._end",
        "return False",
        _LATE,
    ),
    Mutant("reply-type", "edgecodec/link/client.py", "if message.type != self._reply_type:", "if False:", _HARNESS),
    Mutant("restart-unseen", "edgecodec/link/client.py", "if hello.fault is not None:", "if False:", _HARNESS),
    Mutant(
        "digest-unchecked", "edgecodec/link/client.py", "if hello.digest != self._bundle.digest:", "if False:", _HARNESS
    ),
    Mutant("shape-unchecked", "edgecodec/link/client.py", "if hello.shape != self._shape:", "if False:", _HARNESS),
    Mutant(
        "numerics-unchecked", "edgecodec/link/client.py", "if hello.numerics != self._numerics:", "if False:", _HARNESS
    ),
    Mutant(
        "reply-flags",
        "edgecodec/link/protocol.py",
        "if len(payload) > 1 and payload[1] != read_back:",
        "if False:",
        _PROTOCOL,
    ),
    Mutant(
        "reply-length",
        "edgecodec/link/protocol.py",
        "    if len(payload) != expected:\n",
        "    if len(payload) < expected:\n",
        _PROTOCOL,
    ),
    Mutant("message-crc", "edgecodec/link/protocol.py", "!= zlib.crc32(content):", "== -1:", _PROTOCOL),
    Mutant(
        "layer-total",
        "edgecodec/link/protocol.py",
        "total != layer_bytes and (total or first)",
        "False",
        _PROTOCOL,
    ),
    Mutant("bundle-digest", "edgecodec/bundle.py", "if computed != manifest.digest:", "if False:", _BUNDLE),
    Mutant("bundle-file-digest", "edgecodec/bundle.py", "!= info.sha256:", "== '':", _BUNDLE),
    Mutant(
        "compare-any",
        "edgecodec/verify/compare.py",
        "if any(pair.mismatches for pair in listed):",
        "if all(pair.mismatches for pair in listed):",
        _COMPARE,
    ),
    Mutant(
        "compare-nothing",
        "edgecodec/verify/compare.py",
        "if listed and all(pair.compared for pair in listed):",
        "if listed:",
        _COMPARE,
    ),
    Mutant(
        "compare-no-pairs",
        "edgecodec/verify/compare.py",
        "if listed and all(pair.compared for pair in listed):",
        "if all(pair.compared for pair in listed):",
        _COMPARE,
    ),
    Mutant(
        "compare-shape", "edgecodec/verify/compare.py", "if expected.shape != received.shape:", "if False:", _COMPARE
    ),
    Mutant(
        "compare-statistics",
        "edgecodec/verify/compare.py",
        "verdict_of((*self.pairs, *self.statistics))",
        "verdict_of(self.pairs)",
        _COMPARE,
    ),
    Mutant(
        "compare-behind",
        "edgecodec/verify/compare.py",
        "rows = np.full((2, len(a), longest), _BEHIND, np.int16)",
        "rows = np.zeros((2, len(a), longest), np.int16)",
        _COMPARE,
    ),
    Mutant(
        "verify-pushed",
        "edgecodec/verify/run.py",
        "for a, b in combinations(exact, 2)), *pushed])",
        "for a, b in combinations(exact, 2))])",
        _VERIFY,
    ),
    Mutant(
        "verify-pairs",
        "edgecodec/verify/run.py",
        "combinations(exact, 2)), *pushed",
        "combinations(exact[1:], 2)), *pushed",
        _VERIFY,
    ),
    # Exit codes.
    Mutant("exit-different", "edgecodec/verify/run.py", "Verdict.DIFFERENT: 1", "Verdict.DIFFERENT: 0", _EXIT),
    Mutant("exit-undecided", "edgecodec/verify/run.py", "Verdict.UNDECIDED: 2", "Verdict.UNDECIDED: 0", _EXIT),
    Mutant(
        "exit-error", "edgecodec/cli/main.py", "return DIFFERENT if exceeded else UNDECIDED", "return DIFFERENT", _EXIT
    ),
    Mutant(
        "exit-limit", "edgecodec/cli/main.py", "return DIFFERENT if exceeded else UNDECIDED", "return UNDECIDED", _EXIT
    ),
    Mutant(
        "exit-lost",
        "edgecodec/cli/main.py",
        "return int(cli.invoke(context) or 0)",
        "cli.invoke(context)\n                return 0",
        _EXIT,
    ),
    # Packets, range coder, side information.
    Mutant(
        "range-carry",
        f"{_CODEC}_range.c",
        "while (at != 0 && ++coder->out[--at] == 0) {",
        "if (at != 0 && ++coder->out[--at] == 0) {",
        _PACKETS,
    ),
    Mutant(
        "range-finish-carry",
        f"{_CODEC}_range.c",
        "if (coder->carry != 0 || point < coder->low) {",
        "if (coder->carry != 0) {",
        _PACKETS,
    ),
    Mutant(
        "range-finish",
        f"{_CODEC}_range.c",
        "distance >= coder->range; count++",
        "distance > coder->range; count++",
        _PACKETS,
    ),
    Mutant(
        "range-zeros",
        f"{_CODEC}_range.c",
        "while (coder->size != 0 && coder->out[coder->size - 1] == 0) {",
        "while (false && coder->size != 0) {".replace("false", "0"),
        _PACKETS,
    ),
    Mutant(
        "range-full",
        f"{_CODEC}_range.c",
        "if (coder->capacity - coder->size < 4) {",
        "if (coder->capacity - coder->size < 5) {",
        _PACKETS,
    ),
    Mutant("range-word", f"{_CODEC}_range.h", "if ((range >> 32) == 0) {", "if ((range >> 33) == 0) {", _PACKETS),
    Mutant("packet-check", f"{_CODEC}_packet.c", "uint32_t value = 0xFFF;", "uint32_t value = 0;", _PACKETS),
    Mutant("packet-flat-wide", f"{_CODEC}_packet.c", "value == (int16_t)value ? 2 : 4", "2", _PACKETS),
    Mutant(
        "packet-plain-equal",
        f"{_CODEC}_packet.c",
        "out + PAYLOAD, writer->plain_bytes - 1",
        "out + PAYLOAD, writer->plain_bytes",
        _PACKETS,
    ),
    Mutant("packet-left-out", f"{_CODEC}_packet.c", "left_out << FLAG_LEFT_OUT_SHIFT;", "0;", _PACKETS),
    Mutant("packet-last-bits", f"{_CODEC}_packet.c", "(uint8_t)(held << (8 - count))", "(uint8_t)held", _PACKETS),
    Mutant("side-half", f"{_CODEC}_side.c", "location + (1ull << (shift - 1))", "location", _PACKETS),
    Mutant("side-common", f"{_CODEC}_side.c", "signed_location >= -half &&", "signed_location > -half &&", _PACKETS),
    Mutant(
        "side-middle",
        f"{_CODEC}_side.c",
        "const uint32_t middle = 2 * scale + 1;",
        "const uint32_t middle = 2 * scale;",
        _PACKETS,
    ),
    Mutant("side-root", f"{_CODEC}_side.c", "0x8058d7d3u", "0x8058d7d2u", _PACKETS),
    Mutant("context-group", f"{_CODEC}_context.c", "context = index + 1;", "context = index;", _PACKETS),
    Mutant("causal-sign", f"{_CODEC}_causal.c", "sum >= 0 ? likely", "sum > 0 ? likely", _PACKETS),
    Mutant("causal-clip", f"{_CODEC}_causal.c", "size < 255 ? size : 255", "size < 254 ? size : 254", _PACKETS),
    Mutant(
        "causal-history",
        f"{_CODEC}_causal.c",
        "if (position >= 2 * dilation) {",
        "if (position > 2 * dilation) {",
        _PACKETS,
    ),
    Mutant(
        "py-range-carry", "edgecodec/entropy/range_coder.py", "while self._out[at] == 0xFF:", "while False:", _RANGE
    ),
    Mutant(
        "py-range-shortest",
        "edgecodec/entropy/range_coder.py",
        "if distance < self._range:",
        "if distance == 0:",
        _RANGE,
    ),
    Mutant("py-range-outside", "edgecodec/entropy/range_coder.py", "if found >= TOTAL:", "if found > TOTAL:", _RANGE),
    Mutant(
        "py-packet-tag",
        "edgecodec/entropy/packet.py",
        "        if tag != self.tag:\n",
        "        if tag == -1:\n",
        _PACKET,
    ),
    Mutant("py-packet-bits", "edgecodec/entropy/packet.py", 'if "1" in bits[at:]:', "if False:", _PACKET),
    Mutant(
        "py-packet-long",
        "edgecodec/entropy/packet.py",
        "if len(payload) >= plain:",
        "if len(payload) > plain:",
        _PACKET,
    ),
    Mutant(
        "py-packet-index",
        "edgecodec/entropy/packet.py",
        "                if index >= codes:\n",
        "                if index > codes:\n",
        _PACKET,
    ),
    Mutant("py-packet-flat", "edgecodec/entropy/packet.py", "if form is Form.FLAT and rest:", "if False:", _PACKET),
    Mutant(
        "py-side-sign",
        "edgecodec/entropy/side_information.py",
        "return -offset if location < 0 else offset, spread",
        "return offset, spread",
        _SIDE,
    ),
    Mutant(
        "py-side-range",
        "edgecodec/entropy/side_information.py",
        "if offset >= 1 << 31 or spread >= 1 << 64:",
        "if False:",
        _SIDE,
    ),
    # The encoder object.
    Mutant(
        "encoder-gap-flag",
        f"{_CODEC}_encoder.c",
        "e->flags = e->skips ? 0 : EDC_PACKET_GAP;",
        "e->flags = 0;",
        _ENCODER,
    ),
    Mutant(
        "encoder-gap-number",
        f"{_CODEC}_encoder.c",
        "e->number += lost / samples + at / samples;",
        "e->number += lost / samples;",
        _ENCODER,
    ),
    Mutant(
        "encoder-clipped",
        f"{_CODEC}_encoder.c",
        "sample <= e->least || sample >= e->most",
        "sample < e->least || sample > e->most",
        _ENCODER,
    ),
    Mutant(
        "encoder-full",
        f"{_CODEC}_encoder.c",
        "if (filled - taken == FRAMES) {",
        "if (filled - taken > FRAMES) {",
        _ENCODER,
    ),
    Mutant(
        "encoder-floor",
        f"{_CODEC}_encoder.c",
        "((int64_t)count - e->offset) >> e->shift",
        "((int64_t)count - e->offset) / (1ll << e->shift)",
        _ENCODER,
    ),
    Mutant(
        "encoder-last-fragment",
        f"{_CODEC}_encoder.c",
        "(count == left ? 0x80u : 0u)",
        "(count < left ? 0x80u : 0u)",
        _ENCODER,
    ),
    Mutant("encoder-looks", f"{_CODEC}_encoder.c", "  e->looks = model->looks;\n", "", _ENCODER),
    Mutant("encoder-size", f"{_CODEC}_encoder.c", "if (bytes < needed) {", "if (bytes + 1 < needed) {", _ENCODER),
    # Models as files.
    Mutant(
        "blob-check",
        f"{_CODEC}_blob.c",
        "header->check != check_of((const uint8_t *)blob + 8, header->bytes - 8u)",
        "header->check == 0",
        _BLOB,
    ),
    Mutant(
        "blob-pointer",
        f"{_CODEC}_blob.c",
        "value > (kind == TABLE ? header->table_bytes : header->memory_bytes)",
        "value == 1",
        _BLOB,
    ),
    Mutant(
        "blob-kernel", f"{_CODEC}_blob.c", "if (value >= header->kernels) {", "if (value > header->kernels) {", _BLOB
    ),
    Mutant("blob-model", f"{_CODEC}_blob.c", "header->model <= header->memory_bytes - sizeof(edc_model) &&", "", _BLOB),
    Mutant("blob-version", f"{_CODEC}_blob.c", "header->minor != EDC_VERSION_MINOR", "header->minor == 255", _BLOB),
    Mutant(
        "blob-memory",
        f"{_CODEC}_blob.c",
        "if (memory_bytes < found.memory_bytes) {",
        "if (memory_bytes + 1 < found.memory_bytes) {",
        _BLOB,
    ),
    # The reference and the constants.
    Mutant("reference-tie", "edgecodec/codec/reference.py", "(mask >> 1) + (high < 0)", "(mask >> 1)", _REFERENCE),
    Mutant(
        "graph-multiplier",
        "edgecodec/codec/graph.py",
        "math.floor(fraction * 2.0**31 + 0.5)",
        "math.floor(fraction * 2.0**31)",
        _READER,
    ),
    Mutant(
        "graph-narrow",
        "edgecodec/codec/graph.py",
        "self.accumulator_bound < 1 << 30 and whole_range",
        "whole_range",
        _PLAN,
    ),
    Mutant(
        "padding-same", "edgecodec/codec/graph.py", "return out, total // 2", "return out, (total + 1) // 2", _READER
    ),
)
