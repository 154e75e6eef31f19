"""Local error learning with fixed random classifiers (Mostafa, Ramesh and Cauwenberghs, 2018).

    for i = 1 … n:  a_i = f_i(a_{i-1}; W_i),  z_i = a_i·B_iᵀ,
                    e_i = dL/dz at z_i,  δ_i = e_i·B_i,  δ_n = e,
                    W_i ← W_i − η·G_iᵀ δ_i,  free a_{i-1}

With a softmax and cross-entropy e_i = (softmax(z_i) − y) / B. B_i, shape (C, n_i), is random and
stays as it is: each block learns to be told apart by its own classifier. One forward pass, in
which nothing is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from mem_dfa.algorithms.local import Local
from mem_dfa.feedback.distributions import Initializer
from mem_dfa.feedback.fixed_classifiers import FixedClassifiers


@keras.saving.register_keras_serializable("mem_dfa")
class LEL(Local):
    """A local sweep whose signals are the errors of fixed random classifiers."""

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
        self.signal = FixedClassifiers(self, feedback_initializer, feedback, projected)
