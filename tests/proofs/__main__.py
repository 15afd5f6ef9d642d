"""Prove the C for all inputs within bounds: ``python -m tests.proofs [NAME...]``, or ``make prove``. Takes CBMC.

Prints a row for each proof: how many properties hold. Exit code 1 when one does not, 2 without CBMC or its GCC.
"""

from __future__ import annotations

import argparse
import shutil
import sys

from tests.proofs.proofs import PROOFS


def main() -> int:
    """Run them one after the other."""
    names = [proof.function for proof in PROOFS]
    parser = argparse.ArgumentParser(prog="python -m tests.proofs", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(names)}; all by default")
    options = parser.parse_args()
    if unknown := set(options.names) - set(names):
        parser.error(f"no proof {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    for tool in ("cbmc", "gcc"):  # gcc is CBMC's preprocessor
        if shutil.which(tool) is None:
            print(f"{tool} not found; Debian has it in the package {tool}", file=sys.stderr)
            return 2
    failed = 0
    for proof in PROOFS:
        if options.names and proof.function not in options.names:
            continue
        found = proof.run()
        print(
            f"{proof.harness}.c {proof.function}: {found.properties:,} properties, {len(found.failed)} fail", flush=True
        )
        for line in found.failed:
            print(f"  {line}")
        failed += bool(found.failed)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
