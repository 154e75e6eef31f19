"""In the place of a variable or a slot: what `keras.Optimizer.update_step` asks of one.

That is conversion to a tensor, arithmetic, the three assignments.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import keras
import tensorflow as tf

Tensor: TypeAlias = tf.Tensor


class StandIn:
    """A tensor in the place of a variable; assignments replace it."""

    def __init__(self, variable: keras.Variable, value: Tensor) -> None:
        """Stand for `variable`, which has `value` now."""
        self._value, self.dtype, self.shape = value, value.dtype, value.shape
        # By which an optimizer finds the slots of a variable.
        self._unique_id = variable.value._unique_id

    def read(self) -> Tensor:
        """The value as it is now."""
        return self._value

    def __tf_tensor__(self, dtype: tf.DType | None = None, name: str | None = None) -> Tensor:
        """Let TensorFlow's and Keras's operations take it as a tensor."""
        return tf.convert_to_tensor(self.read(), dtype=dtype, name=name)

    def __mul__(self, other: Any) -> Tensor:
        """The value times a number; with a tensor, that tensor's own arithmetic works, too."""
        return self.read() * other

    __rmul__ = __mul__

    def assign(self, value: Tensor) -> None:
        """Replace the value."""
        self._value = tf.convert_to_tensor(value, self.dtype)

    def assign_add(self, value: Tensor) -> None:
        """Add to the value."""
        self._value += tf.convert_to_tensor(value, self.dtype)

    def assign_sub(self, value: Tensor) -> None:
        """Subtract from the value."""
        self._value -= tf.convert_to_tensor(value, self.dtype)


class Rows(StandIn):
    """Rows `start` to `start + count` of the variable itself; nothing else is read or written.

    `variable[a:b].assign(…)` would copy the whole variable.
    """

    def __init__(self, variable: keras.Variable, start: Tensor | int, count: int) -> None:
        """Stand for `count` rows of `variable`; `start` may be known only when the step runs."""
        held = variable.value
        self._handle, self._indices = held.handle, start + tf.range(count)
        self.dtype, self.shape = held.dtype, tf.TensorShape([count, *held.shape[1:]])
        self._unique_id = held._unique_id

    @staticmethod
    def finish(variable: keras.Variable) -> None:
        """After the last write to any row: let `variable` be read without a copy again."""
        tf.raw_ops.DisableCopyOnRead(resource=variable.value.handle)

    def read(self) -> Tensor:
        """The rows' values as they are now, shape (count, ...)."""
        return tf.raw_ops.ResourceGather(
            resource=self._handle, indices=self._indices, dtype=self.dtype
        )

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
