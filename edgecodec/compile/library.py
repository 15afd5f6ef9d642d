"""The codec as C for others to build: its sources alone, or a library for a vendor's SDK."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from edgecodec._version import __version__
from edgecodec.boards import cores
from edgecodec.compile.index_tables import with_packets
from edgecodec.compile.plan import Plan, make_plan
from edgecodec.compile.render import DEFAULT_PREFIX, render_codec, render_template, with_sources
from edgecodec.compile.target import DEFAULT_TARGET, Target
from edgecodec.errors import InputError
from edgecodec.files.atomic import replace_folder
from edgecodec.files.resources import firmware_dir

if TYPE_CHECKING:
    from edgecodec.bundle import Bundle

SOURCES_MARKER = "edc.h"
"""File by which a folder that :func:`write_sources` wrote is known."""
PACKAGE_MARKER = "codec/edc.h"
"""File by which a folder that :func:`write_package` wrote is known."""
OPTIMIZE_FLAGS = {"speed": "-O3", "balanced": "-O2", "flash": "-Os"}
"""The compiler's option for each :class:`edgecodec.compile.target.Optimize`."""
DEFAULT_CORE = "cortex-m4"
"""Core of a package when none is named."""
_TEMPLATE_OF_PACKAGE_FILE = {
    "CMakeLists.txt": "package_CMakeLists.txt",
    "README.md": "package_README.md",
    "cmake/edgecodec-config.cmake": "config.cmake",
    "zephyr/CMakeLists.txt": "zephyr_CMakeLists.txt",
}
_BOARD_OF_CORE = {
    "cortex-m0": "microbit",
    "cortex-m0plus": "pico",
    "cortex-m3": "mps2-an385",
    "cortex-m4": "mps2-an386",
    "cortex-m7": "mps2-an500",
    "cortex-m33": "mps2-an505",
    "cortex-m55": "mps3-an547",
}
"""A board with each core, for the command in the package's README."""


def codec_files(bundle: Bundle, plan: Plan, prefix: str = DEFAULT_PREFIX) -> dict[str, str]:
    """Every C file of a bundle's codec, hand-written and generated: file name to text.

    The model is ``<prefix>_model``; kernels that the plan does not use are left out. Raises InputError for a prefix
    that starts no C name of its own.
    """
    return with_sources(render_codec(bundle, plan, prefix))


def served_files(bundle: Bundle, plan: Plan, prefix: str = DEFAULT_PREFIX) -> dict[str, str]:
    """:func:`codec_files`, what the bundle's packets are made with, and the header by which the link knows both."""
    return with_packets(bundle, render_codec(bundle, plan, prefix), prefix)


def write_sources(
    bundle: Bundle,
    out: str | os.PathLike[str],
    *,
    target: Target = DEFAULT_TARGET,
    prefix: str = DEFAULT_PREFIX,
    force: bool = False,
) -> list[Path]:
    """Write the C sources of ``bundle``, one flat folder, into ``out`` and return its files.

    The same bundle, target and prefix give the same bytes. Raises InputError when ``out`` holds other files and for a
    prefix that starts no C name of its own, PlanError when a layer cannot be executed exactly.
    """
    plan = make_plan(bundle.codec, target)
    files = codec_files(bundle, plan, prefix)
    sources = sorted(name for name in files if name.endswith(".c"))
    context = {"bundle": bundle, "plan": plan, "prefix": prefix, "sources": sources}
    files["CMakeLists.txt"] = render_template("library_CMakeLists.txt.j2", **context)
    files["README.md"] = render_template("library_README.md.j2", **context)
    return _write(files, out, SOURCES_MARKER, force)


def write_package(
    bundle: Bundle,
    out: str | os.PathLike[str],
    *,
    core: str = DEFAULT_CORE,
    optimize: str = "speed",
    prefix: str = DEFAULT_PREFIX,
    force: bool = False,
) -> list[Path]:
    """Write the library for a vendor's SDK or an RTOS into ``out`` and return its files.

    Codec, serial link and the header of the five port functions, an example, a CMake package (``edgecodec::codec``,
    ``edgecodec::server``) and a Zephyr module; kernels for ``core``, of :data:`edgecodec.boards.cores.CORES`. The same
    bundle, core, goal and prefix give the same bytes. Raises InputError for an unknown core, for a prefix that starts
    no C name of its own and when ``out`` holds other files, PlanError when a layer cannot be executed exactly.
    """
    if core not in cores.CORES:
        raise InputError(f"core {core!r} is unknown; expected one of {', '.join(cores.CORES)}")
    plan = make_plan(bundle.codec, Target.of_core(core, optimize))
    files = {f"codec/{name}": text for name, text in served_files(bundle, plan, prefix).items()}
    files |= _read_all(firmware_dir(), ["link/edc_*.[ch]", "port/edc_*.h"])
    files |= _read_all(firmware_dir() / "library", ["example/*", "zephyr/*"])
    context = {
        "version": __version__,
        "bundle": bundle,
        "plan": plan,
        "prefix": prefix,
        "core": core,
        "board": _BOARD_OF_CORE.get(core, "BOARD"),
        "optimize": optimize,
        "optimize_flag": OPTIMIZE_FLAGS[optimize],
        "codec_sources": sorted(path for path in files if path.startswith("codec/") and path.endswith(".c")),
        "server_sources": sorted(path for path in files if path.startswith("link/") and path.endswith(".c")),
        "headers": sorted(path for path in files if path.endswith(".h")),
    }
    for path, template in _TEMPLATE_OF_PACKAGE_FILE.items():
        files[path] = render_template(f"library_{template}.j2", **context)
    return _write(files, out, PACKAGE_MARKER, force)


def _read_all(root: Path, patterns: list[str]) -> dict[str, str]:
    """The files below ``root`` that match any of ``patterns``: path within it to text."""
    paths = (path for pattern in patterns for path in root.glob(pattern))
    return {path.relative_to(root).as_posix(): path.read_text(encoding="utf-8") for path in paths}


def _write(files: dict[str, str], out: str | os.PathLike[str], marker: str, force: bool) -> list[Path]:
    """Write ``files`` into ``out``, all or none, and return their paths, sorted."""
    with replace_folder(out, marker=marker, force=force) as folder:
        for name, text in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8", newline="\n")
    return [Path(out) / name for name in sorted(files)]
