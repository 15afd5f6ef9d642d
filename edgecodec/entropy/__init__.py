"""Models of codebook indices, the range coder, and packets."""
