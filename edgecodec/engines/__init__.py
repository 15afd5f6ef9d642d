"""What runs the encoder on a board: one class an engine, and what the firmware's project must know of it."""
