"""A few rows of a variable, in the place of a variable."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

Tensor = tf.Tensor


class Rows:
    """Rows `start` to `start + count` of a variable, which read and write nothing else.

    What `keras.Optimizer.update_step` asks of a variable or a slot: conversion to a tensor,
    arithmetic, the three assignments. `variable[a:b].assign(…)` would copy the whole variable.
    """

    def __init__(self, variable: tf.Variable, start: Tensor | int, count: int) -> None:
        """Stand for `count` rows of `variable`; `start` may be known only when the step runs."""
        self._handle = variable.handle
        self._indices = start + tf.range(count)
        self.dtype = variable.dtype
        self.shape = tf.TensorShape([count, *variable.shape[1:]])
        # By which an optimizer finds the slots of a variable.
        self._unique_id = variable._unique_id

    @staticmethod
    def finish(variable: tf.Variable) -> None:
        """After the last write: let `variable` be read without a copy again."""
        tf.raw_ops.DisableCopyOnRead(resource=variable.handle)

    def read(self) -> Tensor:
        """The rows' values as they are now, shape (count, ...)."""
        return tf.raw_ops.ResourceGather(
            resource=self._handle, indices=self._indices, dtype=self.dtype
        )

    def __tf_tensor__(self, dtype: tf.DType | None = None, name: str | None = None) -> Tensor:
        """Let TensorFlow's and Keras's operations take rows as a tensor."""
        return tf.convert_to_tensor(self.read(), dtype=dtype, name=name)

    def assign(self, value: Tensor) -> None:
        """Write the rows."""
        tf.raw_ops.ResourceScatterUpdate(**self._written(value))

    def assign_add(self, value: Tensor) -> None:
        """Add to the rows."""
        tf.raw_ops.ResourceScatterAdd(**self._written(value))

    def assign_sub(self, value: Tensor) -> None:
        """Subtract from the rows."""
        tf.raw_ops.ResourceScatterSub(**self._written(value))

    def _written(self, value: Any) -> dict[str, Any]:
        updates = tf.convert_to_tensor(value, self.dtype)
        return {"resource": self._handle, "indices": self._indices, "updates": updates}

    def __mul__(self, other: Any) -> Tensor:
        """The rows' values times a number; with a tensor, that tensor's own arithmetic works."""
        return self.read() * other

    __rmul__ = __mul__
