"""The codec as a plain C library: hand-written sources, the generated model, a CMake file, a README."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from edgecodec.compile.kernels import DEFAULT_TARGET, Target
from edgecodec.compile.plan import Plan, make_plan
from edgecodec.compile.render import codec_sources, render_codec, render_template
from edgecodec.outputs import replace_folder

if TYPE_CHECKING:
    from edgecodec.bundle import Bundle

MARKER = "edc_model.h"


def codec_files(bundle: Bundle, plan: Plan) -> dict[str, str]:
    """Every C file of a bundle's codec, hand-written and generated: file name to text."""
    files = {source.name: source.read_text(encoding="utf-8") for source in codec_sources()}
    return files | render_codec(bundle, plan)


def write_library(
    bundle: Bundle, out: str | os.PathLike[str], *, target: Target = DEFAULT_TARGET, force: bool = False
) -> list[Path]:
    """Write the C library of ``bundle`` into the folder ``out`` and return its files.

    The same bundle and target give the same bytes. Raises InputError when ``out`` holds other files, PlanError when
    the codec cannot be executed exactly.
    """
    plan = make_plan(bundle, target)
    files = codec_files(bundle, plan)
    sources = sorted(name for name in files if name.endswith(".c"))
    context = {"bundle": bundle, "plan": plan, "sources": sources}
    files["CMakeLists.txt"] = render_template("library_CMakeLists.txt.j2", **context)
    files["README.md"] = render_template("library_README.md.j2", **context)
    with replace_folder(out, marker=MARKER, force=force) as folder:
        for name, text in files.items():
            (folder / name).write_text(text, encoding="utf-8", newline="\n")
    return [Path(out) / name for name in sorted(files)]
