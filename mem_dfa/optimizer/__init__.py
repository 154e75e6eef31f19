"""One optimizer step, taken block by block, and in tiles where a kernel is wide."""

# Before any of the files: see `mem_dfa._known_to_keras`.
import keras as keras
