"""The ``edgecodec`` command line: parse, call, print; no logic.

Exit codes: 0 fine or equal, 1 different or larger than a limit given, 2 undecided, which every error is. SIGINT,
SIGTERM and SIGHUP are errors, too: what was started is ended, what is half written removed. SIGPIPE is none.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress

from edgecodec import interrupts


def entry() -> None:
    """What the ``edgecodec`` script runs."""
    code = 2
    try:
        interrupts.install()
        _occupy_standard_descriptors()
        from edgecodec.cli.main import main

        code = main()
        interrupts.ignore()
    except BaseException:  # while commands are imported, or behind the last one
        if not interrupts.have_come():
            raise
        interrupts.ignore()
        with suppress(OSError):
            os.write(2, b"edgecodec: error: interrupted\n")
    sys.exit(code)


def _occupy_standard_descriptors() -> None:
    """Open on nothing what the caller closed of stdin, stdout and stderr: the next file would take its place."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # The lowest free descriptor is taken, which is this one.
            os.open(os.devnull, os.O_RDWR)
