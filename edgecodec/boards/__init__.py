"""Boards as data: their files, their cores, the compiler for them."""
