"""Shared: one matrix of which block i takes the first n_i columns (LightOn's TinyDFA).

It takes 4·C·max n_i bytes. It holds what a distribution draws before it is scaled, U[-1, 1),
N(0, 1) or ±1. Each block multiplies by its own scale, so that its entries are distributed as
`stored` ones are; those of the widest block are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import keras
import tensorflow as tf

from mem_dfa.chain.block import Block
from mem_dfa.feedback.distributions import Distribution
from mem_dfa.feedback.matrices import KindArguments, Matrices
from mem_dfa.feedback.tiles import ENTRY_BYTES, drawn
from mem_dfa.graph.once import constant
from mem_dfa.graph.ordering import after, token


class Shared(Matrices):
    """One matrix, of which each block takes a part."""

    @classmethod
    def bytes_of(cls, classes: int, blocks: Sequence[Block], arguments: KindArguments) -> int:
        """Of the one matrix."""
        return ENTRY_BYTES * classes * max((block.width for block in blocks), default=0)

    def _hold(self, add_weight: Callable[..., keras.Variable]) -> dict[str, list[keras.Variable]]:
        if not self.blocks:
            return {}
        widest = max(self.blocks.values(), key=lambda block: block.width)
        width, seed = widest.width, self.seeds[widest.name]
        units = Distribution(self._distribution(width).draw, 1.0)
        matrix = add_weight(
            shape=(self.classes, width),
            initializer=lambda _, dtype: tf.cast(drawn(units, self.classes, width, seed), dtype),
            trainable=False,
            name="feedback_shared",
        )
        return {"shared": [matrix]}

    def sources(self, blocks: Sequence[str], earlier: tf.Tensor | None = None) -> list[tf.Tensor]:
        """The one matrix, for each."""
        return [tf.convert_to_tensor(self.held["shared"][0].value)] * len(blocks)

    def projected(self, source: tf.Tensor, block: Block, error: tf.Tensor) -> tf.Tensor:
        """By the first columns, scaled; a copy, which starts after the error."""
        first = after(constant([0, 0], tf.int32), token([error]))
        columns = tf.slice(source, first, constant([self.classes, block.width], tf.int32))
        scale = constant(self._distribution(block.width).scale, columns.dtype)
        return error @ tf.cast(columns * scale, error.dtype)
