"""Learned: B_i follows the activations (ASRBP: Baldi, Sadowski and Lu, Artif. Intell. 2018).

    δ_i = e·B_i,  B_i ← B_i − η·eᵀ a_i

where a_i is flattened, shape (batch, n_i), and η the optimizer's rate: B_i is one of the trainer's
weights, whose slots stay between the steps as B_i does. What is needed, e and a_i, is there in
MEM-DFA's second pass, so nothing is kept for it. With a decay of B_i and of W_i alike,
B_i ← (1 − λ)·B_i, it is Direct Kolen-Pollack.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from mem_dfa.chain.block import Block
from mem_dfa.chain.factored_gradient import present_tensors
from mem_dfa.errors import UnsupportedError
from mem_dfa.feedback.matrices import KindArguments
from mem_dfa.feedback.stored import Stored
from mem_dfa.graph.once import constant
from mem_dfa.graph.ordering import after, token


class Learned(Stored):
    """Every matrix is a variable that is trained with its block."""

    takes = frozenset({"feedback_decay"})
    is_trainable = True

    @classmethod
    def refuse_arguments(cls, classes: int, arguments: KindArguments) -> None:
        """Raise UnsupportedError for a decay that is none."""
        super().refuse_arguments(classes, arguments)
        decay = arguments.feedback_decay
        if isinstance(decay, bool) or not isinstance(decay, (int, float)) or not 0 <= decay < 1:
            raise UnsupportedError(
                f"Received feedback_decay={decay!r}: give the share that goes each step, from 0 to "
                "less than 1."
            )

    def _hold(self, add_weight: Callable[..., keras.Variable]) -> dict[str, list[keras.Variable]]:
        held = super()._hold(add_weight)
        # A block that stands for others in a call has another name, and the atoms of one of them.
        self._by_atom = {block.atoms[0]: held[name] for name, block in self.blocks.items()}
        return held

    def learned(self, block: Block) -> Sequence[keras.Variable]:
        """B_i, where the block is trained."""
        return self._by_atom.get(block.atoms[0], []) if block.trainable_variables else []


def gradient(
    outputs: tf.Tensor, error: tf.Tensor, gradients: Sequence[Any], matrix: keras.Variable
) -> tf.Tensor:
    """EᵀA_i, shape (C, n_i), after the gradients of the block's own weights.

    Args:
        outputs: a_i, shape (batch, ...).
        error: e, shape (batch, ...).
        gradients: of the block's weights, beside whose making it would take memory.
        matrix: B_i.
    """
    late = after(error, token(present_tensors(gradients)))
    rows = tf.reshape(tf.cast(late, outputs.dtype), _as_rows(late))
    # ∇B_i = eᵀ a_i
    found = tf.matmul(rows, tf.reshape(outputs, _as_rows(outputs)), transpose_a=True)
    return tf.cast(found, matrix.dtype)


def _as_rows(tensor: tf.Tensor) -> tf.Tensor:
    return constant([-1, math.prod(tensor.shape[1:])], tf.int32)
