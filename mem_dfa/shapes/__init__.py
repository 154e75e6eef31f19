"""Bytes of a Keras layer's call, from shapes alone."""
