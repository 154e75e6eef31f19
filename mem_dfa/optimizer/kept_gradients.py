"""In the place of an optimizer: a step's gradients are kept, and nothing is updated."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import tensorflow as tf


class _Keeping(keras.optimizers.Optimizer):
    """Keeps the gradients that it is given, and changes nothing."""

    def __init__(self, trained: keras.optimizers.Optimizer) -> None:
        """In the place of `trained`, whose step number and loss scale it tells."""
        super().__init__(learning_rate=0.0)
        # The name that Keras gives to one that counts in another's place, see `batches_so_far`.
        self.inner_optimizer, self.built = trained, True
        self.kept: dict[int, Any] = {}

    @property
    def iterations(self) -> keras.Variable:
        """Steps that were taken."""
        return self.inner_optimizer.iterations

    def scale_loss(self, loss: tf.Tensor) -> tf.Tensor:
        """As the optimizer that it stands for: in float16 gradients would vanish."""
        return self.inner_optimizer.scale_loss(loss)

    def apply(self, grads: Sequence, trainable_variables: Sequence | None = None) -> None:
        """Keep the gradients."""
        for variable, gradient in zip(trainable_variables or (), grads, strict=True):
            self.kept[id(variable)] = gradient


@contextmanager
def kept_gradients(trainer: keras.Model) -> Iterator[dict[int, Any]]:
    """What a step that is taken in the context gives its optimizer, by the variables' `id`."""
    trained = trainer.optimizer
    trainer.optimizer = keeping = _Keeping(trained)
    try:
        yield keeping.kept
    finally:
        trainer.optimizer = trained
