"""One training algorithm a file."""

# Before any of the files: see `mem_dfa._known_to_keras`.
import keras as keras
