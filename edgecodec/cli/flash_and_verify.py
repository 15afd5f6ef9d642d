"""``edgecodec flash-and-verify``."""

from __future__ import annotations

from pathlib import Path

import click

from edgecodec.cli.options import (
    board_option,
    bundle_argument,
    json_option,
    optimize_option,
    subcommand,
    verify_options,
)
from edgecodec.cli.output import Streams


@subcommand(
    "flash-and-verify",
    example="edgecodec flash-and-verify bundle --board mps2-an386\n"
    "edgecodec flash-and-verify bundle --board mps2-an386 --port socket://127.0.0.1:5000 --json",
)
@bundle_argument
@board_option
@click.option(
    "--port",
    metavar="PORT",
    help="Talk to firmware that runs already: /dev/ttyACM0, COM3, socket://HOST:PORT; the emulator by default.",
)
@optimize_option
@verify_options
@json_option
@click.pass_obj
def command(
    streams: Streams,
    bundle: Path,
    board: str,
    port: str | None,
    optimize: str,
    frames: Path | None,
    limit: int | None,
    indices_out: Path | None,
    keras: bool,
) -> int:
    """Run a bundle on a board and compare every index.

    Builds the firmware, starts the emulated board (or opens PORT), streams frames, reads indices, latents
    and inputs back and compares every byte with the C on this machine, the numpy reference and TensorFlow
    Lite Micro.
    """
    from edgecodec.bundle import Bundle
    from edgecodec.cli.verify import finish, verification_frames, write_indices
    from edgecodec.device.boards import load_board
    from edgecodec.verify.run import verify_board

    loaded = Bundle.load(bundle)
    chosen = verification_frames(loaded, frames, limit)
    with streams.progress("verifying") as progress:
        result = verify_board(
            loaded, load_board(board), chosen, port=port, optimize=optimize, keras=keras, progress=progress
        )
    write_indices(indices_out, result)
    return finish(streams, result)
