"""From an INT8 TFLite encoder to C: reader -> graph -> plan -> render."""
