"""Order and names in the graph: this not before that, traced once, called often."""

# Before any of the files: see `mem_dfa._known_to_keras`.
import keras as keras
