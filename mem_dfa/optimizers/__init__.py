"""Keras optimizers whose state takes less memory than Adam's."""

# Before any of the files: see `mem_dfa._known_to_keras`.
import keras as keras

from mem_dfa.optimizers.adam_8bit import Adam8Bit as Adam8Bit
from mem_dfa.optimizers.low_rank_adam import LowRankAdam as LowRankAdam
