"""What can be held of feedback matrices between two uses: one kind a file."""

# Before any of the files: see `mem_dfa._known_to_keras`.
import keras as keras
