"""``edgecodec verify-host``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgecodec.cli.options import bundle_argument, json_option, subcommand, verify_options
from edgecodec.cli.output import Streams

if TYPE_CHECKING:
    from edgecodec.report.sections import Origin, Report
    from edgecodec.signal.reading import Reading


@subcommand(
    "verify-host",
    example="edgecodec verify-host bundle --frames ppg.npz --json\nedgecodec verify-host bundle --report report",
)
@bundle_argument
@verify_options
@json_option
@click.pass_obj
def command(
    streams: Streams,
    bundle: Path,
    frames: Path | None,
    limit: int | None,
    indices_out: Path | None,
    keras: bool,
    report: Path | None,
    force: bool,
    reading: Reading,
) -> int:
    """Compare the C on this machine with reference and oracles.

    Builds the bundle's C with the system compiler, encodes the frames with it, with the numpy reference and
    with TensorFlow Lite Micro, and compares every byte of every stage. Of a bundle with packets, an encoder object also
    gets the frames as one stream, in odd pieces and with lost samples.
    """
    from edgecodec.bundle import Bundle
    from edgecodec.cli import report as reports
    from edgecodec.cli.verify import finish, verification_frames
    from edgecodec.verify.run import verify_host

    reports.check(report, indices_out, force=force)
    loaded = Bundle.load(bundle)
    chosen = verification_frames(streams, loaded, frames, limit, reading)
    with streams.progress("verifying") as progress:
        result = verify_host(loaded, chosen, keras=keras, progress=progress)

    def make(origin: Origin) -> Report:
        from edgecodec.report.sections import report_verification

        return report_verification(origin, loaded, chosen, result)

    return finish(streams, result, indices_out, lambda: reports.write(streams, report, make, force=force))
