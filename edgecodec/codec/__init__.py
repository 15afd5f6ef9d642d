"""SPEC.md 1 and nothing else: the integer codec, how it is read, proven and executed in numpy."""
