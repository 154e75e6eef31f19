"""Adaptive random backpropagation (Baldi et al., 2018; with decay Kolen and Pollack, 1994).

    δ_n = e,  δ_{i-1} = J_i(B_i)ᵀ δ_i,  W_i ← W_i − η·∇W_i,  B_i ← B_i − η·∇W_i

∇W_i = G_iᵀ δ_i, with the gradients of regularisers. J_i(B_i) is the layer's Jacobian with B_i, a
random kernel at first, in place of W_i. With a decay λ both are multiplied by 1 − λ after each
step, so that B_i comes to W_i. Keeps every activation, as BP does, and the optimizer's slots for B.
"""

from __future__ import annotations

from typing import Any

import keras

from mem_dfa.algorithms.fa import KernelStep
from mem_dfa.feedback.distributions import Initializer
from mem_dfa.feedback.learned_kernels import LearnedKernels


@keras.saving.register_keras_serializable("mem_dfa")
class ARBP(KernelStep):
    """Error signals pass layers by kernels that are learned as the layers' own are."""

    def __init__(
        self,
        network: keras.Model,
        feedback_initializer: str | Initializer | None = None,
        feedback_decay: float = 0.0,
        **details: Any,
    ) -> None:
        """Wrap `network`.

        Args:
            network: a built Sequential or functional model; nested ones are opened.
            feedback_initializer: what B is first drawn from: a name in
                `distributions.INITIALIZERS`, or a Keras initializer; None for "uniform".
            feedback_decay: λ, by which W and B shrink in each step; 0 for none.
            **details: `seed`, which B is drawn from, and `name`.

        Raises:
            UnsupportedError: the algorithm cannot train the network; unknown initializer; a decay
                that is not from 0 to below 1.
        """
        super().__init__(network, **details)
        self.signal = LearnedKernels(self, feedback_initializer, feedback_decay)
