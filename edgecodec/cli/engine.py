"""``--engine`` and what TensorFlow Lite Micro needs besides."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgecodec.cli.options import path
from edgecodec.cli.output import Streams

if TYPE_CHECKING:
    from edgecodec.boards.schema import Board
    from edgecodec.bundle import Bundle
    from edgecodec.engines.base import Engine
    from edgecodec.engines.tflm.library import TflmSource


class EngineChoice:
    """The engine that the user asked for: generated C, unless it is another."""

    @property
    def runs_alone(self) -> bool:
        """Whether its codec can be built without link, UART and timer."""
        from edgecodec.engines.native import NativeEngine

        return NativeEngine.runs_alone

    def open(self, streams: Streams, bundle: Bundle, board: Board, optimize: str) -> Engine:
        """The engine for a bundle on a board."""
        from edgecodec.engines.native import NATIVE_ENGINE

        return NATIVE_ENGINE


@dataclass(frozen=True)
class TflmChoice(EngineChoice):
    """A TensorFlow Lite Micro that the user brought."""

    source: TflmSource
    """Where it is."""

    @property
    def runs_alone(self) -> bool:
        """Whether its codec can be built without link, UART and timer."""
        from edgecodec.engines.tflm.engine import TflmEngine

        return TflmEngine.runs_alone

    def open(self, streams: Streams, bundle: Bundle, board: Board, optimize: str) -> Engine:
        """The engine, checked and its arena found; warns of what makes it dearer than need be."""
        from edgecodec.device.tflm_arena import open_tflm

        engine = open_tflm(self.source, bundle, board, optimize=optimize)
        for warning in engine.library.warnings:
            streams.say(f"warning: {warning}")
        return engine


def engine_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """``--engine`` and the options of TensorFlow Lite Micro: the function gets one ``engine``, an EngineChoice."""

    @wraps(function)
    def wrapper(
        *args: Any,
        engine: str,
        tflm_dir: Path | None,
        tflm_lib: Path | None,
        tflm_arena: int | None,
        **rest: Any,
    ) -> Any:
        return function(*args, engine=_choice(engine, tflm_dir, tflm_lib, tflm_arena), **rest)

    options = (
        click.option(
            "--engine",
            type=click.Choice(["native", "tflm"]),
            default="native",
            show_default=True,
            help="What runs the encoder: generated C, or your TensorFlow Lite Micro.",
        ),
        click.option(
            "--tflm-dir", type=path, metavar="DIR", help="Its header tree: the folder with tensorflow/lite/micro."
        ),
        click.option(
            "--tflm-lib", type=path, metavar="FILE", help="Its static library, built by you for the board's core."
        ),
        click.option(
            "--tflm-arena",
            type=click.IntRange(min=1),
            metavar="BYTES",
            help="RAM for its interpreter; measured on an emulated board by default.",
        ),
    )
    wrapped: Callable[..., Any] = wrapper
    for option in reversed(options):
        wrapped = option(wrapped)
    return wrapped


def _choice(engine: str, tflm_dir: Path | None, tflm_lib: Path | None, tflm_arena: int | None) -> EngineChoice:
    if engine == "native":
        if tflm_dir or tflm_lib or tflm_arena:
            raise click.UsageError("--tflm-dir, --tflm-lib and --tflm-arena need --engine tflm")
        return EngineChoice()
    if tflm_dir is None or tflm_lib is None:
        raise click.UsageError("--engine tflm needs --tflm-dir and --tflm-lib")
    from edgecodec.engines.tflm.library import TflmSource

    return TflmChoice(TflmSource(tflm_dir, tflm_lib, tflm_arena))
