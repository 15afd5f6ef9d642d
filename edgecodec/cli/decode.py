"""``edgecodec decode``."""

from __future__ import annotations

from pathlib import Path

import click

from edgecodec.cli.options import bundle_argument, json_option, output_option, path, subcommand
from edgecodec.cli.output import Streams


@subcommand("decode", example="edgecodec decode bundle indices.npz -o ppg.npz")
@bundle_argument
@click.argument("indices", type=path)
@output_option("File for the PPG (.npz with `ppg` float32 [N, T] and `units`).")
@json_option
@click.pass_obj
def command(streams: Streams, bundle: Path, indices: Path, output: Path) -> int:
    """Turn codebook indices back into PPG.

    INDICES is a .npz with `indices` uint16 [N, P, L], as --indices-out writes it. With `sum` and `variance`
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
    units = "normalised" if content.sum is None else "adc counts"
    write_file(output, npz_bytes({"ppg": ppg, "units": np.array(units)}))
    document = {"output": str(output), "frames": ppg.shape[0], "samples": ppg.shape[1], "units": units}
    return streams.finish(document, lambda console: facts(console, document))
