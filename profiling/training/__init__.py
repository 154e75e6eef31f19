"""Memory beside people's own training: in Keras's logs, TensorBoard, pytest and scripts."""
