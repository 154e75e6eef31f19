"""Decoupled neural interfaces: synthetic gradients (Jaderberg et al., arXiv 1608.05343).

    for i = 1 … n:  a_i = f_i(a_{i-1}; W_i),  δ̂_i = s_i(a_i; θ_i) / B,  δ̂_n = e,
                    W_i ← W_i − η·G_iᵀ δ̂_i,
                    θ_{i-1} ← θ_{i-1} − η·∇½‖s_{i-1} − B·J_iᵀ δ̂_i‖²,  free a_{i-1}

s_i is a small net of its own. The signal that trains it has come through one block, and begins with
another prediction: only the last block sees e. All predictions are zero at first, so that the true
signal moves back by one block a step. One forward pass, in which nothing is kept.
"""

from __future__ import annotations

import warnings
from typing import Any

import keras

from mem_dfa.algorithms.blockwise import Blockwise
from mem_dfa.feedback.predictors import Predictors
from mem_dfa.optimizer.step import Update, tiled_layers
from mem_dfa.schedules.bootstrapped_bytes import sweep_peak_bytes
from mem_dfa.schedules.bootstrapped_sweep import BootstrappedSweep


@keras.saving.register_keras_serializable("mem_dfa")
class DNI(Blockwise):
    """A bootstrapped sweep whose predictors see a block's output."""

    signal: Predictors
    takes_labels = False

    def __init__(self, network: keras.Model, predictor_layers: int = 0, **details: Any) -> None:
        """Wrap `network`.

        Args:
            network: a built Sequential or functional model; nested ones are opened.
            predictor_layers: hidden layers of each predictor, 0 to 3; 0 for a linear one. Their
                sizes are those of `predicting_nets`.
            **details: `seed`, which hidden layers are drawn from, and `name`.

        Raises:
            UnsupportedError: the algorithm cannot train the network; no such number of layers; a
                block's output has no fixed shape.
        """
        super().__init__(network, **details)
        self.signal = self.make_signal(predictor_layers)

    def make_signal(self, predictor_layers: int) -> Predictors:
        """The predictors."""
        return Predictors(self, predictor_layers, self.takes_labels)

    def schedule(self, update: Update, batch_size: int | None) -> BootstrappedSweep:
        """Run, predict, differentiate and update block by block."""
        return BootstrappedSweep(type(self).__name__, self.chain.blocks, self.signal, update)

    def _refuse_at_compile(self) -> None:
        super()._refuse_at_compile()
        optimizer = getattr(self.optimizer, "inner_optimizer", self.optimizer)
        if isinstance(optimizer, keras.optimizers.SGD):
            warnings.warn(
                f"{type(self).__name__} received {type(optimizer).__name__}, with which "
                "predictors hardly learn: use Adam, such as keras.optimizers.Adam(3e-4).",
                stacklevel=4,
            )

    def tiled_layers(self) -> list[keras.layers.Layer]:
        """The dense layers whose kernels are updated in row tiles, once the trainer is compiled."""
        optimizer = getattr(self, "optimizer", None)
        signal = self.signal
        blocks = [*self.chain.blocks, *signal.blocks.values(), *signal.inputs.values()]
        return [layer for block in blocks for layer in tiled_layers(block, optimizer)]

    def _predict_step_bytes(self, batch_size: int) -> int:
        """The block at work or a predictor, beside the outputs of two blocks."""
        self.chain.require_known_bytes(batch_size)
        return sweep_peak_bytes(self.chain.blocks, self.signal, batch_size, self.tiled_layers())
