"""Executors of a bundle on the host: numpy reference, TFLM and TFLite oracles, the C through cffi."""
