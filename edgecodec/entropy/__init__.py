"""Probability models of codebook indices."""
