"""Where a random error signal comes from: distributions and matrices."""

# Before any of the files: see `mem_dfa._known_to_keras`.
import keras as keras
