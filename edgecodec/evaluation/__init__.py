"""What a codec is worth: rate, distortion and heart rate beside classical codecs."""
