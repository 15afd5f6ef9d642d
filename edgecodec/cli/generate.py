"""``edgecodec generate``."""

from __future__ import annotations

from pathlib import Path

import click

from edgecodec.cli.options import (
    bundle_argument,
    force_option,
    json_option,
    optimize_option,
    output_option,
    subcommand,
)
from edgecodec.cli.output import Streams


@subcommand("generate", example="edgecodec generate bundle -o codec-c")
@bundle_argument
@output_option("Folder for the C library.")
@optimize_option
@force_option
@json_option
@click.pass_obj
def command(streams: Streams, bundle: Path, output: Path, optimize: str, force: bool) -> int:
    """Write the C library of a bundle.

    The folder holds plain C11 without malloc or float, a CMakeLists.txt and a README.md; the same bundle
    gives the same bytes.
    """
    from edgecodec.bundle import Bundle
    from edgecodec.cli.tables import facts
    from edgecodec.compile.kernels import Optimize, Target
    from edgecodec.compile.project import write_library

    loaded = Bundle.load(bundle)
    files = write_library(loaded, output, target=Target(Optimize(optimize)), force=force)
    document = {"bundle_digest": loaded.digest, "output": str(output), "files": [path.name for path in files]}
    return streams.finish(
        document, lambda console: facts(console, {"library": output, "files": ", ".join(path.name for path in files)})
    )
