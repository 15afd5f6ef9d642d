"""Comparison of executors, and what is reported of it."""
