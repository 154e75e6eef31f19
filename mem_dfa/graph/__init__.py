"""Order, names and random numbers in the graph: this not before that, and alike everywhere."""

# Before any of the files: see `mem_dfa._known_to_keras`.
import keras as keras
