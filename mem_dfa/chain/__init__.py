"""A Keras model cut into blocks; one block: run it, run it again, its local gradient."""

# Before any of the files: see `mem_dfa._known_to_keras`.
import keras as keras
