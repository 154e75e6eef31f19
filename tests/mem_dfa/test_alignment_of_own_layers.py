"""Feedback alignment through layers of the user's own, whose way back is a second run."""

import random

import keras
import numpy as np
import pytest
import tensorflow as tf

from mem_dfa import FA, CheckpointFA, UnsupportedError
from tests.mem_dfa.comparison import blobs, compiled

layers, ops = keras.layers, keras.ops
STEPS = 3


class DropConnect(layers.Dense):
    """Masks its kernel, in training only, with a mask that the tests can read."""

    def build(self, shape: tuple) -> None:
        super().build(shape)
        self.mask = self.add_weight(shape=self.kernel.shape, trainable=False, initializer="ones")

    def drawn(self) -> tf.Tensor:
        return keras.random.uniform(self.kernel.shape, seed=self.seed)

    def call(self, x: tf.Tensor, training: bool = False) -> tf.Tensor:
        self.mask.assign(ops.cast(self.drawn() < 0.5, "float32") if training else self.mask * 0)
        return ops.matmul(x, self.kernel * self.mask)


class BySeed(DropConnect):
    def __init__(self, *args: object, **how: object) -> None:
        super().__init__(*args, **how)
        self.seed = keras.random.SeedGenerator(5)


class ByGlobalSeed(DropConnect):
    seed = None


class ByPython(DropConnect):
    def drawn(self) -> tf.Tensor:
        return tf.fill(self.kernel.shape, random.random() * 0.5) * [[1.0, 2.0, 1.0, 2.0]]


class ByCount(DropConnect):
    """Every second column, in turns, by a state that moves."""

    def build(self, shape: tuple) -> None:
        super().build(shape)
        self.count = self.add_weight(shape=(), trainable=False, initializer="zeros")

    def drawn(self) -> tf.Tensor:
        self.count.assign_add(1.0)
        return tf.cast((tf.range(4.0) + self.count) % 2, "float32") + tf.zeros(self.kernel.shape)


@pytest.mark.parametrize("execution", [{}, {"run_eagerly": True}])
@pytest.mark.parametrize("kind", [BySeed, ByGlobalSeed, ByPython, ByCount])
@pytest.mark.parametrize("make", [FA, CheckpointFA])
def test_the_way_back_has_the_draws_of_the_way_there(
    make: type, kind: type, execution: dict
) -> None:
    """δ = (e ∘ B)ᵀ with the mask of the forward pass, by hand."""
    keras.utils.set_random_seed(0)
    first, second = layers.Dense(6, use_bias=False), kind(4, use_bias=False)
    network = keras.Sequential([keras.Input((6,)), first, second])
    how = {"every": 1} if make is CheckpointFA else {}
    trainer = make(network, **how)
    trainer.compile(keras.optimizers.SGD(1.0), "mse", **{"jit_compile": False, **execution})
    (((_, feedback),),) = [pairs for _, pairs in trainer.signal.kernels]
    x, y = blobs(8)[0], np.random.default_rng(0).normal(size=(8, 4)).astype("float32")
    for _ in range(STEPS):
        w1, w2 = first.kernel.numpy(), second.kernel.numpy()
        trainer.train_on_batch(x, y)
        masked = w2 * second.mask.numpy()
        assert 0 < second.mask.numpy().mean() < 1 or kind is ByPython
        error = 2 * (x @ w1 @ masked - y) / y.size
        change = -x.T @ (error @ (feedback.numpy() * second.mask.numpy()).T)
        np.testing.assert_allclose(first.kernel.numpy() - w1, change, rtol=1e-3, atol=1e-5)


class AddsALoss(layers.Dense):
    def call(self, x: tf.Tensor) -> tf.Tensor:
        outputs = super().call(x)
        self.add_loss(0.5 * ops.mean(ops.square(outputs)))
        return outputs


def test_a_loss_that_a_layer_adds_counts_once() -> None:
    losses = []
    for make in (lambda network: network, FA):
        keras.utils.set_random_seed(0)
        body = [layers.Dense(4), AddsALoss(4), layers.Dense(3)]
        trainer = make(keras.Sequential([keras.Input((6,)), *body]))
        losses.append(compiled(trainer, keras.optimizers.SGD(0.1)).train_on_batch(*blobs(8))[0])
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)


class DrawsByTensorFlow(layers.Dense):
    def call(self, x: tf.Tensor) -> tf.Tensor:
        return super().call(tf.nn.dropout(x, 0.5))


@pytest.mark.parametrize("eager", [False, True])
def test_draws_that_the_way_back_cannot_repeat_are_refused(eager: bool) -> None:
    body = [layers.Dense(6), DrawsByTensorFlow(6, name="draws"), layers.Dense(3)]
    trainer = FA(keras.Sequential([keras.Input((6,)), *body]))
    with pytest.raises(UnsupportedError, match=r"draws.*by tf\.random"):
        compiled(trainer, keras.optimizers.SGD(0.1), run_eagerly=eager)


class ChangesItself(layers.Dense):
    def call(self, x: tf.Tensor) -> tf.Tensor:
        self.kernel.assign(self.kernel * 0.5)
        return super().call(x)


def test_a_layer_that_changes_its_weights_is_refused() -> None:
    body = [layers.Dense(6), ChangesItself(6), layers.Dense(3)]
    trainer = compiled(FA(keras.Sequential([keras.Input((6,)), *body])), keras.optimizers.SGD(0.1))
    with pytest.raises(UnsupportedError, match="changes its own weights"):
        trainer.train_on_batch(*blobs(8))
