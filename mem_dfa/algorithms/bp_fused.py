"""Backpropagation that updates as it goes back (LOMO: Lv et al., 2023, arXiv 2306.09782).

    forward:   keep every a_i
    backward:  for i = n … 1:  δ_{i-1} = J_iᵀ δ_i,  W_i ← W_i − η·G_iᵀ δ_i,  free a_i and G_iᵀ δ_i

The gradient is BP's, but of no more than one block at a time, and of a wide dense kernel one tile
of rows at a time.
"""

from __future__ import annotations

import keras

from mem_dfa.algorithms.blockwise import Blockwise
from mem_dfa.optimizer.step import Update, tiled_layers
from mem_dfa.schedules.backward_sweep import BackwardSweep


@keras.saving.register_keras_serializable("mem_dfa")
class BPFused(Blockwise):
    """A backward sweep of the exact signal that keeps everything but gradients."""

    def schedule(self, update: Update, batch_size: int | None) -> BackwardSweep:
        """Forward through all blocks, then differentiate, update and free each."""
        given = (type(self).__name__, self.chain.blocks, self.signal, update)
        return BackwardSweep(*given, in_tiles=True)

    def _predict_step_bytes(self, batch_size: int) -> int:
        """Every activation, freed block by block from the last to the first."""
        self.chain.require_known_bytes(batch_size)
        optimizer, peak, kept = getattr(self, "optimizer", None), 0, 0
        for number, block in enumerate(self.chain.blocks):
            size = block.bytes(batch_size, tiled_layers(block, optimizer))
            peak = max(peak, kept + (size.backward_peak if number else size.update_peak))
            kept += size.kept
        return peak
