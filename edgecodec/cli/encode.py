"""``edgecodec encode``."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import click

from edgecodec.cli.options import PathType, bundle_argument, json_option, path, reading_options, subcommand
from edgecodec.cli.output import Streams
from edgecodec.documents import Document

if TYPE_CHECKING:
    from edgecodec.signal.reading import Reading


@dataclass(frozen=True)
class EncodeDocument(Document):
    """What ``edgecodec encode --json`` prints: the stream of packets that was written."""

    SCHEMA: ClassVar[str] = "edgecodec.encode"

    output: Path
    """The file (SPEC.md 5.7)."""
    bundle_digest: str
    """Digest of the bundle that it was encoded with."""
    channels: int
    """Channels, one for each --frames."""
    frames: int
    """Frames of all channels."""
    gaps: int
    """Frames that do not follow their predecessor in time."""
    bytes: int
    """Length of the file."""
    bits_per_frame: float
    """Bits of the file a frame, header and framing included."""


def _start(ctx: click.Context, param: click.Parameter, value: str | None) -> int | None:
    if value is None:
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError as error:
        raise click.BadParameter(f"{value!r}; expected ISO 8601, such as 2026-03-01T12:00:00+01:00") from error
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


@subcommand("encode", example="edgecodec encode bundle --frames ppg.csv --rate 64 -o ppg.ecs")
@bundle_argument
@click.option(
    "--frames",
    type=path,
    required=True,
    multiple=True,
    metavar="FILE",
    help="Recordings, file or folder; given again for each further channel.",
)
@click.option(
    "-o",
    "--output",
    type=PathType(".ecs"),
    required=True,
    metavar="FILE",
    help="File for the packets (.ecs).",
)
@click.option(
    "--start", callback=_start, metavar="TIME", help="When the first sample was taken, in ISO 8601; UTC by default."
)
@reading_options
@json_option
@click.pass_obj
def command(
    streams: Streams, bundle: Path, frames: tuple[Path, ...], output: Path, start: int | None, reading: Reading
) -> int:
    """Encode recordings to a stream of packets.

    The C that devices run writes the packets. Frames that do not follow their predecessor, because samples between them
    are missing, clipped or flat, are flagged, and the stream says when they were taken.
    """
    from edgecodec.bundle import Bundle
    from edgecodec.cli.tables import facts
    from edgecodec.files.atomic import check_output, replace_files
    from edgecodec.host.streams import ChannelFrames, StreamEncoder
    from edgecodec.signal.frames import read_frames

    check_output(output)
    loaded = Bundle.load(bundle)
    encoder = StreamEncoder(loaded)
    channels = []
    for recording in frames:
        found = read_frames(recording, loaded.codec.samples, loaded.rate_hz, reading)
        streams.say(f"{recording}: {found.summary.describe()}")
        channels.append(ChannelFrames(found.frames, found.starts, found.gaps))
    size = 0
    with replace_files(output) as (beside,), beside.open("wb") as file:
        for piece in encoder.encode(channels, start):
            size += file.write(piece)
    count = sum(len(channel.frames) for channel in channels)
    gaps = sum(int(channel.gaps.sum()) for channel in channels)
    document = EncodeDocument(output, loaded.digest, len(channels), count, gaps, size, 8 * size / count)
    return streams.finish(document, lambda console: facts(console, asdict(document)))
