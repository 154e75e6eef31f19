"""Forward gradients of local losses, by perturbed activations (arXiv 2210.03310).

    for i = 1 … n:  a_i = f_i(a_{i-1}; W_i),  z_i = a_i·C_i + c_i,  e_i = dL/dz at z_i,
                    δ̂_i = (e_i·(u_g·C_g))·u_g for each group g of units,  δ_n = e,
                    W_i ← W_i − η·G_iᵀ δ̂_i,  C_i ← C_i − η·a_iᵀe_i,  free a_{i-1}

u ~ N(0, I) is drawn anew for each block and step, so that E δ̂_i = ∂L/∂a_i; e_i·(u_g·C_g) is the
slope of L along u_g, see `perturbation`. One forward pass, in which nothing is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from mem_dfa.algorithms.local import Local
from mem_dfa.feedback.perturbation import Perturbation


@keras.saving.register_keras_serializable("mem_dfa")
class ForwardGradient(Local):
    """A local sweep whose signals are guessed from slopes along noise."""

    signal: Perturbation

    def __init__(
        self,
        network: keras.Model,
        perturbation_groups: int | None = None,
        heads: Sequence[str] | None = None,
        **details: Any,
    ) -> None:
        """Wrap `network`.

        Args:
            network: a built Sequential or functional model; nested ones are opened.
            perturbation_groups: into which each block's channels or units are cut, each with a
                slope of its own; None for 16, or as many as a block has.
            heads: names of the blocks that get a classifier; None for those that have something to
                train now. A saved trainer keeps its own, whatever was frozen since.
            **details: `seed`, which noise is drawn from, and `name`.

        Raises:
            UnsupportedError: the algorithm cannot train the network; see `Perturbation`.
        """
        super().__init__(network, **details)
        self.signal = Perturbation(self, perturbation_groups, heads)
