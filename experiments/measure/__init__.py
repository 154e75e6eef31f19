"""Inside a measuring process: build, step, train. TensorFlow is imported here."""
