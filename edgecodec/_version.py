"""The version, in a room below all that print it."""

__version__ = "0.1.0"
