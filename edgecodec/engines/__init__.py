"""What runs the encoder on a board."""
