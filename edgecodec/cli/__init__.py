"""The ``edgecodec`` command line: parse, call, print; no logic.

Exit codes: 0 fine or equal, 1 different, 2 undecided, which every error is.
"""

from __future__ import annotations

import signal
import sys


def entry() -> None:
    """What the ``edgecodec`` script runs."""
    # Both end like Ctrl-C, so that emulators are stopped and half-written outputs removed.
    for name in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.default_int_handler)
    from edgecodec.cli.main import main

    sys.exit(main())
