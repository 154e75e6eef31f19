"""Functions traced once and called by one operation each, however often a step needs them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf


class TracedOnce:
    """Bodies, by name, and the shapes and dtypes of what they were called with."""

    def __init__(self) -> None:
        """Nothing is traced yet."""
        self._traced: dict[Any, Any] = {}

    def __call__(self, body: Callable[..., Any], *arguments: Any) -> Any:
        """What `body` returns, by an operation that holds the name of the body traced once.

        Args:
            body: of nested tensors; one of its name.
            *arguments: nested tensors, handles of variables, and None where there is none.
        """
        given = tf.nest.flatten(arguments)
        key = (body.__name__, *(t if t is None else (tuple(t.shape), t.dtype) for t in given))
        flat = [tensor for tensor in given if tensor is not None]
        if key not in self._traced:
            # Not inlined: it would be as large as what it stands for.
            once = tf.function(body, autograph=False, experimental_attributes={"_noinline": True})
            self._traced[key] = once.get_concrete_function(*arguments)
        traced = self._traced[key]
        # The operation itself: a call of a tf.function takes ten times as long to trace.
        takes_variables = any(tensor.dtype == tf.resource for tensor in flat)
        call = tf.raw_ops.StatefulPartitionedCall if takes_variables else tf.raw_ops.PartitionedCall
        results = call(
            args=[*flat, *traced.captured_inputs],
            Tout=[result.dtype for result in traced.outputs],
            f=traced,
        )
        if not traced.outputs:
            return None
        for result, inner in zip(results, traced.outputs, strict=True):
            result.set_shape(inner.shape)
        return tf.nest.pack_sequence_as(traced.structured_outputs, results)


def read(variable: keras.Variable, handle: tf.Tensor | None = None) -> tf.Tensor:
    """The value of a variable, by a single operation.

    Args:
        variable: which, or one that is like it.
        handle: of the variable, where it was passed to a function; None for its own.
    """
    resource = variable.value.handle if handle is None else handle
    value = tf.raw_ops.ReadVariableOp(resource=resource, dtype=variable.value.dtype)
    value.set_shape(variable.shape)
    return value
