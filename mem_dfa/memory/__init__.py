"""Bytes planned from shapes, parts of a batch, inputs rebuilt by inverses."""

# Before any of the files: see `mem_dfa._known_to_keras`.
import keras as keras
