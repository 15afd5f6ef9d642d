"""``edgecodec decode``."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import click

from edgecodec.cli.options import bundle_argument, json_option, path, subcommand
from edgecodec.cli.output import Streams
from edgecodec.decoding.stream import StreamReport
from edgecodec.documents import Document

if TYPE_CHECKING:
    from edgecodec.bundle import Bundle


@dataclass(frozen=True)
class DecodeDocument(Document):
    """What ``edgecodec decode --json`` prints: the file of PPG that was written."""

    SCHEMA: ClassVar[str] = "edgecodec.decode"

    output: Path
    """The file."""
    frames: int
    """N, frames decoded."""
    samples: int
    """T, samples of a frame."""
    units: str
    """`adc counts`, or `normalised` when the indices came without offset and spread."""
    channels: int
    """Channels."""
    stream: StreamReport | None
    """How the packets came through; null for indices."""


def _written(ctx: click.Context, param: click.Parameter, value: Path) -> Path:
    from edgecodec.signal.writing import WRITTEN

    if value.suffix.lower() not in WRITTEN:
        raise click.BadParameter(f"{str(value)!r} does not end in {', '.join(WRITTEN[:-1])} or {WRITTEN[-1]}")
    return value


@subcommand(
    "decode", example="edgecodec decode bundle ppg.ecs -o ppg.csv\nedgecodec decode bundle indices.npz -o ppg.npz"
)
@bundle_argument
@click.argument("packets", metavar="PACKETS", type=path)
@click.option(
    "-o",
    "--output",
    type=path,
    callback=_written,
    required=True,
    metavar="FILE",
    help="File for the PPG: .csv, .npy, .npz, .parquet, .edf or .hea (WFDB).",
)
@json_option
@click.pass_obj
def command(streams: Streams, bundle: Path, packets: Path, output: Path) -> int:
    """Turn packets, or codebook indices, back into PPG.

    PACKETS is a stream of packets (.ecs), as `encode` writes it. Packets that were lost, doubled, damaged or are of
    another bundle are told and cost only themselves: their samples are missing from a table (.csv, .parquet) and NaN,
    or what stands for missing, elsewhere. A .npz is taken for `indices` uint16 [N, P, L], as --indices-out writes it,
    and becomes a .npz of `ppg` float32 [N, T]; with `offset` and `spread` in it in ADC counts, without them normalised.
    """
    from edgecodec.bundle import Bundle
    from edgecodec.cli.tables import facts
    from edgecodec.entropy.packet_stream import SUFFIX
    from edgecodec.errors import InputError
    from edgecodec.files.atomic import check_output

    check_output(output)
    suffix = packets.suffix.lower()
    if suffix not in (SUFFIX, ".npz"):
        raise InputError(f"{packets}: expected a stream of packets ({SUFFIX}) or indices (.npz)")
    if suffix == ".npz" and output.suffix.lower() != ".npz":
        raise InputError(f"{output}: indices are decoded to .npz alone", hint=f"streams of packets ({SUFFIX}) go there")
    loaded = Bundle.load(bundle)
    if suffix == SUFFIX:
        document = _decode_stream(streams, loaded, packets, output)
    else:
        document = _decode_indices(streams, loaded, packets, output)
    shown: dict[str, Any] = {**asdict(document), "stream": None if document.stream is None else str(document.stream)}
    return streams.finish(
        document, lambda console: facts(console, {key: value for key, value in shown.items() if value is not None})
    )


def _decode_stream(streams: Streams, bundle: Bundle, packets: Path, output: Path) -> DecodeDocument:
    from edgecodec.host.streams import open_stream
    from edgecodec.signal.writing import Recorded, written

    stream = open_stream(bundle, packets)
    _tell(streams, stream.decoder.how)
    recorded = Recorded(stream.channels, stream.rate_hz, stream.start_us)
    with written(output, recorded) as writer, streams.progress("decoding") as progress:
        for found in stream.samples_of_channels():
            writer.write(found.position, found.values)
            progress(stream.report().frames, 0)
    report = stream.report()
    streams.say(f"{packets}: {report}")
    return DecodeDocument(output, report.frames, stream.samples, "adc counts", stream.channels, report)


def _tell(streams: Streams, how: str) -> None:
    if streams.verbose:
        streams.say(f"decoder: {how}")


def _decode_indices(streams: Streams, bundle: Bundle, indices: Path, output: Path) -> DecodeDocument:
    import numpy as np

    from edgecodec.decoding.index_file import load_indices
    from edgecodec.files.atomic import npz_bytes, write_file
    from edgecodec.host.decode import fastest_decoder

    content = load_indices(indices)
    decoder = fastest_decoder(bundle, threads=None)
    _tell(streams, decoder.how)
    ppg = decoder.decode_file(content)
    units = "normalised" if content.offset is None else "adc counts"
    write_file(output, npz_bytes({"ppg": ppg, "units": np.array(units)}))
    return DecodeDocument(output, ppg.shape[0], ppg.shape[1], units, 1, None)
