"""A batch in parts along its first axis, and what the parts' gradients make together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import keras
import tensorflow as tf

from mem_dfa.chain.factored_gradient import TiledGradient
from mem_dfa.chain.local_gradient import added

Tensor: TypeAlias = tf.Tensor
Gradient = Tensor | TiledGradient | None


class Part:
    """One of `count` parts of a batch; if it is empty, one example stands in for it.

    A batch may be smaller than the number of parts: an empty one runs on an example that does not
    count, because a mean over nothing is no number, and some kernels take no empty batch.
    """

    def __init__(self, number: int, count: int, size: int | Tensor) -> None:
        """Take part `number`, from 0, of a batch of `size` examples."""
        is_known = isinstance(size, int)
        start, stop = number * size // count, (number + 1) * size // count
        self._examples = stop - start
        self._start = min(start, size - 1) if is_known else tf.minimum(start, size - 1)
        stop_at_least = self._start + 1
        self._stop = max(stop, stop_at_least) if is_known else tf.maximum(stop, stop_at_least)
        self._is_never_empty = is_known and self._examples > 0
        self._size = size

    @property
    def share(self) -> Tensor:
        """Of the batch's examples, float64."""
        return tf.cast(self._examples, "float64") / tf.cast(self._size, "float64")

    def of(self, batch: Tensor | tf.SparseTensor) -> Tensor | tf.SparseTensor:
        """The part's examples, or the one that stands in."""
        if not isinstance(batch, tf.SparseTensor):
            return batch[self._start : self._stop]
        rest = [0] * (len(batch.shape) - 1)
        size = tf.concat([[self._stop - self._start], batch.dense_shape[1:]], 0)
        return tf.sparse.slice(batch, [self._start, *rest], size)

    def of_all(self, batch: Any) -> Any:
        """The same of nested tensors, which may be None."""
        return keras.tree.map_structure(lambda t: None if t is None else self.of(t), batch)

    def counted(self, outputs: Any) -> Any:
        """Of what `of`'s examples gave, nested, what counts: nothing if one stands in."""
        if self._is_never_empty:
            return outputs
        return keras.tree.map_structure(lambda output: output[: self._examples], outputs)

    def errors_of(self, batch: Tensor) -> Tensor:
        """The part's error signals, 0 for an example that stands in."""
        errors = self.of(batch)
        return errors if self._is_never_empty else self.chosen(errors, tf.zeros_like(errors))

    def chosen(self, value: Tensor, otherwise: Tensor) -> Tensor:
        """`value`, or for an empty part the other one."""
        return value if self._is_never_empty else tf.where(self._examples > 0, value, otherwise)


def cut(tensors: list[Tensor], count: int, size: int | Tensor) -> list[Tensor]:
    """The batch in `count` parts, from parts or one whole tensor, shape (batch, ...).

    Parts that are there already stay as they are; putting them together makes a copy.
    """
    if len(tensors) == count:
        return tensors
    whole = tensors[0]
    if len(tensors) > 1:
        parts = [Part(number, len(tensors), size) for number in range(len(tensors))]
        counted = [part.counted(tensor) for part, tensor in zip(parts, tensors, strict=True)]
        whole = tf.concat(counted, axis=0)
    if count == 1:
        return [whole]
    return [Part(number, count, size).of(whole) for number in range(count)]


def cut_errors(errors: Tensor, count: int, size: int | Tensor) -> list[Tensor]:
    """Error signals, shape (batch, ...), in `count` parts; 0 for an example that stands in."""
    if count == 1:
        return [errors]
    return [Part(number, count, size).errors_of(errors) for number in range(count)]


def add_parts(
    variables: Sequence[keras.Variable], total: Sequence[Gradient], own: Sequence[Gradient]
) -> list[Gradient]:
    """The gradients of the parts so far and of one more.

    Of variables that are overwritten by what stands for their gradient, such as float8's greatest
    values, the greater one counts, as in Keras's accumulation.
    """
    return [
        tf.maximum(first, second)
        if variable.overwrite_with_gradient and first is not None and second is not None
        else added(first, second)
        for variable, first, second in zip(variables, total, own, strict=True)
    ]
