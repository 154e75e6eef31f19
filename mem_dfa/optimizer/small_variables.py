"""Small variables of many blocks, updated by one call of a function traced once.

An optimizer's step on a variable is a dozen operations, with constants of its own, that stay in
memory between steps. Where a thousand small variables are alike, they are passed to a function in
groups, which reads and writes them; nothing else stands in the graph for each of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import keras
import tensorflow as tf

from mem_dfa.graph.stand_in import StandIn
from mem_dfa.graph.traced_call import TracedOnce, read
from mem_dfa.optimizer.elementwise import SLOTS, is_decayed, slots_of, step_on

Tensor: TypeAlias = tf.Tensor
Pair = tuple[Tensor, keras.Variable]


class Together:
    """An optimizer's steps of one batch on groups of small variables."""

    def __init__(self, optimizer: keras.optimizers.Optimizer) -> None:
        """Begin a step of a built optimizer, which counts it only afterwards."""
        self._optimizer, self._call = optimizer, TracedOnce()
        self._bodies: dict[Any, Any] = {}
        self._shared: tuple[Tensor, Tensor] | None = None

    def can_apply(self, pairs: Sequence[Pair]) -> bool:
        """Whether the variables can be updated by `apply`."""
        return type(self._optimizer) in SLOTS and all(
            variable.constraint is None
            and variable.regularizer is None
            and not variable.overwrite_with_gradient
            for _, variable in pairs
        )

    def apply(self, pairs: Sequence[Pair]) -> Tensor:
        """Update each variable by its gradient.

        Returns:
            A token (see `ordering`) that exists when that is done.
        """
        if self._shared is None:
            rate = tf.convert_to_tensor(self._optimizer.learning_rate)
            self._shared = read(self._optimizer.iterations), rate
        gradients, variables = [g for g, _ in pairs], [v for _, v in pairs]
        held = [[v, *slots_of(self._optimizer, v).values()] for v in variables]
        handles = [[variable.value.handle for variable in own] for own in held]
        body = self._body(variables)

        def in_place(
            gradients: list[Tensor], handles: list[list[Tensor]], *shared: Tensor
        ) -> Tensor:
            values = [
                [read(variable, handle) for variable, handle in zip(*parts, strict=True)]
                for parts in zip(held, handles, strict=True)
            ]
            with tf.control_dependencies(_write(handles, body(gradients, values, *shared))):
                return tf.constant(0.0)

        in_place.__name__ = f"in_place_{body.__name__}"
        return self._call(in_place, gradients, handles, *self._shared)

    def _body(self, variables: Sequence[keras.Variable]) -> Any:
        """The steps on variables like these, as a function of their values and their slots'."""
        optimizer = self._optimizer
        key = "".join(str(int(is_decayed(optimizer, variable))) for variable in variables)
        if key in self._bodies:
            return self._bodies[key]

        def steps(
            gradients: list[Tensor], values: list[list[Tensor]], iterations: Tensor, rate: Tensor
        ) -> list[list[Tensor]]:
            results = []
            for gradient, own, variable in zip(gradients, values, variables, strict=True):
                weight, *slots = (StandIn(variable, value) for value in own)
                named = dict(zip(slots_of(optimizer, variable), slots, strict=True))
                step_on(optimizer, variable, weight, named, gradient, iterations, rate)
                results.append([weight.read(), *(slot.read() for slot in slots)])
            return results

        steps.__name__ = f"steps_{key}"
        self._bodies[key] = steps
        return steps


def _write(handles: list[list[Tensor]], values: list[list[Tensor]]) -> list[tf.Operation]:
    return [
        tf.raw_ops.AssignVariableOp(resource=handle, value=value)
        for handle, value in zip(tf.nest.flatten(handles), tf.nest.flatten(values), strict=True)
    ]
