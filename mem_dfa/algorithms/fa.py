"""Feedback alignment (Lillicrap et al., 2016; RBP in Baldi et al., 2018).

    δ_n = e,  δ_{i-1} = J_i(B_i)ᵀ δ_i,  W_i ← W_i − η·G_iᵀ δ_i

J_i(B_i) is the layer's Jacobian with a fixed random kernel B_i in place of W_i; activations,
pooling and normalisation keep their own. Keeps every activation, as BP does.
"""

from __future__ import annotations

from typing import Any

import keras

from mem_dfa.algorithms.base import Algorithm
from mem_dfa.feedback.distributions import Initializer
from mem_dfa.feedback.kernels import KernelFeedback
from mem_dfa.shapes.layer_bytes import backpropagation_bytes


@keras.saving.register_keras_serializable("mem_dfa")
class FA(Algorithm):
    """Keras's own step, with kernel feedback for its signal."""

    def __init__(
        self,
        network: keras.Model,
        feedback_initializer: str | Initializer = "uniform",
        **details: Any,
    ) -> None:
        """Wrap `network`.

        Args:
            network: a built Sequential or functional model; nested ones are opened.
            feedback_initializer: a name in `distributions.INITIALIZERS`, or a Keras initializer.
            **details: `seed`, which the random kernels are drawn from, and `name`.

        Raises:
            UnsupportedError: the algorithm cannot train the network; unknown initializer.
        """
        super().__init__(network, **details)
        self.signal = KernelFeedback(self, feedback_initializer)

    def _predict_step_bytes(self, batch_size: int) -> int:
        """As BP's: the random kernels' detour holds no more at a time."""
        return backpropagation_bytes(self.network, batch_size)
