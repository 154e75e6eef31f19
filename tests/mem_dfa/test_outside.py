"""Random numbers and state that belong to no layer's variables, where a layer runs twice."""

import functools
import random
from collections.abc import Callable
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras.src.random.seed_generator import global_seed_generator

from mem_dfa import BP, DFA, Algorithm, Checkpoint, MemDFA, RevNet
from mem_dfa.chain.foreign_code import is_keras_only
from mem_dfa.layers.reversible import ReversibleBlock
from mem_dfa.memory.batch_slices import can_be_sliced
from tests.mem_dfa.comparison import EXECUTIONS, blobs, compiled, distance, recorded

layers, ops = keras.layers, keras.ops
STEPS = 3
MODULE_SEED = keras.random.SeedGenerator(3)
MEAN = keras.metrics.Mean()
COUNT = keras.Variable(0.0, name="count", trainable=False)
TRAINERS: dict[str, tuple[Callable, type[Algorithm]]] = {
    "checkpoint": (functools.partial(Checkpoint, every=2), BP),
    "mem_dfa": (functools.partial(MemDFA, slices=2), DFA),
    "revnet": (RevNet, BP),
}


def noise(x: tf.Tensor) -> tf.Tensor:
    return x * (1 + 0.5 * keras.random.normal(ops.shape(x)))


class ByModuleSeed(layers.Layer):
    def call(self, x: tf.Tensor) -> tf.Tensor:
        return x * keras.random.normal(ops.shape(x), seed=MODULE_SEED)


class MovesAMetric(layers.Layer):
    def call(self, x: tf.Tensor) -> tf.Tensor:
        MEAN.update_state(ops.mean(x))
        return x * (1 + MEAN.result())


class InAFunction(layers.Dense):
    """Traced when the model is made, with the variables that the layer has."""

    @tf.function
    def product(self, x: tf.Tensor) -> tf.Tensor:
        return x @ self.kernel

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return self.product(x) + self.bias


class OwnGradient(layers.Dense):
    """A gradient of its own, which TensorFlow asks for variables only."""

    def call(self, x: tf.Tensor) -> tf.Tensor:
        @tf.custom_gradient
        def product(x: tf.Tensor) -> tuple:
            def gradient(error: tf.Tensor, variables: list) -> tuple:
                return 2 * error @ tf.transpose(self.kernel), [3 * tf.transpose(x) @ error]

            return x @ self.kernel, gradient

        return product(x) + self.bias


class OwnAverage(layers.Layer):
    """What is read was assigned from the input, and has no gradient of it."""

    def build(self, shape: tuple) -> None:
        self.average = self.add_weight(shape=shape[1:], initializer="ones", trainable=False)

    def call(self, x: tf.Tensor) -> tf.Tensor:
        self.average.assign(0.5 * self.average + ops.mean(x, axis=0))
        return x * self.average


class OwnMetric(layers.Layer):
    def build(self, shape: tuple) -> None:
        self.mean = keras.metrics.Mean()

    def call(self, x: tf.Tensor) -> tf.Tensor:
        self.mean.update_state(ops.mean(x))
        return x


class Counts(layers.Layer):
    """Each sees what the one before it left."""

    def call(self, x: tf.Tensor) -> tf.Tensor:
        COUNT.assign_add(0.25)
        return x * COUNT


class SeedMadeLate(layers.Layer):
    """Keras does not track what a set holds."""

    def __init__(self) -> None:
        super().__init__()
        self.seeds = frozenset([keras.random.SeedGenerator(7)])

    def call(self, x: tf.Tensor) -> tf.Tensor:
        (seed,) = self.seeds
        return x * keras.random.normal(ops.shape(x), seed=seed)


class SeedMadeInCall(layers.Layer):
    """When it is drawn from for the first time, which is not when the model is made."""

    def build(self, shape: tuple) -> None:
        self.held = SimpleNamespace(seed=None)

    def compute_output_shape(self, shape: tuple) -> tuple:
        return shape

    def call(self, x: tf.Tensor) -> tf.Tensor:
        if ops.shape(x)[0] is None:
            return x
        self.held.seed = self.held.seed or keras.random.SeedGenerator(9)
        return x * keras.random.normal(ops.shape(x), seed=self.held.seed)


class LayerDrop(layers.Layer):
    def call(self, x: tf.Tensor) -> tf.Tensor:
        return ops.tanh(x) if random.random() < 0.5 else x * (1 + np.random.rand())


KINDS: dict[str, Callable[[], list[layers.Layer]]] = {
    "several": lambda: [
        layers.Lambda(noise),
        Counts(),
        layers.Dense(6),
        *KINDS["beside dropout"](),
        Counts(),
    ],
    "global seed": lambda: [layers.Lambda(noise), layers.Dense(6), layers.Lambda(noise)],
    "beside dropout": lambda: [layers.Dropout(0.3), layers.Lambda(noise)],
    "module's seed": lambda: [ByModuleSeed(), layers.Dense(6), ByModuleSeed()],
    "activation": lambda: [layers.Dense(6, activation=noise), layers.Activation(noise)],
    "late seed": lambda: [SeedMadeLate(), layers.Dense(6)],
    "seed made in the call": lambda: [SeedMadeInCall(), layers.Dense(6)],
    "metric": lambda: [MovesAMetric(), layers.Dense(6), MovesAMetric()],
    "function": lambda: [InAFunction(6), layers.Dense(6), InAFunction(6)],
    "gradient": lambda: [OwnGradient(6), layers.Dense(6), OwnGradient(6)],
    "own average": lambda: [OwnAverage(), layers.Dense(6)],
    "own metric": lambda: [OwnMetric()],
    "count": lambda: [Counts(), layers.Dense(6), Counts(), layers.Dense(6), Counts()],
    "python's": lambda: [LayerDrop(), layers.Dense(6), LayerDrop(), layers.Dense(6), LayerDrop()],
    "wrapped": lambda: (
        [layers.Reshape((2, 3)), layers.TimeDistributed(layers.Lambda(noise)), layers.Flatten()]
    ),
    "all draws": lambda: [
        *KINDS["module's seed"](),
        *KINDS["late seed"](),
        *KINDS["seed made in the call"](),
        *KINDS["activation"](),
        *KINDS["wrapped"](),
    ],
    "all state": lambda: [
        *KINDS["metric"](),
        *KINDS["own average"](),
        *KINDS["own metric"](),
        *KINDS["function"](),
        *KINDS["gradient"](),
    ],
}


def network(kind: str, algorithm: str) -> keras.Model:
    keras.utils.set_random_seed(0)
    global_seed_generator()  # is made where it is needed first
    for held in (*MEAN.variables, COUNT):
        held.assign(0.0)
    MODULE_SEED.state.assign([3, 0])
    between = KINDS[kind]()
    if algorithm == "revnet":
        halves = (keras.Sequential([layers.Dense(3), layers.Lambda(noise)]) for _ in range(2))
        between = [ReversibleBlock(*halves), *between]
    return keras.Sequential(
        [keras.Input((6,)), layers.Dense(6), *between, layers.Dense(6), layers.Dense(3)]
    )


def trained(make: Callable, kind: str, algorithm: str, **how: object) -> list[np.ndarray]:
    """What three steps change in the weights, and all state there is outside of layers."""
    trainer = compiled(make(network(kind, algorithm)), keras.optimizers.SGD(0.1), **how)
    start = trainer.network.get_weights()
    random.seed(1)
    np.random.seed(1)
    logs = [list(trainer.train_on_batch(*blobs(12))) for _ in range(STEPS)]
    weights = [w - s for w, s in zip(trainer.network.get_weights(), start, strict=True)]
    outside = [*MEAN.variables, COUNT, MODULE_SEED.state, global_seed_generator().state]
    model = trainer.network
    own = [*model.non_trainable_variables, *model.metrics_variables]
    state = [np.asarray(v).astype("float64") for v in (*outside, *own, random.random())]
    return [*weights, *state, np.array([log[:2] for log in logs])]


@functools.cache
def by_the_oracle(kind: str, algorithm: str, execution: str) -> list[np.ndarray]:
    return trained(TRAINERS[algorithm][1], kind, algorithm, **EXECUTIONS[execution])


# Each by itself once, eagerly; in a graph, which is slow to trace, many in one net.
JOINED = ("several", "all draws", "all state")
CASES = {
    "mem_dfa": {
        "eager": [kind for kind in KINDS if kind not in JOINED[1:]],
        "graph": [*JOINED, "python's"],
        "xla": ["several"],
    },
    "checkpoint": {"eager": ["python's"], "graph": [*JOINED, "python's"]},
    "revnet": {"eager": ["several", "python's"], "graph": ["several", "python's"]},
}


@pytest.mark.parametrize(
    ("algorithm", "kind", "execution"),
    [
        (algorithm, kind, execution)
        for algorithm, executions in CASES.items()
        for execution, kinds in executions.items()
        for kind in kinds
    ],
)
def test_both_runs_of_a_layer_find_the_same(algorithm: str, kind: str, execution: str) -> None:
    """The oracles run each layer once: Keras's own step, and DFA."""
    ours = trained(TRAINERS[algorithm][0], kind, algorithm, **EXECUTIONS[execution])
    # XLA draws other numbers than TensorFlow, and Python others when a step is traced.
    is_drawn_alike = execution != "xla" and kind != "python's"
    expected = by_the_oracle(kind, algorithm, "eager" if is_drawn_alike else execution)
    for got, wanted in zip(ours, expected, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-3, atol=1e-5)
    assert distance(ours, expected) < 1e-4


class Cell(layers.SimpleRNNCell):
    """Of the user's own."""


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (lambda: layers.Dense(4, activation="gelu", kernel_initializer=lambda s, dtype: s), True),
        (lambda: layers.Dense(4, activation=tf.nn.relu), True),
        (lambda: layers.Dense(4, activation=layers.LeakyReLU()), True),
        (lambda: layers.SimpleRNN(4), True),
        (lambda: layers.Dense(4, activation=noise), False),
        (lambda: layers.Activation(functools.partial(keras.random.dropout, rate=0.5)), False),
        (lambda: layers.TimeDistributed(layers.Lambda(noise)), False),
        (lambda: layers.RNN(Cell(4)), False),
    ],
)
def test_only_what_runs_nothing_of_the_users_own_is_sliced(
    layer: Callable[[], layers.Layer], expected: bool
) -> None:
    assert is_keras_only(layer()) == expected
    block = SimpleNamespace(state_variables=[], runs_only_keras=False, atoms=[], layers=[])
    assert not can_be_sliced(block)


def test_noise_is_drawn_when_its_block_is_due() -> None:
    """Drawn when the step starts it would take as much as the activations."""
    peaks = []
    for depth in (4, 8):
        body = [keras.Input((16, 16, 3))]
        for _ in range(depth):
            body += [layers.Conv2D(16, 3, padding="same"), layers.Lambda(noise)]
        body += [layers.GlobalAveragePooling2D(), layers.Dense(3)]
        trainer = compiled(MemDFA(keras.Sequential(body)), keras.optimizers.SGD(0.01))
        x, y = tf.fill((16, 16, 16, 3), 0.5), tf.zeros((16,), tf.int32)
        peaks.append(recorded(trainer, x, y, 1)[0].step_requested_bytes)
    activation_bytes = 16 * 16 * 16 * 16 * 4
    assert peaks[1] - peaks[0] < activation_bytes / 100
