"""``edgecodec decode``."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar

import click

from edgecodec.cli.options import bundle_argument, json_option, npz_path, path, subcommand
from edgecodec.cli.output import Streams
from edgecodec.documents import Document


@dataclass(frozen=True)
class DecodeDocument(Document):
    """What ``edgecodec decode --json`` prints: the file of PPG that was written."""

    SCHEMA: ClassVar[str] = "edgecodec.decode"

    output: Path
    """The file, a .npz with `ppg` float32 [N, T]."""
    frames: int
    """N, frames decoded."""
    samples: int
    """T, samples of a frame."""
    units: str
    """`adc counts`, or `normalised` when the indices came without offset and spread."""


@subcommand("decode", example="edgecodec decode bundle indices.npz -o ppg.npz")
@bundle_argument
@click.argument("indices", type=path)
@click.option(
    "-o",
    "--output",
    type=npz_path,
    required=True,
    metavar="FILE",
    help="File for the PPG: a .npz with `ppg` float32 [N, T] and `units`.",
)
@json_option
@click.pass_obj
def command(streams: Streams, bundle: Path, indices: Path, output: Path) -> int:
    """Turn codebook indices back into PPG.

    INDICES is a .npz with `indices` uint16 [N, P, L], as --indices-out writes it. With `offset` and `spread`
    in it the PPG is in ADC counts, without them it is normalised.
    """
    import numpy as np

    from edgecodec.bundle import Bundle
    from edgecodec.cli.tables import facts
    from edgecodec.decoding.decoder import FrameDecoder
    from edgecodec.decoding.index_file import load_indices
    from edgecodec.files.atomic import npz_bytes, write_file

    content = load_indices(indices)
    ppg = FrameDecoder(Bundle.load(bundle)).decode_file(content)
    units = "normalised" if content.offset is None else "adc counts"
    write_file(output, npz_bytes({"ppg": ppg, "units": np.array(units)}))
    document = DecodeDocument(output, ppg.shape[0], ppg.shape[1], units)
    return streams.finish(document, lambda console: facts(console, asdict(document)))
