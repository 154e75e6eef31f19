"""Backpropagation, as Keras does it: the baseline.

    δ_n = e,  δ_{i-1} = J_iᵀ δ_i,  W_i ← W_i − η·G_iᵀ δ_i

Keeps every activation from the forward pass until the backward pass has used it: O(n).
"""

from __future__ import annotations

import keras

from mem_dfa.algorithms.base import Algorithm
from mem_dfa.shapes.layer_bytes import backpropagation_bytes


@keras.saving.register_keras_serializable("mem_dfa")
class BP(Algorithm):
    """Trains with the `train_step` that Keras itself has."""

    def _predict_step_bytes(self, batch_size: int) -> int:
        """Every activation, and the error signals where most of them are still alive."""
        return backpropagation_bytes(self.network, batch_size)
