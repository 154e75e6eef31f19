"""A layer whose input gradient is formed with other kernels than its output.

    δ_{i-1} = J_i(K_i)ᵀ δ_i

J_i(K_i) is the layer's Jacobian with K_i in place of its kernel W_i.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

import keras
import tensorflow as tf
from keras.src.backend.common.variables import AutocastScope

from mem_dfa.chain.atom import with_call, without_activation
from mem_dfa.chain.foreign_code import is_keras_only
from mem_dfa.chain.outside import NOTHING_SEEN, Seen
from mem_dfa.chain.rehearsal import run_noted
from mem_dfa.graph.ordering import after, runs_as_a_graph, token

Values: TypeAlias = Sequence[tf.Tensor | tf.Variable]


@contextmanager
def random_way_back(
    layer: keras.layers.Layer,
    kernels: Callable[[tf.Tensor, Values], list[tuple[keras.Variable, Any]]],
    changing: Sequence[keras.Variable] = (),
) -> Iterator[None]:
    """Within the context the layer's input gradient is formed with other kernels.

    Its output and the gradients of its weights stay the true ones.

    Args:
        layer: which.
        kernels: gives each of its kernels with what stands for it, from the error signal at the
            layer's output, before which nothing that stands there need be made, and from the values
            of `changing` when the layer ran.
        changing: variables that they are made of and that the step changes.
    """
    original = layer.call
    plain = False  # whether the layer runs as it is, to be differentiated
    keras_only = is_keras_only(layer)

    def way_back(
        run: Callable[[tf.Tensor], tf.Tensor],
        inputs: tf.Tensor,
        error: tf.Tensor,
        seen: Seen,
        values: Values,
    ) -> tf.Tensor:
        nonlocal plain
        mapping = kernels(error, values)
        plain = True
        try:
            with (
                keras.StatelessScope(state_mapping=[*seen.values(None), *mapping]),
                seen.draws(),
                without_activation(layer),
                tf.GradientTape(watch_accessed_variables=False) as tape,
            ):
                tape.watch(inputs)
                outputs = run(inputs)
        finally:
            plain = False
        # δ_{i-1} = J_i(K_i)ᵀ δ_i
        return tape.gradient(outputs, inputs, output_gradients=error)

    def call(inputs: tf.Tensor, *args: Any, **kwargs: Any) -> tf.Tensor:
        if plain:
            return original(inputs, *args, **kwargs)
        inputs, values = _read(changing, inputs)
        with without_activation(layer):
            run = functools.partial(original, tf.stop_gradient(inputs), *args, **kwargs)
            outputs, seen = (run(), NOTHING_SEEN) if keras_only else run_noted(layer, run)

        @tf.custom_gradient
        def carry(outputs: tf.Tensor, inputs: tf.Tensor) -> Any:
            # Through __call__, which casts the kernels as the layer's dtype policy says.
            again = lambda inputs: layer(inputs, *args, **kwargs)  # noqa: E731
            return tf.identity(outputs), lambda error: (
                error,
                way_back(again, inputs, error, seen, values),
            )

        outputs = carry(outputs, inputs)
        return outputs if layer.activation is None else layer.activation(outputs)

    with with_call(layer, call):
        yield


def _read(variables: Sequence[keras.Variable], inputs: tf.Tensor) -> tuple[tf.Tensor, Values]:
    """A layer's input, and the values of variables, which are read before it is there.

    A value that is read on the way back may be the next step's: TensorFlow drops the order of a
    read and an update where that follows from others, such as that all gradients pass one
    operation of the optimizer's, and then takes that operation away.
    """
    with AutocastScope(None):
        values = [variable.value for variable in variables]
    if not values or not runs_as_a_graph():
        return inputs, values
    values = [tf.convert_to_tensor(value) for value in values]
    return after(inputs, token(values)), values
