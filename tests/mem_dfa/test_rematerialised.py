"""Layers that recompute themselves: Keras's wrapping is undone, the user's own is refused."""

import functools
from collections.abc import Callable
from contextlib import nullcontext

import keras
import numpy as np
import pytest
import tensorflow as tf

from mem_dfa import (
    ALGORITHMS,
    BP,
    DFA,
    FA,
    Checkpoint,
    CheckpointFA,
    MemDFA,
    RevNet,
    UnsupportedError,
)
from tests.mem_dfa.comparison import EXECUTIONS, blobs, compiled, distance
from tests.mem_dfa.table import reversible

layers = keras.layers
STEPS = 3
SCOPES = {
    "full": {},
    "activations": {"mode": "activations"},
    "larger": {"mode": "larger_than", "output_size_threshold": 4},
    "listed": {"mode": "list_of_layers", "layer_names": ["first", "second"]},
}
# Each beside one that runs every layer once, without the wrapping.
TRAINERS: dict[str, tuple[Callable, Callable]] = {
    "checkpoint": (functools.partial(Checkpoint, every=2), BP),
    "mem_dfa": (MemDFA, DFA),
    "revnet": (RevNet, BP),
    "dfa": (DFA, DFA),
    "fa": (FA, FA),
    "checkpoint_fa": (functools.partial(CheckpointFA, every=2), FA),
}


def network(wrapped: dict | None, algorithm: str = "") -> keras.Model:
    """A net with draws and statistics, in part inside a model inside it."""
    keras.utils.set_random_seed(0)
    with nullcontext() if wrapped is None else keras.RematScope(**wrapped):
        inputs = keras.Input((6,))
        x = layers.Dense(8, activation="tanh", name="first")(inputs)
        x = layers.BatchNormalization()(x)
        inner = [layers.Dense(8, activation="tanh", name="second"), layers.Dropout(0.3, seed=2)]
        x = keras.Sequential([keras.Input((8,)), *inner])(x)
        for layer in reversible(algorithm, 8):
            x = layer(x)
        if not algorithm.endswith("fa"):
            x = layers.Reshape((2, 4))(x)
            x = layers.TimeDistributed(layers.Dense(4, activation="tanh"))(x)
            x = keras.ops.tanh(layers.Flatten()(x))
        return keras.Model(inputs, layers.Dense(3)(layers.Dense(6)(x)))


def trained(trainer: keras.Model, **how: object) -> list[np.ndarray]:
    start = trainer.network.get_weights()
    compiled(trainer, keras.optimizers.SGD(0.1), **how)
    for _ in range(STEPS):
        trainer.train_on_batch(*blobs(12))
    return [w - s for w, s in zip(trainer.network.get_weights(), start, strict=True)]


@functools.cache
def expected(algorithm: str) -> list[np.ndarray]:
    return trained(TRAINERS[algorithm][1](network(None, algorithm)), run_eagerly=True)


# How a layer is wrapped does not depend on what runs it: a graph of one scope is enough.
@pytest.mark.parametrize(
    ("scope", "execution"), [("full", "graph"), *((scope, "eager") for scope in SCOPES)]
)
@pytest.mark.parametrize("algorithm", TRAINERS)
def test_what_runs_again_anyway_is_not_recomputed_inside(
    algorithm: str, scope: str, execution: str
) -> None:
    with keras.RematScope(**SCOPES[scope]):
        trainer = TRAINERS[algorithm][0](network(SCOPES[scope], algorithm))
    assert distance(trained(trainer, **EXECUTIONS[execution]), expected(algorithm)) < 1e-5


def test_backpropagation_stays_kerass_own_step() -> None:
    """With the statistics that Keras moves twice."""
    model = network(SCOPES["full"])
    start = model.get_weights()
    compiled(model, keras.optimizers.SGD(0.1), run_eagerly=True)
    for _ in range(STEPS):
        model.train_on_batch(*blobs(12))
    expected = [w - s for w, s in zip(model.get_weights(), start, strict=True)]
    assert distance(trained(BP(network(SCOPES["full"])), run_eagerly=True), expected) < 1e-6


class Decorated(layers.Dense):
    def call(self, x: tf.Tensor) -> tf.Tensor:
        @tf.recompute_grad
        def product(x: tf.Tensor) -> tf.Tensor:
            return x @ self.kernel

        return product(x)


class Attribute(layers.Dense):
    def build(self, shape: tuple) -> None:
        super().build(shape)
        self.product = keras.remat(lambda x: x @ self.kernel)

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return self.product(x)


class Inside(layers.Layer):
    def build(self, shape: tuple) -> None:
        self.dense = layers.Dense(6)
        self.dense.build(shape)

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return tf.map_fn(lambda row: keras.remat(self.dense)(row[None])[0], x)


class ScopedCall(layers.Layer):
    """A layer made in the scope that Keras does not know of."""

    def __init__(self) -> None:
        super().__init__()
        with keras.RematScope():
            self.held = frozenset([layers.Dense(6)])

    def call(self, x: tf.Tensor) -> tf.Tensor:
        (dense,) = self.held
        return dense(x)


OWN: dict[str, Callable[[], layers.Layer]] = {
    "decorated": lambda: Decorated(6, use_bias=False),
    "attribute": lambda: Attribute(6, use_bias=False),
    "inside": Inside,
    "wrapper": lambda: layers.TimeDistributed(Decorated(6, use_bias=False)),
    "function": lambda: layers.Lambda(tf.recompute_grad(lambda x: 2 * x)),
    "untracked": ScopedCall,
}


@pytest.mark.parametrize("algorithm", ["mem_dfa", "checkpoint", "revnet"])
@pytest.mark.parametrize("kind", OWN)
def test_a_layer_that_recomputes_itself_is_refused(kind: str, algorithm: str) -> None:
    layer = OWN[kind]()
    body = [layers.Dense(6), *reversible(algorithm, 6), layers.Reshape((1, 6)), layer]
    body += [layers.Flatten(), layers.Dense(6), layers.Dense(6), layers.Dense(3)]
    if kind not in ("wrapper", "inside"):
        body = [each for each in body if not isinstance(each, layers.Reshape)]
    how = {"every": 3} if algorithm == "checkpoint" else {}
    trainer = ALGORITHMS[algorithm](keras.Sequential([keras.Input((6,)), *body]), **how)
    compiled(trainer, keras.optimizers.SGD(0.1), run_eagerly=algorithm == "mem_dfa")
    with pytest.raises(UnsupportedError, match=r"recomputes itself|cannot be traced") as refused:
        trainer.train_on_batch(*blobs(8))
    assert layer.name in str(refused.value)


@pytest.mark.parametrize("kind", ["decorated", "attribute"])
def test_dfa_runs_such_a_layer_once_and_may_train_it(kind: str) -> None:
    """As the same layer does that does not recompute itself."""
    changes = []
    for layer in (OWN[kind], lambda: layers.Dense(6, use_bias=False)):
        keras.utils.set_random_seed(0)
        body = [layers.Dense(6, activation="tanh"), layer(), layers.Dense(6), layers.Dense(3)]
        trainer = DFA(keras.Sequential([keras.Input((6,)), *body]))
        changes.append(trained(trainer))
    assert distance(*changes) < 1e-6


def test_alignment_refuses_it_too() -> None:
    network = keras.Sequential([keras.Input((6,)), layers.Dense(6), OWN["decorated"]()])
    with pytest.raises(UnsupportedError, match="recomputes itself"):
        compiled(FA(network), keras.optimizers.SGD(0.1))
