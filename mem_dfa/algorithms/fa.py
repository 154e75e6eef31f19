"""Feedback alignment (Lillicrap et al., 2016; RBP in Baldi et al., 2018).

    δ_n = e,  δ_{i-1} = J_i(B_i)ᵀ δ_i,  W_i ← W_i − η·G_iᵀ δ_i

J_i(B_i) is the layer's Jacobian with a fixed random kernel B_i in place of W_i; activations,
pooling and normalisation keep their own. `way_back` names what else may stand in that place. Keeps
every activation, as BP does.
"""

from __future__ import annotations

from typing import Any

import keras

from mem_dfa.algorithms.base import Algorithm
from mem_dfa.feedback.distributions import Initializer
from mem_dfa.feedback.ways_back import kernel_feedback
from mem_dfa.shapes.layer_bytes import backpropagation_bytes


class KernelStep(Algorithm):
    """Keras's own step, with kernel feedback for its signal."""

    def _predict_step_bytes(self, batch_size: int) -> int:
        """As BP's: the other kernels' detour holds no more at a time."""
        return backpropagation_bytes(self.network, batch_size)


@keras.saving.register_keras_serializable("mem_dfa")
class FA(KernelStep):
    """Error signals pass layers by fixed random kernels, or as `way_back` says."""

    def __init__(
        self,
        network: keras.Model,
        feedback_initializer: str | Initializer | None = None,
        way_back: str = "random",
        feedback_decay: float = 0.0,
        **details: Any,
    ) -> None:
        """Wrap `network`.

        Args:
            network: a built Sequential or functional model; nested ones are opened.
            feedback_initializer: a name in `distributions.INITIALIZERS`, or a Keras initializer;
                None for "uniform", and for "xavier_uniform" where `way_back` takes signs of W.
            way_back: a name in `ways_back.WAYS_BACK`.
            feedback_decay: by which W and a learned B shrink in each step; 0 for none.
            **details: `seed`, which the random kernels are drawn from, and `name`.

        Raises:
            UnsupportedError: the algorithm cannot train the network; unknown initializer or way
                back; a decay that makes no sense.
        """
        super().__init__(network, **details)
        self.way_back = way_back
        self.signal = kernel_feedback(self, way_back, feedback_initializer, feedback_decay)

    def get_config(self) -> dict[str, Any]:
        """As in Keras."""
        return {**super().get_config(), "way_back": self.way_back}
