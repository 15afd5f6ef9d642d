"""Executors of a bundle on the host: the firmware's C through cffi, the batch encoder, TFLM, TFLite and Keras."""
