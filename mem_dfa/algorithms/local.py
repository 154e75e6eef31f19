"""Algorithms of one forward pass: each block is updated as soon as it has run."""

from __future__ import annotations

from mem_dfa.algorithms.blockwise import Blockwise
from mem_dfa.memory.batch_slices import chain_peak_bytes
from mem_dfa.optimizer.step import Update, tiled_layers
from mem_dfa.schedules.local_sweep import LocalSweep


class Local(Blockwise):
    """A blockwise algorithm by a local sweep, for a `LocalSignal`."""

    def schedule(self, update: Update, batch_size: int | None) -> LocalSweep:
        """Run, differentiate and update block by block."""
        return LocalSweep(type(self).__name__, self.chain.blocks, self.signal, update)

    def _predict_step_bytes(self, batch_size: int) -> int:
        """The block at work and the output of the one before it."""
        blocks = self.chain.blocks
        self.chain.require_known_bytes(batch_size)
        optimizer = getattr(self, "optimizer", None)
        tiled = [layer for block in blocks for layer in tiled_layers(block, optimizer)]
        return chain_peak_bytes(blocks, [1] * len(blocks), batch_size, tiled)
