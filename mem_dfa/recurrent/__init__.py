"""Nets unrolled in time: backpropagation through time in bounded memory, exact or truncated."""

# Before any of the files: see `mem_dfa._known_to_keras`.
import keras as keras
