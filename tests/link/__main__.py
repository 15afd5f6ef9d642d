"""Put one fault at every byte of a short session: ``python -m tests.link [--seeds 10]``, for as many draws of each.

Prints of each fault how many sessions had it, came to their end all the same, and took how long at most from the last
sound answer to the end. The first wrong stage, needless error or long wait ends the run with a traceback that names it.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from tests.link.device import HostServer, compile_host
from tests.link.faults import FAULTS, attack, bytes_of_a_session


def main() -> None:
    """Run them all."""
    parser = argparse.ArgumentParser(prog="python -m tests.link", description=__doc__)
    parser.add_argument("--seeds", type=int, default=10, help="of each fault at each byte")
    seeds = range(parser.parse_args().seeds)
    with tempfile.TemporaryDirectory(prefix="edgecodec-link-") as name:
        server = HostServer(compile_host(Path(name) / "libhost.so", "-shared", "-fPIC"))
        sizes = bytes_of_a_session(server)
        for kind in FAULTS:
            places = [(out, at, seed) for out, size in sizes.items() for at in range(size) for seed in seeds]
            found = [attack(server, kind, *place) for place in places]
            whole = sum(is_whole for is_whole, _ in found)
            longest = max(waited_s for _, waited_s in found)
            print(f"{kind}: {len(found):,} sessions, {whole:,} whole, {longest:.1f} s at most", flush=True)


if __name__ == "__main__":
    main()
