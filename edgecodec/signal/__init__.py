"""PPG recordings, frames, normalisation and figures of quality."""
