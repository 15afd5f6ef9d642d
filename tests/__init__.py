"""The tests, by area; ``tests.tools`` and ``tests.tflite_builder`` are shared."""
