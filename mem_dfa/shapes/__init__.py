"""Bytes of a Keras layer's call, from shapes alone."""

# Before any of the files: see `mem_dfa._known_to_keras`.
import keras as keras
