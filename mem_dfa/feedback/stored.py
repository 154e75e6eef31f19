"""Stored: every matrix is a variable, 4·C·Σn_i bytes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import keras
import tensorflow as tf

from mem_dfa.chain.block import Block
from mem_dfa.feedback.distributions import seeded
from mem_dfa.feedback.matrices import KindArguments, Matrices
from mem_dfa.feedback.tiles import ENTRY_BYTES, drawn


class Stored(Matrices):
    """Every matrix is a variable."""

    takes_keras_initializers = True
    is_trainable = False

    @classmethod
    def bytes_of(cls, classes: int, blocks: Sequence[Block], arguments: KindArguments) -> int:
        """Of all matrices."""
        return ENTRY_BYTES * classes * sum(block.width for block in blocks)

    def _hold(self, add_weight: Callable[..., keras.Variable]) -> dict[str, list[keras.Variable]]:
        return {name: [self._made(block, add_weight)] for name, block in self.blocks.items()}

    def _made(self, block: Block, add_weight: Callable[..., keras.Variable]) -> keras.Variable:
        return add_weight(
            shape=(self.classes, block.width),
            initializer=self._variable_initializer(block.name, block.width),
            trainable=self.is_trainable,
            name=f"feedback_{block.name}",
        )

    def _variable_initializer(self, block: str, width: int) -> Callable[..., tf.Tensor]:
        seed = self.seeds[block]
        if isinstance(self.initializer, keras.initializers.Initializer):
            return seeded(self.initializer, int(seed[0]))
        distribution, classes = self._distribution(width), self.classes
        return lambda _, dtype: tf.cast(drawn(distribution, classes, width, seed), dtype)

    def sources(self, blocks: Sequence[str], earlier: tf.Tensor | None = None) -> list[tf.Tensor]:
        """The variables' values, which are there at any time."""
        return [tf.convert_to_tensor(self.held[block][0].value) for block in blocks]

    def matrix(self, block: Block, earlier: tf.Tensor) -> tf.Tensor:
        """As it is."""
        (source,) = self.sources([block.name])
        return tf.cast(source, earlier.dtype)

    def projected(self, source: tf.Tensor, block: Block, error: tf.Tensor) -> tf.Tensor:
        """e·B_i by the matrix as it is."""
        return error @ tf.cast(source, error.dtype)
