"""Complete unlock: synthetic inputs and gradients (Jaderberg et al., arXiv 1608.05343).

    for i = 1 … n:  â_{i-1} = I_i(x; ψ_i),  â_0 = x,  ψ_i ← ψ_i − η·∇½‖I_i(x) − a_{i-1}‖²,
                    a_i = f_i(â_{i-1}; W_i),  δ̂_i = s_i(a_i; θ_i) / B,  δ̂_n = e,
                    W_i ← W_i − η·G_iᵀ δ̂_i,
                    θ_{i-1} ← θ_{i-1} − η·∇½‖s_{i-1} − B·J_iᵀ δ̂_i‖²,  free a_{i-1}

a_{i-1} is what block i − 1 made of its own synthetic input, J_i and G_i are taken at â_{i-1}, and e
at the logits f_n(â_{n-1}), of which `fit` shows the loss and metrics. `evaluate` and `predict` run
the network as it is, each block on the true output of the one before it.
"""

from __future__ import annotations

from typing import Any

import keras

from mem_dfa.algorithms.dni import DNI
from mem_dfa.feedback.synthetic_inputs import SyntheticInputs
from mem_dfa.optimizer.step import Update
from mem_dfa.schedules.unlocked_sweep import UnlockedSweep


@keras.saving.register_keras_serializable("mem_dfa")
class Unlock(DNI):
    """An unlocked sweep: blocks wait neither for inputs nor for error signals."""

    signal: SyntheticInputs

    def __init__(self, network: keras.Model, predictor_layers: int = 1, **details: Any) -> None:
        """Wrap `network`.

        Args:
            network: a built Sequential or functional model; nested ones are opened.
            predictor_layers: hidden layers of each predictor, of signals and of inputs, 0 to 3.
            **details: `seed`, which hidden layers are drawn from, and `name`.

        Raises:
            UnsupportedError: as of `DNI`; inputs that are no numbers of a fixed shape.
        """
        super().__init__(network, predictor_layers, **details)

    def make_signal(self, predictor_layers: int) -> SyntheticInputs:
        """Predictors of signals and of inputs."""
        return SyntheticInputs(self, predictor_layers)

    def schedule(self, update: Update, batch_size: int | None) -> UnlockedSweep:
        """Predict the input, run, predict the signal, differentiate and update block by block."""
        return UnlockedSweep(type(self).__name__, self.chain.blocks, self.signal, update)
