"""What is kept in place of a layer's tensors: random sketches of inputs, and masks in bits."""

# Before any of the files: see `mem_dfa._known_to_keras`.
import keras as keras
