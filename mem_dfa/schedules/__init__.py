"""When blocks run, what is kept of a run, and when each is updated: the passes of one step."""

# Before any of the files: see `mem_dfa._known_to_keras`.
import keras as keras
