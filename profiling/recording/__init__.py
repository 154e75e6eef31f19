"""TensorFlow's profiler recordings: making one, and reading events, spans and held tensors."""
