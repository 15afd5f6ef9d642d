"""A program with libFuzzer's options, as clang makes of C: ``python -m tests.fuzz.atheris_program NAME``."""

from __future__ import annotations

import sys

import atheris


def main() -> None:
    """Run libFuzzer on the reader that is named first."""
    # What is followed is our own code; all of numpy would take minutes.
    with atheris.instrument_imports(include=["edgecodec"]):
        from tests.fuzz.readers import READERS

    reader = READERS[sys.argv.pop(1)]
    atheris.Setup(sys.argv, lambda data: reader.read(bytes(data)))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
