"""Adam in a few directions of each matrix's gradient (GaLore: Zhao et al., arXiv 2403.03507).

    every T steps:  P ← the first r left singular vectors of G
    R = Pᵀ G,  m ← β₁·m + (1 − β₁)·R,  v ← β₂·v + (1 − β₂)·R²
    W ← W − η·α·P·(√(1 − β₂ᵗ)/(1 − β₁ᵗ)·m/(√v + ε))

G has at most as many rows as columns, or is transposed. Of an m×n matrix m·r + 2·r·n values are
held in place of 2·m·n.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf


@dataclass(frozen=True)
class _State:
    """What is held for one variable; `directions` is P, None where there is none."""

    momentum: keras.Variable
    velocity: keras.Variable
    directions: keras.Variable | None = None


@keras.saving.register_keras_serializable("mem_dfa")
class LowRankAdam(keras.optimizers.Optimizer):
    """Adam whose state is of rank r; of vectors, and where it would be no smaller, Adam itself."""

    def __init__(
        self,
        learning_rate: Any = 0.01,
        rank: int = 128,
        refreshed_every: int = 200,
        scale: float = 0.25,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-6,
        name: str = "low_rank_adam",
        **details: Any,
    ) -> None:
        """As `keras.optimizers.Adam`, without `amsgrad`.

        Args:
            learning_rate: η, or a schedule.
            rank: r, at least 1.
            refreshed_every: T, in steps, at least 1.
            scale: α.
            beta_1: of m.
            beta_2: of v.
            epsilon: ε.
            name: of the optimizer.
            **details: as of any Keras optimizer.

        Raises:
            ValueError: `rank` or `refreshed_every` is no whole number from 1.
        """
        super().__init__(learning_rate=learning_rate, name=name, **details)
        for word, value in (("rank", rank), ("refreshed_every", refreshed_every)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"LowRankAdam received {word}={value!r}: give 1, 2, ….")
        self.rank, self.refreshed_every, self.scale = rank, refreshed_every, scale
        self.beta_1, self.beta_2, self.epsilon = beta_1, beta_2, epsilon

    def build(self, variables: list[keras.Variable]) -> None:
        """Make the state."""
        if self.built:
            return
        super().build(variables)
        self._states = [self._made(variable) for variable in variables]

    def _made(self, variable: keras.Variable) -> _State:
        rows, columns = _sides(variable.shape)
        if rows * self.rank + 2 * self.rank * columns >= 2 * rows * columns:
            means = [
                self.add_variable_from_reference(variable, name=name)
                for name in ("momentum", "velocity")
            ]
            return _State(*means)
        return _State(
            *(
                self.add_variable((size, self.rank), "zeros", variable.dtype, name=name)
                for name, size in (
                    ("momentum", columns),
                    ("velocity", columns),
                    ("directions", rows),
                )
            )
        )

    def update_step(
        self, gradient: tf.Tensor, variable: keras.Variable, learning_rate: tf.Tensor
    ) -> None:
        """As in Keras: of one variable."""
        state = self._states[self._get_variable_index(variable)]
        gradient, rate = (
            keras.ops.cast(given, variable.dtype) for given in (gradient, learning_rate)
        )
        if state.directions is None:
            self.assign_sub(variable, rate * self._adam(state, gradient))
            return
        matrix = tf.reshape(gradient, [-1, variable.shape[-1]])
        is_tall = matrix.shape[0] > matrix.shape[1]
        matrix = tf.transpose(matrix) if is_tall else matrix
        held = tf.convert_to_tensor(state.directions.value)
        directions = tf.cond(
            # No variable, but a tensor, where gradients of several batches are gathered.
            tf.convert_to_tensor(self.iterations) % self.refreshed_every == 0,
            lambda: self._directions(matrix, held),
            lambda: held,
        )
        self.assign(state.directions, directions)
        # R = Pᵀ G; here Gᵀ P, its transpose
        step = self._adam(state, tf.matmul(matrix, directions, transpose_a=True))
        # W ← W − η·α·P·(…)
        step = tf.matmul(step, directions, transpose_b=True)
        step = step if is_tall else tf.transpose(step)
        self.assign_sub(variable, rate * self.scale * tf.reshape(step, variable.shape))

    def _directions(self, matrix: tf.Tensor, before: tf.Tensor) -> tf.Tensor:
        """The first r left singular vectors of a gradient, shape (rows, r)."""
        # P ← the first r left singular vectors of G
        found = tf.linalg.svd(tf.cast(matrix, _precise(matrix.dtype)))[1][:, : self.rank]
        found = tf.cast(found, matrix.dtype)
        # Their signs are arbitrary: of those before, for which m was gathered, as far as it goes.
        is_turned = tf.reduce_sum(found * before, axis=0) < 0
        return tf.where(is_turned, -found, found)

    def _adam(self, state: _State, gradient: tf.Tensor) -> tf.Tensor:
        """√(1 − β₂ᵗ)/(1 − β₁ᵗ)·m/(√v + ε), after m and v have moved."""
        ops = keras.ops
        # In bfloat16 β₂ would be 1, and the step 0.
        steps = ops.cast(self.iterations + 1, _precise(gradient.dtype))
        for mean, beta, new in (
            (state.momentum, self.beta_1, gradient),
            (state.velocity, self.beta_2, ops.square(gradient)),
        ):
            self.assign_add(mean, (1 - beta) * (new - mean))
        correction = ops.sqrt(1 - self.beta_2**steps) / (1 - self.beta_1**steps)
        correction = ops.cast(correction, gradient.dtype)
        return correction * state.momentum / (ops.sqrt(state.velocity) + self.epsilon)

    def get_config(self) -> dict[str, Any]:
        """As in Keras."""
        names = ("rank", "refreshed_every", "scale", "beta_1", "beta_2", "epsilon")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


def _precise(dtype: tf.DType) -> tf.DType:
    """At least float32: shorter numbers have no singular vectors in TensorFlow."""
    return tf.float32 if dtype.size < tf.float32.size else dtype


def _sides(shape: tuple[int, ...]) -> tuple[int, int]:
    """Rows and columns of a kernel as a matrix, the smaller number first; (1, n) of a vector."""
    if len(shape) < 2:
        return 1, math.prod(shape)
    first, second = math.prod(shape[:-1]), shape[-1]
    return min(first, second), max(first, second)
