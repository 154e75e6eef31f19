"""Seeds of random numbers that are drawn anew each batch, of which nothing is held but a number."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import tensorflow as tf

from mem_dfa.graph.ordering import after, token


def batches_so_far(optimizer: keras.optimizers.Optimizer) -> tf.Tensor:
    """How many batches an optimizer has counted, a scalar.

    Its `iterations` stand still while it gathers the gradients of several.
    """
    while hasattr(optimizer, "inner_optimizer"):
        optimizer = optimizer.inner_optimizer
    return tf.convert_to_tensor(optimizer._iterations)


class StepSeeds:
    """A seed for each of several draws, made of a number held and of the batches so far.

    So a block that runs twice in a step draws the same, and a training that is resumed draws what
    one that was not interrupted would have.
    """

    def __init__(self, trainer: Any, numbers: Sequence[int]) -> None:
        """Hold the numbers.

        Args:
            trainer: whose weights they are, so that they are saved with it.
            numbers: one for each draw.
        """
        self._held = trainer.add_weight(
            shape=(len(numbers),),
            initializer=lambda shape, dtype: tf.constant(numbers, dtype, shape),
            dtype="int64",
            trainable=False,
            name="feedback_seeds",
        )
        self._of_step: list[tf.Tensor] = []

    @contextmanager
    def of_step(self, trainer: Any) -> Iterator[None]:
        """Within the context the seeds are those of the batch that is counted to."""
        # Read once: while blocks are updated one by one the optimizer counts up and down again.
        step = tf.cast(batches_so_far(trainer.optimizer), tf.int64)
        numbers = tf.convert_to_tensor(self._held.value)
        self._of_step = tf.unstack(tf.stack([numbers, tf.zeros_like(numbers) + step], axis=1))
        try:
            yield
        finally:
            self._of_step = []

    def seed(self, number: int, earlier: tf.Tensor) -> tf.Tensor:
        """The seed of a draw, shape (2,), not before a tensor that the draw is for."""
        return after(self._of_step[number], token([earlier]))
