"""Local losses: each block learns for a classifier and a comparison of its own (arXiv 1901.06656).

    for i = 1 … n:  a_i = f_i(a_{i-1}; W_i),  δ_i = ∂L_i/∂a_i,  δ_n = e,
                    W_i ← W_i − η·G_iᵀ δ_i,  head_i ← head_i − η·∂L_i/∂head_i,  free a_{i-1}
    L_i = (1 − β)·L(a_i·C_i) + β·mean (S(a_i·R_i) − S(y))²

S compares every two examples of the batch, y is one-hot, and β is 0, 1 or 0.99, see `local_losses`.
One forward pass, in which nothing is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from mem_dfa.algorithms.local import Local
from mem_dfa.feedback.loss_heads import LossHeads


@keras.saving.register_keras_serializable("mem_dfa")
class LocalLoss(Local):
    """A local sweep whose signals are the gradients of local losses."""

    signal: LossHeads

    def __init__(
        self,
        network: keras.Model,
        local_loss: str = "both",
        heads: Sequence[str] | None = None,
        **details: Any,
    ) -> None:
        """Wrap `network`.

        Args:
            network: a built Sequential or functional model; nested ones are opened.
            local_loss: a name in `registry.LOCAL_LOSSES`.
            heads: names of the blocks that get a head; None for those that have something to train
                now. A saved trainer keeps its own, whatever was frozen since.
            **details: `seed`, which the projections are drawn from, and `name`.

        Raises:
            UnsupportedError: the algorithm cannot train the network; see `LossHeads`.
        """
        super().__init__(network, **details)
        self.signal = LossHeads(self, local_loss, heads)
