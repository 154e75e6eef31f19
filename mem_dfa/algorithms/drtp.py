"""Direct random target projection (Frenkel, Lefebvre and Bol, 2021).

    for i = 1 … n:  a_i = f_i(a_{i-1}; W_i),  δ_i = −y·B_i / B,  δ_n = e,
                    W_i ← W_i − η·G_iᵀ δ_i,  free a_{i-1}

y is one-hot, shape (batch, C), and carries the examples' weights; e is the output error at the
logits. Nothing waits for the error of the net's output: one forward pass, in which nothing is
kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from mem_dfa.algorithms.local import Local
from mem_dfa.feedback.distributions import Initializer
from mem_dfa.feedback.target_projection import TargetProjection


@keras.saving.register_keras_serializable("mem_dfa")
class DRTP(Local):
    """A local sweep whose signal is the projected targets."""

    def __init__(
        self,
        network: keras.Model,
        feedback_initializer: str | Initializer = "uniform",
        feedback: str = "stored",
        projected: Sequence[str] | None = None,
        **details: Any,
    ) -> None:
        """Wrap `network`.

        Args:
            network: a built Sequential or functional model; nested ones are opened.
            feedback_initializer: a name in `distributions.INITIALIZERS`, or a Keras initializer.
            feedback: a kind of matrices, see `matrices`.
            projected: names of the blocks that get a matrix, as of `DFA`.
            **details: `seed`, which the matrices are drawn from, and `name`.

        Raises:
            UnsupportedError: the algorithm cannot train the network; unknown initializer or kind
                of feedback; a Keras initializer for matrices that are not stored.
        """
        super().__init__(network, **details)
        self.signal = TargetProjection(self, feedback_initializer, feedback, projected)
