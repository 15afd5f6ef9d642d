"""The ``edgecodec`` command line: parse, call, print; no logic.

Exit codes: 0 fine or equal, 1 different or larger than a limit given, 2 undecided, which every error is.
"""

from __future__ import annotations

import os
import signal
import sys


def entry() -> None:
    """What the ``edgecodec`` script runs."""
    _occupy_standard_descriptors()
    # Both end like Ctrl-C, so that emulators are stopped and half-written outputs removed.
    for name in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.default_int_handler)
    from edgecodec.cli.main import main

    sys.exit(main())


def _occupy_standard_descriptors() -> None:
    """Open on nothing what the caller closed of stdin, stdout and stderr: the next file would take its place."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # The lowest free descriptor is taken, which is this one.
            os.open(os.devnull, os.O_RDWR)
