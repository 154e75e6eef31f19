"""Regenerated: nothing is held; a matrix is drawn again whenever it is needed.

Two things keep a draw out of the memory. The seeds are a variable: what depends on constants alone
TensorFlow computes once and keeps. And the seed waits for the error: otherwise every matrix would
be drawn when the step starts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import keras
import tensorflow as tf

from mem_dfa.chain.block import Block
from mem_dfa.feedback.matrices import KindArguments, Matrices
from mem_dfa.feedback.tiles import ENTRY_BYTES, Seed, side_by_side, tile_seed, tile_widths
from mem_dfa.graph.once import constant, once
from mem_dfa.graph.ordering import after, token


class HeldSeeds:
    """The seeds of matrices as one variable, taken from there block by block."""

    def __init__(self, seeds: dict[str, Seed], add_weight: Callable[..., keras.Variable]) -> None:
        """Hold two whole numbers for each block.

        Args:
            seeds: by the names of the blocks.
            add_weight: the trainer's: the seeds are saved with it, as stored matrices are.
        """
        rows = list(seeds.values())
        self._rows = {block: row for row, block in enumerate(seeds)}
        # Keras's own seeds are int64 as well: a variable of int32 has no kernel on a GPU.
        self._seeds = add_weight(
            shape=(len(rows), 2),
            initializer=lambda shape, dtype: tf.reshape(tf.constant(rows, dtype), shape),
            dtype="int64",
            trainable=False,
            name="feedback_seeds",
        )

    def of(self, blocks: Sequence[str], earlier: tf.Tensor | None = None) -> list[tf.Tensor]:
        """The seeds, taken apart together and not before `earlier`, a token."""
        seeds = once(id(self._seeds), lambda: tf.convert_to_tensor(self._seeds.value))
        rows = tf.gather(seeds, constant([self._rows[block] for block in blocks], tf.int32))
        return tf.unstack(after(rows, earlier))


class Regenerated(Matrices):
    """A matrix is drawn from its seed whenever it is needed, and is the stored one to the bit."""

    @classmethod
    def bytes_of(cls, classes: int, blocks: Sequence[Block], arguments: KindArguments) -> int:
        """Of the largest tile, which is drawn at one time."""
        tiles = [tile for block in blocks for tile in tile_widths(classes, block.width)]
        return ENTRY_BYTES * classes * max(tiles, default=0)

    def _hold(self, add_weight: Callable[..., keras.Variable]) -> dict[str, list[keras.Variable]]:
        self._seeds = HeldSeeds({block: self.seeds[block] for block in self.blocks}, add_weight)
        return {}

    def sources(self, blocks: Sequence[str], earlier: tf.Tensor | None = None) -> list[tf.Tensor]:
        """The seeds."""
        return self._seeds.of(blocks, earlier)

    def projected(self, source: tf.Tensor, block: Block, error: tf.Tensor) -> tf.Tensor:
        """One tile of the matrix at a time, each drawn after the one before it was used."""
        distribution, parts = self._distribution(block.width), [error]
        for number, width in enumerate(tile_widths(self.classes, block.width)):
            seed = tile_seed(after(source, token([parts[-1]])), number)
            tile = distribution.matrix(seed, self.classes, width)
            parts.append(error @ tf.cast(tile, error.dtype))
        return side_by_side(parts[1:])
