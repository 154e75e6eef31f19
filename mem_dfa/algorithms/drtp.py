"""Direct random target projection (Frenkel, Lefebvre and Bol, 2021).

    for i = 1 … n:  a_i = f_i(a_{i-1}; W_i),  δ_i = −y·B_i / B,  δ_n = e,
                    W_i ← W_i − η·G_iᵀ δ_i,  free a_{i-1}

y is one-hot, shape (batch, C), and carries the examples' weights; e is the output error at the
logits. Nothing waits for the error of the net's output: one forward pass, in which nothing is
kept.
"""

from __future__ import annotations

import keras

from mem_dfa.algorithms.local import LocalFeedback
from mem_dfa.feedback.target_projection import TargetProjection


@keras.saving.register_keras_serializable("mem_dfa")
class DRTP(LocalFeedback):
    """A local sweep whose signal is the projected targets."""

    kind_of_signal = TargetProjection
