"""Sparse: s non-zeros in each column of B_i (SSDFA: Crafton et al., Front. Neurosci. 2019).

    δ_i = e·B_i = Σ_k v_k ⊙ e[:, c_k],  k = 1 … s

Each unit sees s components of the error: classes c_k, drawn uniformly without replacement, with
values v_k of U(±(C·s)^¼/√n_i). Other initializers than `uniform` are multiplied by (C·s)^¼, too.
Values and classes have the shape (s, n_i); a class takes one byte where C ≤ 256, so that all takes
5·s·Σn_i bytes, 1.25·s/C of the stored matrices. With s = 1 a width below some 3·C leaves classes
unseen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import keras
import tensorflow as tf

from mem_dfa.chain.block import Block
from mem_dfa.feedback.distributions import Distribution
from mem_dfa.feedback.matrices import KindArguments, Matrices, refuse_count
from mem_dfa.feedback.tiles import ENTRY_BYTES, Seed, second_seed
from mem_dfa.graph import exact_random
from mem_dfa.graph.once import constant
from mem_dfa.graph.ordering import after, token

DEFAULT_NONZEROS = 1

Columns: TypeAlias = tuple[tf.Tensor, tf.Tensor]
"""The values and the classes of a matrix's non-zeros, shape (s, n_i) each."""


class Sparse(Matrices):
    """Values and classes of the non-zeros are variables."""

    takes = frozenset({"nonzeros"})

    @classmethod
    def refuse_arguments(cls, classes: int, arguments: KindArguments) -> None:
        """Raise UnsupportedError for more non-zeros a unit than there are classes, or none."""
        super().refuse_arguments(classes, arguments)
        refuse_count("nonzeros", arguments.nonzeros, classes, "the non-zeros of a unit's feedback")

    @classmethod
    def bytes_of(cls, classes: int, blocks: Sequence[Block], arguments: KindArguments) -> int:
        """Of all values and classes."""
        one = (arguments.nonzeros or DEFAULT_NONZEROS) * (ENTRY_BYTES + class_type(classes).size)
        return one * sum(block.width for block in blocks)

    @property
    def nonzeros(self) -> int:
        """Of each column, s."""
        return self.arguments.nonzeros or DEFAULT_NONZEROS

    def _distribution(self, width: int) -> Distribution:
        dense = super()._distribution(width)
        # U(±(C·s)^¼/√n_i)
        return Distribution(dense.draw, dense.scale * (self.classes * self.nonzeros) ** 0.25)

    def values(self, seed: tf.Tensor | Seed, width: int) -> tf.Tensor:
        """V_k, shape (s, n_i), float32."""
        return self._distribution(width).matrix(seed, self.nonzeros, width)

    def chosen(self, seed: tf.Tensor | Seed, width: int) -> tf.Tensor:
        """C_k, shape (s, n_i), int32."""
        return exact_random.choices(second_seed(seed), self.classes, self.nonzeros, width)

    def _hold(self, add_weight: Callable[..., keras.Variable]) -> dict[str, list[keras.Variable]]:
        return {name: self._made(block, add_weight) for name, block in self.blocks.items()}

    def _made(
        self, block: Block, add_weight: Callable[..., keras.Variable]
    ) -> list[keras.Variable]:
        width, seed = block.width, self.seeds[block.name]
        how = {"shape": (self.nonzeros, width), "trainable": False}
        return [
            add_weight(
                **how,
                initializer=lambda _, dtype: tf.cast(self.values(seed, width), dtype),
                name=f"feedback_{block.name}_values",
            ),
            add_weight(
                **how,
                initializer=lambda _, dtype: tf.cast(self.chosen(seed, width), dtype),
                dtype=class_type(self.classes).name,
                name=f"feedback_{block.name}_classes",
            ),
        ]

    def sources(self, blocks: Sequence[str], earlier: tf.Tensor | None = None) -> list[Columns]:
        """The variables' values, which are there at any time."""
        return [tuple(tf.convert_to_tensor(v.value) for v in self.held[b]) for b in blocks]

    def projected(self, source: Columns, block: Block, error: tf.Tensor) -> tf.Tensor:
        """See `selected`."""
        return selected(source, error)


def selected(columns: Columns, error: tf.Tensor) -> tf.Tensor:
    """Σ_k v_k ⊙ e[:, c_k], shape (batch, n_i), one k after another."""
    signal = None
    for values, classes in zip(*map(tf.unstack, columns), strict=True):
        # Of a class's byte an index is made for a moment.
        late = after(classes, token([error if signal is None else signal]))
        index, axis = tf.cast(late, tf.int32), constant(1, tf.int32)
        part = tf.raw_ops.GatherV2(params=error, indices=index, axis=axis)
        part *= tf.cast(values, error.dtype)
        signal = part if signal is None else signal + part
    return signal


def class_type(classes: int) -> tf.DType:
    """The smallest whole numbers that name every class."""
    return next(kind for kind in (tf.uint8, tf.uint16, tf.uint32) if classes - 1 <= kind.max)
