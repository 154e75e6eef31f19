"""Low rank: B_i = U·V_i, of which U is all blocks'.

    δ_i = (e·U)·V_i,  U (C × r),  V_i (r × n_i)

U is drawn from N(0, 1/r) and V_i as a stored matrix is, so that the entries of U·V_i, which is
never formed, have the standard deviation of the stored kind's. All takes 4·r·(C + Σn_i) bytes.
Where nothing is said r = ⌈√C⌉: matrices grow with the classes, and so does what that saves.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypeAlias

import keras
import tensorflow as tf

from mem_dfa.chain.block import Block
from mem_dfa.feedback.distributions import Distribution
from mem_dfa.feedback.matrices import KindArguments, Matrices, refuse_count
from mem_dfa.feedback.tiles import ENTRY_BYTES, drawn, second_seed
from mem_dfa.graph import exact_random

Factors: TypeAlias = tuple[tf.Tensor, tf.Tensor]


class LowRank(Matrices):
    """Two factors of each matrix are variables, of which one is shared."""

    takes = frozenset({"rank"})

    @classmethod
    def refuse_arguments(cls, classes: int, arguments: KindArguments) -> None:
        """Raise UnsupportedError for a rank that no matrix has."""
        super().refuse_arguments(classes, arguments)
        refuse_count("rank", arguments.rank, classes, "the rank of the feedback matrices")

    @classmethod
    def bytes_of(cls, classes: int, blocks: Sequence[Block], arguments: KindArguments) -> int:
        """Of all factors."""
        units = sum(block.width for block in blocks)
        return ENTRY_BYTES * rank_of(classes, arguments) * (classes + units) if units else 0

    def _hold(self, add_weight: Callable[..., keras.Variable]) -> dict[str, list[keras.Variable]]:
        if not self.blocks:
            return {}
        rank = rank_of(self.classes, self.arguments)
        normal = Distribution(exact_random.normal, 1 / math.sqrt(rank))
        first = second_seed(self.seeds[next(iter(self.blocks))])
        held = {
            "shared": [
                add_weight(
                    shape=(self.classes, rank),
                    initializer=lambda _, dtype: tf.cast(
                        drawn(normal, self.classes, rank, first), dtype
                    ),
                    trainable=False,
                    name="feedback_shared",
                )
            ]
        }
        for name, block in self.blocks.items():
            held[name] = [
                add_weight(
                    shape=(rank, block.width),
                    initializer=self._factor_initializer(block, rank),
                    trainable=False,
                    name=f"feedback_{name}",
                )
            ]
        return held

    def _factor_initializer(self, block: Block, rank: int) -> Callable[..., tf.Tensor]:
        distribution, seed = self._distribution(block.width), self.seeds[block.name]
        return lambda _, dtype: tf.cast(drawn(distribution, rank, block.width, seed), dtype)

    def sources(self, blocks: Sequence[str], earlier: tf.Tensor | None = None) -> list[Factors]:
        """The variables' values, which are there at any time."""
        shared = tf.convert_to_tensor(self.held["shared"][0].value)
        return [(shared, tf.convert_to_tensor(self.held[block][0].value)) for block in blocks]

    def projected(self, source: Factors, block: Block, error: tf.Tensor) -> tf.Tensor:
        """(e·U)·V_i."""
        shared, own = (tf.cast(factor, error.dtype) for factor in source)
        return (error @ shared) @ own


def rank_of(classes: int, arguments: KindArguments) -> int:
    """R as given, or ⌈√C⌉."""
    return arguments.rank or math.isqrt(classes - 1) + 1
