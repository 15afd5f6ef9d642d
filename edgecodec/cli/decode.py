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
from edgecodec.fleet import FolderReport

if TYPE_CHECKING:
    from edgecodec.bundle import Bundle


@dataclass(frozen=True)
class DecodeDocument(Document):
    """What ``edgecodec decode --json`` prints: the file of PPG that was written."""

    SCHEMA: ClassVar[str] = "edgecodec.decode"

    output: Path
    """The file, or the folder."""
    frames: int
    """N, frames decoded; of a folder, of the files that were not there already."""
    samples: int
    """T, samples of a frame."""
    units: str
    """`adc counts`, or `normalised` when the indices came without offset and spread."""
    channels: int
    """Channels."""
    stream: StreamReport | None
    """How the packets came through; null for indices and folders."""
    folder: FolderReport | None
    """What became of a folder's files; null for one file."""


def _check_suffix(output: Path) -> None:
    from edgecodec.signal.writing import WRITTEN

    if output.suffix.lower() not in WRITTEN:
        raise click.BadParameter(
            f"{str(output)!r} does not end in {', '.join(WRITTEN[:-1])} or {WRITTEN[-1]}",
            param_hint="'-o' / '--output'",
        )


@subcommand(
    "decode",
    example="edgecodec decode bundle ppg.ecs -o ppg.csv\nedgecodec decode bundle indices.npz -o ppg.npz\n"
    "edgecodec decode bundle packets -o ppg --scheduler tcp://127.0.0.1:8786",
)
@bundle_argument
@click.argument("packets", metavar="PACKETS", type=path)
@click.option(
    "-o",
    "--output",
    type=path,
    required=True,
    metavar="FILE",
    help="File for the PPG: .csv, .npy, .npz, .parquet, .edf or .hea (WFDB); a folder where PACKETS is one.",
)
@click.option(
    "--column", default="packet", show_default=True, metavar="NAME", help="Of a folder's files: the column of packets."
)
@click.option(
    "--scheduler", metavar="ADDRESS", help="Of a folder: the Dask scheduler whose workers decode it, tcp://host:8786."
)
@json_option
@click.pass_obj
def command(streams: Streams, bundle: Path, packets: Path, output: Path, column: str, scheduler: str | None) -> int:
    """Turn packets, or codebook indices, back into PPG.

    PACKETS is a stream of packets (.ecs), as `encode` writes it. Packets that were lost, doubled, damaged or are of
    another bundle are told and cost only themselves: their samples are missing from a table (.csv, .parquet) and NaN,
    or what stands for missing, elsewhere. A .npz is taken for `indices` uint16 [N, P, L], as --indices-out writes it,
    and becomes a .npz of `ppg` float32 [N, T]; with `offset` and `spread` in it in ADC counts, without them normalised.
    Of a folder, each .parquet file with a column of packets becomes one below the output, with `status`, `sequence` and
    `ppg` beside its columns; what is done is not done again.
    """
    from edgecodec.bundle import Bundle
    from edgecodec.cli.tables import facts
    from edgecodec.entropy.packet_stream import SUFFIX
    from edgecodec.errors import InputError
    from edgecodec.files.atomic import check_output

    suffix = packets.suffix.lower()
    if packets.is_dir() and suffix not in (SUFFIX, ".npz"):
        document = _decode_folder(streams, Bundle.load(bundle), packets, output, column, scheduler)
        return streams.finish(document, lambda console: facts(console, {"output": output, "folder": document.folder}))
    if scheduler is not None:
        raise click.UsageError("--scheduler is for a folder of packets")
    _check_suffix(output)
    check_output(output)
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
    return DecodeDocument(output, report.frames, stream.samples, "adc counts", stream.channels, report, None)


def _decode_folder(
    streams: Streams, bundle: Bundle, packets: Path, output: Path, column: str, scheduler: str | None
) -> DecodeDocument:
    from contextlib import nullcontext

    from edgecodec.fleet import connect, decode_folder

    with (
        connect(scheduler) if scheduler is not None else nullcontext() as client,
        streams.progress("decoding") as progress,
    ):
        report = decode_folder(bundle, packets, output, client=client, column=column, progress=progress)
    streams.say(f"{packets}: {report}")
    return DecodeDocument(output, report.good, bundle.codec.samples, "adc counts", 1, None, report)


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
    return DecodeDocument(output, ppg.shape[0], ppg.shape[1], units, 1, None, None)
