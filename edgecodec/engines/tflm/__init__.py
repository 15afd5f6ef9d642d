"""TensorFlow Lite Micro, in a library that the user brings, as the engine."""
