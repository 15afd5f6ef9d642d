"""``edgecodec generate``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import click

from edgecodec.cli.options import (
    bundle_argument,
    core_option,
    force_option,
    json_option,
    optimize_option,
    output_option,
    subcommand,
)
from edgecodec.cli.output import Streams
from edgecodec.compile.blob_header import SUFFIX, BlobFacts
from edgecodec.documents import Document


@dataclass(frozen=True)
class GenerateDocument(Document):
    """The C sources that were written."""

    SCHEMA = "edgecodec.generate"

    bundle_digest: str
    """SHA-256 of the bundle's manifest, in hexadecimal digits."""
    output: Path
    """Folder that they are in."""
    prefix: str
    """First part of the model's C names."""
    core: str | None
    """Core that kernels were chosen for; null for such that run on Cortex-M3 and up."""
    files: tuple[str, ...]
    """Paths of all files within the folder, sorted."""
    blob: BlobFacts | None
    """The model as a file that programs open; null where it is a constant of the C."""


@subcommand(
    "generate",
    example="edgecodec generate bundle -o codec-c\n"
    "edgecodec generate bundle -o codec-lib --library --core cortex-m33\n"
    "edgecodec generate bundle -o codec-ota --blob --all-kernels --core cortex-m4\n"
    "edgecodec generate bundle -o decoder-c --decoder",
)
@bundle_argument
@output_option("Folder for the C sources.")
@click.option(
    "--library",
    is_flag=True,
    help="For a vendor's SDK or an RTOS: with serial link, port header, example, CMake package and Zephyr module.",
)
@click.option(
    "--decoder",
    is_flag=True,
    help="For a phone: the way back, packets to ADC counts, in C99 with floats (PREFIX_decoder).",
)
@click.option(
    "--prefix", default="ppg", show_default=True, help="First part of the model's C names: PREFIX_model, PREFIX_state."
)
@click.option(
    "--single-file", is_flag=True, help="One source and one header, PREFIX_codec.c and .h, instead of a folder of them."
)
@click.option(
    "--blob",
    is_flag=True,
    help="The model as a file PREFIX.edcm, to be updated without the program, which has the kernels and opens it. "
    "Takes arm-none-eabi-gcc.",
)
@click.option(
    "--all-kernels",
    is_flag=True,
    help="With --blob: all kernels of the core and goal, so that the program opens later models of other layers, too.",
)
@core_option
@optimize_option
@force_option
@json_option
@click.pass_obj
def command(
    streams: Streams,
    bundle: Path,
    output: Path,
    library: bool,
    decoder: bool,
    prefix: str,
    single_file: bool,
    blob: bool,
    all_kernels: bool,
    core: str | None,
    optimize: str,
    force: bool,
) -> int:
    """Write the C library of a bundle.

    Plain C11 without malloc or float, with CMakeLists.txt and README.md; the same bundle gives the same bytes. The
    model is a constant PREFIX_model, so models of several prefixes link into one program; with --blob it is a file that
    edc_model_open opens where it lies (edc_blob.h). With --decoder, the C of the other side.
    """
    from edgecodec.bundle import Bundle
    from edgecodec.cli.tables import facts
    from edgecodec.compile.library import DEFAULT_CORE, write_package, write_sources
    from edgecodec.compile.target import Target

    if library and single_file:
        raise click.UsageError("--library is a folder with a link of its own; give it or --single-file, not both")
    if library and blob:
        raise click.UsageError("--library has its model linked, as its link serves it; give it or --blob, not both")
    if all_kernels and not blob:
        raise click.UsageError("--all-kernels is for programs that open models; give it with --blob")
    if decoder and (library or single_file or blob or core is not None):
        raise click.UsageError(
            "--decoder is for a phone: it goes with none of --library, --single-file, --blob and --core"
        )
    loaded = Bundle.load(bundle)
    chosen = core or DEFAULT_CORE
    if decoder:
        from edgecodec.compile.decoder_library import write_decoder

        files = write_decoder(loaded, output, prefix=prefix, force=force)
    elif library:
        files = write_package(loaded, output, core=chosen, optimize=optimize, prefix=prefix, force=force)
    else:
        target = Target.of_core(core, optimize)
        files = write_sources(
            loaded,
            output,
            target=target,
            prefix=prefix,
            single_file=single_file,
            blob=blob,
            all_kernels=all_kernels,
            force=force,
        )
    names = tuple(path.relative_to(output).as_posix() for path in files)
    found = BlobFacts.read(output / f"{prefix}{SUFFIX}") if blob else None
    document = GenerateDocument(loaded.digest, output, prefix, chosen if library else core, names, found)
    lines = {"library": output, "files": ", ".join(names)}
    if found is not None:
        lines["blob"] = f"{found.file}, {found.bytes:,} bytes; opening it takes {found.memory_bytes:,} bytes of RAM"
    return streams.finish(document, lambda console: facts(console, lines))
