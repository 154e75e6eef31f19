"""Regenerated sparse: the matrices of `sparse` to the bit, drawn whenever they are needed.

Nothing is held but a variable of seeds, see `regenerated`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import keras
import tensorflow as tf

from mem_dfa.chain.block import Block
from mem_dfa.feedback.matrices import KindArguments
from mem_dfa.feedback.regenerated import HeldSeeds
from mem_dfa.feedback.sparse import Sparse, selected
from mem_dfa.graph.ordering import after, token


class RegeneratedSparse(Sparse):
    """Values and classes of the non-zeros are drawn from the block's seed."""

    @classmethod
    def bytes_of(cls, classes: int, blocks: Sequence[Block], arguments: KindArguments) -> int:
        """Of the widest block, whose non-zeros are drawn at one time."""
        of_stored = super().bytes_of
        return max((of_stored(classes, [block], arguments) for block in blocks), default=0)

    def _hold(self, add_weight: Callable[..., keras.Variable]) -> dict[str, list[keras.Variable]]:
        self._seeds = HeldSeeds({block: self.seeds[block] for block in self.blocks}, add_weight)
        return {}

    def sources(self, blocks: Sequence[str], earlier: tf.Tensor | None = None) -> list[tf.Tensor]:
        """The seeds."""
        return self._seeds.of(blocks, earlier)

    def projected(self, source: tf.Tensor, block: Block, error: tf.Tensor) -> tf.Tensor:
        """As of `sparse`, by what is drawn after the error."""
        values = self.values(after(source, token([error])), block.width)
        # One after the other: what both are made of would be there at once.
        chosen = self.chosen(after(source, token([values])), block.width)
        return selected((values, chosen), error)
