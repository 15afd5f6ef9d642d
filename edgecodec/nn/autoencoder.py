"""The codec's autoencoder: strided convolutions, residual vector quantiser, upsampling decoder.

The layers and names follow compressionKIT's ``build_rvq_autoencoder``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from edgecodec.nn.ema_rvq import EmaResidualVectorQuantizer
from edgecodec.nn.rvq import ResidualQuantizerBase, ResidualVectorQuantizer, keras, ops

layers = keras.layers


def make_divisible(v: float, d: int, min: int | None = None) -> int:
    """Round ``v`` to a multiple of ``d``, at least ``min`` (default ``d``) and not below 0.9 ``v``.

    Source: MobileNet's channel rounding.
    """
    rounded = max(d if min is None else min, int(v + d / 2) // d * d)
    return rounded + d if rounded < 0.9 * v else rounded


def build_encoder_2d(
    input_len: int = 2048,
    in_ch: int = 1,
    base: int = 32,
    embedding_dim: int = 16,
    multiplier: float = 1.25,
    num_stages: int = 4,
    block_norm: str = "batch",
    head_norm: str = "none",
) -> Any:
    """Encoder from ``(1, T, in_ch)`` frames to ``(1, T / 2^num_stages, embedding_dim)`` latents.

    Two stages of strided convolution, then depthwise-separable ones. Norms are ``"batch"``, ``"layer"`` or
    ``"none"``; only batch and none can be quantised. Raises ValueError when ``input_len`` is not divisible
    by ``2^num_stages``, ``num_stages < 1`` or a norm is unknown.
    """
    factor = _downsample_factor("input_len", input_len, num_stages)
    x = inputs = layers.Input((1, input_len, in_ch), name="enc_in")
    filters = base
    for stage in range(1, num_stages + 1):
        name = f"enc_s{stage}"
        if stage <= 2:
            conv = layers.Conv2D(filters, (1, 7), strides=(1, 2), padding="same", name=f"{name}_conv")
            x = _norm_relu(conv(x), block_norm, name)
        else:
            # Frames are one row high, so stride (2, 2) does what (1, 2) does; TensorFlow's depthwise
            # kernel takes only equal strides on machines without oneDNN.
            depthwise = layers.DepthwiseConv2D((1, 7), strides=(2, 2), padding="same", name=f"{name}_dw")
            x = _norm_relu(depthwise(x), block_norm, f"{name}_dw")
            x = _norm_relu(layers.Conv2D(filters, (1, 1), name=f"{name}_pw")(x), block_norm, f"{name}_pw")
        filters = make_divisible(filters * multiplier, 8)
    x = layers.Conv2D(embedding_dim, (1, 1), name="to_vq")(x)
    x = _apply_norm_2d(x, head_norm, "enc_head_norm")
    return keras.Model(inputs, x, name=f"Encoder2D_ds{factor}")


def build_linear_encoder_2d(
    input_len: int = 2048, in_ch: int = 1, embedding_dim: int = 16, num_stages: int = 4, kernel: int = 31
) -> Any:
    """Encoder of one linear convolution, from ``(1, T, in_ch)`` frames to ``(1, T / 2^num_stages, embedding_dim)``.

    ``kernel`` taps, a stride of ``2^num_stages``, no activation and no norm. Training starts from
    :func:`lapped_transform`. Raises ValueError when ``input_len`` is not divisible by the stride, ``num_stages < 1`` or
    ``kernel`` is shorter than the stride, which would skip samples.
    """
    factor = _downsample_factor("input_len", input_len, num_stages)
    if kernel < factor:
        raise ValueError(f"kernel is {kernel}; expected at least the stride, {factor}, or samples are skipped")
    inputs = layers.Input((1, input_len, in_ch), name="enc_in")
    to_vq = layers.Conv2D(embedding_dim, (1, kernel), strides=(1, factor), padding="same", name="to_vq")
    model = keras.Model(inputs, to_vq(inputs), name=f"LinearEncoder2D_ds{factor}")
    # Assigned, for an initialiser of our own could be loaded only where edgecodec is.
    taps = lapped_transform(kernel, factor, embedding_dim) / in_ch
    to_vq.kernel.assign(np.broadcast_to(taps[:, None, :], to_vq.kernel.shape))
    return model


def lapped_transform(taps: int, stride: int, bands: int) -> npt.NDArray[np.float32]:
    """Analysis filters ``[taps, bands]`` of a modulated lapped transform, lowest band first, centred in their taps.

    ``w[n] cos((n + (stride + 1) / 2) (k + 1/2) pi / M) sqrt(2 / (stride M))`` for band k, M the greater of ``stride``
    and ``bands``, with the sine window w of ``min(taps, 2 stride)`` taps. With as many bands as the stride it is
    orthogonal but for a factor: the latent's squared length is the mean square of the samples that it stands for, so
    that from the first step an error of the latent counts as much as it does in the signal.
    Source: Malvar 1990, "Lapped transforms for efficient transform/subband coding".
    """
    length, cosines = min(taps, 2 * stride), max(stride, bands)
    n, k = np.arange(length)[:, None], np.arange(bands)
    window = np.sin(np.pi * (n + 0.5) / length)
    phase = (n + (stride + 1) / 2) * (k + 0.5) * np.pi / cosines
    filters = np.zeros((taps, bands), np.float32)
    start = (taps - length) // 2
    filters[start : start + length] = window * np.cos(phase) * math.sqrt(2 / (stride * cosines))
    return filters


def build_decoder_2d(
    output_len: int = 2048,
    out_ch: int = 1,
    base: int = 32,
    embedding_dim: int = 16,
    multiplier: float = 1.25,
    num_stages: int = 4,
    decoder_block_norm: str = "none",
    head_norm: str = "layer",
    context_blocks: int = 0,
) -> Any:
    """Decoder from ``(1, T / 2^num_stages, embedding_dim)`` latents to ``(1, T, out_ch)`` frames.

    ``context_blocks`` residual blocks (depthwise convolution of 7 positions, then 1x1 to twice the filters and
    back) widen what a sample is decoded from, by 6 positions each, before anything is upsampled. Raises
    ValueError as :func:`build_encoder_2d` does.
    """
    factor = _downsample_factor("output_len", output_len, num_stages)
    x = inputs = layers.Input((1, output_len // factor, embedding_dim), name="latent_in")
    filters = make_divisible(base * multiplier ** (num_stages - 1), 8)
    if context_blocks:
        x = layers.Conv2D(filters, (1, 1), name="dec_context_in")(x)
    for block in range(1, context_blocks + 1):
        x = _context_block(x, filters, f"dec_context{block}")
    for stage in range(1, num_stages + 1):
        name = f"dec_s{stage}"
        x = layers.UpSampling2D((1, 2), interpolation="nearest", name=f"{name}_up")(x)
        x = layers.Conv2D(filters, (1, 7), padding="same", name=f"{name}_conv")(x)
        x = _norm_relu(x, decoder_block_norm, f"{name}_conv")
        x = layers.SeparableConv2D(filters, (1, 5), padding="same", name=f"{name}_aa")(x)
        x = _norm_relu(x, decoder_block_norm, f"{name}_aa")
        filters = make_divisible(filters / multiplier, 8)
    x = _apply_norm_2d(x, head_norm, "dec_head_norm")
    x = layers.Conv2D(out_ch, (1, 1), name="out")(x)
    return keras.Model(inputs, x, name=f"Decoder2D_ds{factor}")


@dataclass(frozen=True)
class _Extras:
    """What :meth:`VQAutoencoder.compile` was given beside Keras's own; in a class that Keras does not track."""

    losses: tuple[Callable[[Any, Any], Any], ...] = ()
    metrics: tuple[tuple[Any, Callable[[Any, Any], Any] | None], ...] = ()
    """Metrics to show; with a function, the mean of its values, otherwise the metric's own update."""


@keras.saving.register_keras_serializable(package="edgecodec")
class VQAutoencoder(keras.Model):  # type: ignore[misc]
    """Encoder, quantiser ``vq`` and decoder in one model.

    Its loss is the compiled reconstruction loss plus the quantiser's.
    """

    def __init__(self, encoder: Any, vq: ResidualQuantizerBase, decoder: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._extras = _Extras()
        self.encoder = encoder
        self.vq = vq
        self.decoder = decoder

    def build(self, input_shape: Any = None) -> None:
        """Build the quantiser on the encoder's latents."""
        if not self.vq.built:
            self.vq.build(self.encoder.output_shape)
        self.built = True

    def call(self, x: Any, training: bool = False, return_indices: bool = False) -> Any:
        """Reconstruct frames ``[N, 1, T, C]``; with ``return_indices`` also the indices of each level."""
        quantized, indices = self.vq(self.encoder(x, training=training), training=training, return_indices=True)
        y = self.decoder(quantized, training=training)
        return (y, indices) if return_indices else y

    def compile(
        self,
        *args: Any,
        extra_losses: Sequence[Callable[[Any, Any], Any]] | None = None,
        extra_metrics: Sequence[Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Configure training as ``keras.Model.compile`` does.

        ``extra_losses`` are functions ``f(y_true, y_pred)`` of which each is added to the loss; ``extra_metrics`` such
        functions, whose mean is shown under their name, or Keras metrics. A saved model is compiled again when it is
        loaded, unless it has any of these.
        """
        super().compile(*args, **kwargs)
        metrics = tuple(
            (metric, None)
            if isinstance(metric, keras.metrics.Metric)
            else (keras.metrics.Mean(name=getattr(metric, "__name__", "extra_metric")), metric)
            for metric in extra_metrics or ()
        )
        self._extras = _Extras(tuple(extra_losses or ()), metrics)

    def get_compile_config(self) -> dict[str, Any]:
        """Arguments of :meth:`compile`; empty with extra losses or metrics, which are functions and cannot be saved."""
        if self._extras != _Extras():
            return {}
        config: dict[str, Any] = super().get_compile_config()
        return config

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compile with what :meth:`get_compile_config` returned."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        if self.built:
            self.optimizer.build(self.trainable_variables)

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        """Compiled loss, the quantiser's and the extra ones; a scalar."""
        total = super().compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, training=training)
        for loss in self._extras.losses:
            total = total + ops.mean(loss(y, y_pred))
        return total

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict[str, Any]:
        """Compiled and extra metrics by name."""
        for metric, function in self._extras.metrics:
            if function is None:
                metric.update_state(y, y_pred, sample_weight=sample_weight)
            else:
                metric.update_state(function(y, y_pred))
        results: dict[str, Any] = super().compute_metrics(x, y, y_pred, sample_weight)
        return results

    @property
    def metrics(self) -> list[Any]:
        """Metrics of the model, its parts, and the extra ones."""
        return [*super().metrics, *(metric for metric, _ in self._extras.metrics)]

    def get_config(self) -> dict[str, Any]:
        """The three parts, serialised."""
        parts = {"encoder": self.encoder, "vq": self.vq, "decoder": self.decoder}
        serialized = {key: keras.saving.serialize_keras_object(part) for key, part in parts.items()}
        return {"name": self.name, **serialized}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> VQAutoencoder:
        """Rebuild from :meth:`get_config`, or from the configuration of heliaEDGE's class."""
        parts = {
            key: keras.saving.deserialize_keras_object(config[key], custom_objects=custom_objects)
            for key in ("encoder", "vq", "decoder")
        }
        return cls(**parts, name=config.get("name"))


def helia_edge_objects() -> dict[str, type[Any]]:
    """Classes here by the names that heliaEDGE saves its own under.

    ``keras.models.load_model(path, custom_objects=helia_edge_objects())`` loads its ``.keras`` files where it is not
    imported. Weight files need no names: variables lie in the same places.
    """
    layers = (ResidualVectorQuantizer, EmaResidualVectorQuantizer)
    # Its autoencoder is not registered with Keras, so files have that class's name alone.
    return {**{f"helia_edge>{each.__name__}": each for each in layers}, VQAutoencoder.__name__: VQAutoencoder}


def build_rvq_autoencoder(
    frame_size: int,
    *,
    embedding_dim: int = 16,
    latent_width: int | Sequence[int] = 256,
    in_ch: int = 1,
    out_ch: int = 1,
    base_filters: int = 32,
    multiplier: float = 1.25,
    num_levels: int = 2,
    beta: float = 0.25,
    num_stages: int = 4,
    encoder_block_norm: str = "batch",
    encoder_head_norm: str = "none",
    decoder_block_norm: str = "none",
    decoder_head_norm: str = "layer",
    use_ema: bool = False,
    ema_decay: float = 0.99,
    decoder_context_blocks: int = 0,
    revive_threshold: float = 0.0,
    encoder: Literal["stages", "linear"] = "stages",
    encoder_kernel: int = 31,
    decoder_base_filters: int | None = None,
    rate_bias: float | Sequence[float] = 0.0,
) -> tuple[Any, ResidualQuantizerBase, Any, VQAutoencoder]:
    """Return ``(encoder, rvq, decoder, model)`` for frames of ``frame_size`` samples.

    ``latent_width`` is the codebook size K, or one a level. ``use_ema`` chooses
    :class:`EmaResidualVectorQuantizer`, which ``ema_decay``, ``revive_threshold`` and ``rate_bias`` are for.
    ``encoder`` chooses :func:`build_encoder_2d` or :func:`build_linear_encoder_2d`, which ``encoder_kernel`` is for
    and which no ``base_filters``, ``multiplier`` or norm touches. The decoder's first width is
    ``decoder_base_filters``, by default ``base_filters``; ``decoder_context_blocks`` is :func:`build_decoder_2d`'s.
    Raises ValueError when ``frame_size`` is not divisible by ``2^num_stages`` or an argument is out of range.
    """
    factor = _downsample_factor("frame_size", frame_size, num_stages)
    if encoder == "linear":
        analysis = build_linear_encoder_2d(frame_size, in_ch, embedding_dim, num_stages, encoder_kernel)
    elif encoder == "stages":
        norms = encoder_block_norm, encoder_head_norm
        analysis = build_encoder_2d(frame_size, in_ch, base_filters, embedding_dim, multiplier, num_stages, *norms)
    else:
        raise ValueError(f"encoder is {encoder!r}; expected 'stages' or 'linear'")
    decoder = build_decoder_2d(
        frame_size,
        out_ch,
        base_filters if decoder_base_filters is None else decoder_base_filters,
        embedding_dim,
        multiplier,
        num_stages,
        decoder_block_norm,
        decoder_head_norm,
        decoder_context_blocks,
    )
    rvq: ResidualQuantizerBase
    if use_ema:
        rvq = EmaResidualVectorQuantizer(
            num_levels,
            latent_width,
            embedding_dim,
            beta,
            ema_decay,
            revive_threshold=revive_threshold,
            rate_bias=rate_bias,
            name="rvq",
        )
    else:
        rvq = ResidualVectorQuantizer(num_levels, latent_width, embedding_dim, beta, name="rvq")
    model = VQAutoencoder(analysis, rvq, decoder, name=f"RVQAE_2D_ds{factor}")
    model.build((None, 1, frame_size, in_ch))
    return analysis, rvq, decoder, model


def compute_compression_stats(
    frame_size: int, *, bit_depth: int, latent_width: int, num_levels: int, downsample_factor: int = 16
) -> dict[str, float]:
    """Nominal rate of a codec: every index costs ``log2(latent_width)`` bits, headers not counted."""
    positions = frame_size // downsample_factor
    bits_per_index = math.log2(latent_width)
    compressed_bits = positions * num_levels * bits_per_index
    raw_bits = frame_size * bit_depth
    return {
        "frame_size": frame_size,
        "latent_positions": positions,
        "bits_per_index": bits_per_index,
        "compressed_bits_per_window": compressed_bits,
        "raw_bits_per_window": raw_bits,
        "compression_ratio": raw_bits / compressed_bits if compressed_bits else math.inf,
    }


def _downsample_factor(name: str, length: int, num_stages: int) -> int:
    if num_stages < 1:
        raise ValueError(f"num_stages is {num_stages}; expected at least 1")
    factor: int = 2**num_stages
    if length < 1 or length % factor:
        raise ValueError(f"{name} is {length}; expected a multiple of 2**num_stages = {factor}")
    return factor


def _context_block(x: Any, filters: int, name: str) -> Any:
    inner = layers.DepthwiseConv2D((1, 7), padding="same", name=f"{name}_dw")(x)
    inner = layers.ReLU(name=f"{name}_relu")(layers.Conv2D(2 * filters, (1, 1), name=f"{name}_expand")(inner))
    return layers.Add(name=f"{name}_add")([x, layers.Conv2D(filters, (1, 1), name=f"{name}_reduce")(inner)])


def _norm_relu(x: Any, norm: str, name: str) -> Any:
    return layers.ReLU(name=f"{name}_relu")(_apply_norm_2d(x, norm, f"{name}_norm"))


def _apply_norm_2d(x: Any, norm: str, name: str) -> Any:
    if norm == "batch":
        return layers.BatchNormalization(axis=-1, epsilon=1e-5, name=name)(x)
    if norm == "layer":
        return layers.LayerNormalization(axis=-1, epsilon=1e-5, name=name)(x)
    if norm == "none":
        return x
    raise ValueError(f"norm is {norm!r}; expected 'batch', 'layer' or 'none'")
