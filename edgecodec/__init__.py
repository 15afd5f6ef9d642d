"""edgecodec: deploy learned PPG codecs to microcontrollers, verified bit for bit."""

__version__ = "0.1.0"
