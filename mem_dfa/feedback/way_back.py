"""A layer whose input gradient is formed with other kernels than its output.

    δ_{i-1} = J_i(K_i)ᵀ δ_i

J_i(K_i) is the layer's Jacobian with K_i in place of its kernel W_i.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras
import tensorflow as tf

from mem_dfa.chain.atom import with_call, without_activation
from mem_dfa.chain.foreign_code import is_keras_only
from mem_dfa.chain.outside import NOTHING_SEEN, Seen
from mem_dfa.chain.rehearsal import run_noted


@contextmanager
def random_way_back(
    layer: keras.layers.Layer, kernels: Callable[[tf.Tensor], list[tuple[keras.Variable, Any]]]
) -> Iterator[None]:
    """Within the context the layer's input gradient is formed with other kernels.

    Its output and the gradients of its weights stay the true ones.

    Args:
        layer: which.
        kernels: gives each of its kernels with what stands for it, from the error signal at the
            layer's output, before which nothing that stands there need be made.
    """
    original = layer.call
    plain = False  # whether the layer runs as it is, to be differentiated
    keras_only = is_keras_only(layer)

    def way_back(
        run: Callable[[tf.Tensor], tf.Tensor], inputs: tf.Tensor, error: tf.Tensor, seen: Seen
    ) -> tf.Tensor:
        nonlocal plain
        mapping = kernels(error)
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
        with without_activation(layer):
            run = functools.partial(original, tf.stop_gradient(inputs), *args, **kwargs)
            outputs, seen = (run(), NOTHING_SEEN) if keras_only else run_noted(layer, run)

        @tf.custom_gradient
        def carry(outputs: tf.Tensor, inputs: tf.Tensor) -> Any:
            # Through __call__, which casts the kernels as the layer's dtype policy says.
            again = lambda inputs: layer(inputs, *args, **kwargs)  # noqa: E731
            return tf.identity(outputs), lambda error: (error, way_back(again, inputs, error, seen))

        outputs = carry(outputs, inputs)
        return outputs if layer.activation is None else layer.activation(outputs)

    with with_call(layer, call):
        yield
