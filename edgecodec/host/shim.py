"""The host shim: the firmware's own C, generated and hand-written, called from Python through cffi."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from edgecodec.codec.arrays import Frames, Indices, as_frames
from edgecodec.codec.stages import Shape, Stages
from edgecodec.errors import BuildError, EdgecodecError, InputError
from edgecodec.host.encoder_object import EncoderObject
from edgecodec.host.extension import load_extension

if TYPE_CHECKING:
    from edgecodec.bundle import Bundle
    from edgecodec.compile.plan import Plan


class HostShim:
    """Runs a bundle's C on this machine: the sources that its firmware is built from, frame by frame.

    The kernels are those of ``plan``, by default such that need no vectors (:func:`edgecodec.compile.plan.make_plan`).
    For many frames at once, :func:`edgecodec.host.encoders.fastest_encoder` gives the same indices sooner.

    Building takes a few seconds the first time and is cached by content. Safe for threads that share one. Raises
    BuildError when there is no compiler, no Python headers, or the compiler fails, and PlanError when the codec cannot
    be executed exactly.
    """

    name = "host"

    def __init__(self, bundle: Bundle, plan: Plan | None = None) -> None:
        from edgecodec._version import __version__
        from edgecodec.compile.library import codec_files
        from edgecodec.compile.plan import make_plan
        from edgecodec.compile.render import render_served, render_template

        files = codec_files(bundle, plan or make_plan(bundle.codec)) | render_served(bundle.codec.numerics)
        context = {"version": __version__, "activation": bundle.codec.numerics.activation.name}
        files["edc_shim.h"] = render_template("shim.h.j2", **context)
        files["edc_shim.c"] = render_template("shim.c.j2", **context)
        self._has_encoder = bundle.packets() is not None
        declarations = render_template("shim_cdef.h.j2", packets=self._has_encoder, **context)
        module = load_extension(files, declarations, '#include "edc_shim.h"')
        self._ffi: Any = module.ffi
        self._lib: Any = module.lib
        self._digest = bundle.digest
        self._shape = bundle.codec.shape
        self._numerics = bundle.codec.numerics
        self._check(bundle)

    def __repr__(self) -> str:
        return f"HostShim({self._digest[:12]}, {self.state_bytes:,} bytes of state)"

    @property
    def state_bytes(self) -> int:
        """Size of the C codec's working memory, as its compiler sees it."""
        return int(self._lib.edc_shim_info().state_bytes)

    def encode(self, frames: Frames) -> Indices:
        """Encode int16 ``[N, T]`` into uint16 ``[N, P, L]``. Raises InputError for another shape or type."""
        frames = as_frames(frames, self._shape.samples)
        count = len(frames)
        result = Stages.empty(count, self._shape, ("offset", "spread", "indices"))
        status = self._lib.edc_shim_encode(
            self._state(),
            self._source(frames),
            count,
            self._target(result.indices),
            self._target(result.offset),
            self._target(result.spread),
        )
        if status:
            raise EdgecodecError(f"host shim: {self._ffi.string(self._lib.edc_strerror(status)).decode()}")
        return result.indices

    def stages(self, frames: Frames) -> Stages:
        """Encode int16 ``[N, T]`` and keep every stage, of the same C step by step.

        Raises InputError for another shape or type.
        """
        frames = as_frames(frames, self._shape.samples)
        count = len(frames)
        result = Stages.empty(count, self._shape, numerics=self._numerics)
        self._lib.edc_shim_stages(
            self._state(),
            self._source(frames),
            count,
            self._target(result.input),
            self._target(result.latent),
            self._target(result.indices),
            self._target(result.offset),
            self._target(result.spread),
        )
        return result

    def encoder(self) -> EncoderObject:
        """A new encoder object. Raises InputError when the bundle has no packets."""
        if not self._has_encoder:
            raise InputError("the bundle has no packets, so its C has no encoder object")
        return EncoderObject(self._ffi, self._lib)

    def _state(self) -> Any:
        return self._ffi.new("uint32_t[]", self.state_bytes // 4)

    def _source(self, frames: Frames) -> Any:
        return self._ffi.from_buffer("int16_t[]", frames)

    def _target(self, array: npt.NDArray[Any] | None) -> Any:
        assert array is not None
        return self._ffi.from_buffer(f"{array.dtype}_t[]", array, require_writable=True)

    def _check(self, bundle: Bundle) -> None:
        """The built C must say that it is this bundle's: the cache is on a disk that others write to."""
        info = self._lib.edc_shim_info()
        sizes = (info.samples, info.positions, info.levels, info.latent_channels)
        found = (bytes(self._ffi.buffer(info.digest, 32)).hex(), Shape(*sizes))
        expected = (bundle.digest, bundle.codec.shape)
        if found != expected:
            raise BuildError(f"host shim: the built module is of {found}; expected {expected}", hint="clear the cache")
