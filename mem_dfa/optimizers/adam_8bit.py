"""Adam with a byte for each value of its state (Dettmers et al., 2022, arXiv 2110.02861).

    m ← β₁·m + (1 − β₁)·g,  v ← β₂·v + (1 − β₂)·g²,
    W ← W − η·√(1 − β₂ᵗ)/(1 − β₁ᵗ)·m/(√v + ε)

m and v are held as codes, see `eight_bits`. Of large variables the step is taken in parts, of which
one at a time is decoded; XLA decodes all of one variable.
"""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import keras
import tensorflow as tf

from mem_dfa.graph.ordering import after, runs_as_a_graph, token
from mem_dfa.graph.stand_in import Rows
from mem_dfa.optimizers import eight_bits

LEAST = 4096
"""Values of a variable below which its state stays as it is."""
PART = 2**16
"""Values that are decoded at one time, at least as many as share no block with others."""
State: TypeAlias = "tuple[keras.Variable | Rows, ...]"
"""Codes and scales, or the values themselves."""


@keras.saving.register_keras_serializable("mem_dfa")
class Adam8Bit(keras.optimizers.Optimizer):
    """Adam of which m and v take about two bytes a weight in place of eight."""

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        name: str = "adam_8bit",
        **details: Any,
    ) -> None:
        """As `keras.optimizers.Adam`, without `amsgrad`.

        Args:
            learning_rate: η, or a schedule.
            beta_1: of m.
            beta_2: of v.
            epsilon: ε.
            name: of the optimizer.
            **details: as of any Keras optimizer.
        """
        super().__init__(learning_rate=learning_rate, name=name, **details)
        self.beta_1, self.beta_2, self.epsilon = beta_1, beta_2, epsilon
        self._done: tf.Tensor | None = None  # a token of the large variable before

    def build(self, variables: list[keras.Variable]) -> None:
        """Make the state: codes and scales, or m and v themselves of small variables."""
        if self.built:
            return
        super().build(variables)
        self._momentums = [self._state(v, "momentum", is_signed=True) for v in variables]
        self._velocities = [self._state(v, "velocity", is_signed=False) for v in variables]

    def _state(
        self, variable: keras.Variable, name: str, is_signed: bool
    ) -> tuple[keras.Variable, ...]:
        size = math.prod(variable.shape)
        if size < LEAST:
            return (self.add_variable_from_reference(variable, name),)
        rows, zero = eight_bits.blocks_of(size), eight_bits.zero(is_signed)
        codes = keras.initializers.Constant(zero)
        return (
            self.add_variable((rows, eight_bits.BLOCK), codes, "uint8", name=f"{name}_codes"),
            self.add_variable((rows, 1), "zeros", "float32", name=f"{name}_scale"),
        )

    def apply(self, *args: Any, **kwargs: Any) -> Any:
        """As in Keras; of large variables one at a time is decoded."""
        self._done = None
        applied = super().apply(*args, **kwargs)
        self._done = None
        return applied

    def update_step(
        self, gradient: tf.Tensor, variable: keras.Variable, learning_rate: tf.Tensor
    ) -> None:
        """As in Keras: of one variable."""
        index, ops = self._get_variable_index(variable), keras.ops
        states = self._momentums[index], self._velocities[index]
        gradient, rate = (ops.cast(given, variable.dtype) for given in (gradient, learning_rate))
        steps = ops.cast(self.iterations + 1, variable.dtype)
        # η·√(1 − β₂ᵗ)/(1 − β₁ᵗ)
        rate *= ops.sqrt(1 - self.beta_2**steps) / (1 - self.beta_1**steps)
        rows = _rows_of_a_part(variable.shape) if len(states[0]) > 1 else 0
        if rows:
            gradient = after(gradient, self._done)
        # XLA does not write rows in place.
        if 0 < rows < variable.shape[0] and (tf.executing_eagerly() or runs_as_a_graph()):
            # What Keras gives is TensorFlow's variable.
            whole = self._trainable_variables[index]
            self._step_in_parts(gradient, whole, states, rate, rows)
        else:
            self._step(gradient, variable, states, rate)

    def _step_in_parts(
        self,
        gradient: tf.Tensor,
        variable: keras.Variable,
        states: tuple[State, State],
        rate: tf.Tensor,
        rows: int,
    ) -> None:
        """So many rows after the other: each is some blocks of the state."""
        count, *inner = variable.shape
        blocks = rows * math.prod(inner) // eight_bits.BLOCK

        def part(number: Any, rows: int, first: Any, blocks: int) -> None:
            cut = tf.slice(gradient, [number, *[0] * len(inner)], [rows, *inner])
            m, v = (tuple(Rows(one, first, blocks) for one in state) for state in states)
            self._step(cut, Rows(variable, number, rows), (m, v), rate)

        def body(number: tf.Tensor) -> list[tf.Tensor]:
            part(number * rows, rows, number * blocks, blocks)
            return [number + 1]

        whole = count // rows
        ended = tf.while_loop(lambda n: n < whole, body, [tf.constant(0)], parallel_iterations=1)
        if rest := count - whole * rows:
            last = eight_bits.blocks_of(rest * math.prod(inner))
            part(whole * rows, rest, whole * blocks, last)
        for written in (variable, *states[0], *states[1]):
            Rows.finish(written)
        self._done = token(ended)

    def _step(
        self,
        gradient: tf.Tensor,
        variable: keras.Variable | Rows,
        states: tuple[State, State],
        rate: tf.Tensor,
    ) -> None:
        """Of a variable, or of some of its rows."""
        ops, (momentum, velocity) = keras.ops, states
        # m ← β₁·m + (1 − β₁)·g,  v ← β₂·v + (1 − β₂)·g²
        m = self._moved(momentum, gradient, self.beta_1, is_signed=True)
        v = self._moved(velocity, ops.square(gradient), self.beta_2, is_signed=False)
        # W ← W − η·√(1 − β₂ᵗ)/(1 − β₁ᵗ)·m/(√v + ε)
        self.assign_sub(variable, rate * m / (ops.sqrt(v) + self.epsilon))

    def _moved(self, state: State, towards: tf.Tensor, beta: float, is_signed: bool) -> tf.Tensor:
        """A mean after a step, as it is before it is coded."""
        if len(state) == 1:
            (held,) = state
            mean = held + (1 - beta) * (towards - held)
            self.assign(held, mean)
            return mean
        codes, scale = map(tf.convert_to_tensor, state)
        held = eight_bits.decoded(codes, scale, towards.shape, is_signed)
        mean = held + (1 - beta) * (tf.cast(towards, tf.float32) - held)
        for variable, value in zip(state, eight_bits.encoded(mean, is_signed), strict=True):
            self.assign(variable, value)
        return tf.cast(mean, towards.dtype)

    def get_config(self) -> dict[str, Any]:
        """As in Keras."""
        own = {"beta_1": self.beta_1, "beta_2": self.beta_2, "epsilon": self.epsilon}
        return {**super().get_config(), **own}


def _rows_of_a_part(shape: tuple[int, ...]) -> int:
    """Of a variable: as many as `PART` holds, and as fill whole blocks."""
    row = math.prod(shape[1:])
    fill = eight_bits.BLOCK // math.gcd(row, eight_bits.BLOCK)
    return max(1, PART // row // fill) * fill
