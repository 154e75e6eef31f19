"""What keeps a state that a second run cannot find again is refused, eagerly as well."""

import random
from collections.abc import Callable

import keras
import numpy as np
import pytest
import tensorflow as tf

from mem_dfa import ALGORITHMS, UnsupportedError
from tests.mem_dfa.comparison import blobs, compiled
from tests.mem_dfa.table import reversible

layers, ops = keras.layers, keras.ops
RNG = np.random.default_rng(0)


class OwnVariable(layers.Layer):
    def build(self, shape: tuple) -> None:
        self.calls = tf.Variable(0.0)

    def call(self, x: tf.Tensor) -> tf.Tensor:
        self.calls.assign_add(1.0)
        return x * self.calls


class Table(layers.Layer):
    def build(self, shape: tuple) -> None:
        self.table = tf.lookup.experimental.MutableHashTable(tf.int64, tf.float32, 0.0)

    def call(self, x: tf.Tensor) -> tf.Tensor:
        self.table.insert([0], [tf.reduce_mean(x)])
        return x


class OwnGenerator(layers.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.held = {"generators": [random.Random(0)]}

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return x if self.held["generators"][0].random() < 0.5 else 2 * x


class ModuleGenerator(layers.Layer):
    def call(self, x: tf.Tensor) -> tf.Tensor:
        return self.changed(x)

    def changed(self, x: tf.Tensor) -> tf.Tensor:
        return tf.map_fn(lambda row: row * RNG.normal(), x)


class Counter(layers.Layer):
    calls = 0

    def call(self, x: tf.Tensor) -> tf.Tensor:
        self.__dict__["calls"] = self.calls + 1
        return x * self.calls


class InPython(layers.Layer):
    def call(self, x: tf.Tensor) -> tf.Tensor:
        return tf.ensure_shape(tf.numpy_function(lambda a: a, [x], tf.float32), x.shape)


class DrawsInALoop(layers.Layer):
    def call(self, x: tf.Tensor) -> tf.Tensor:
        return tf.map_fn(lambda row: row * keras.random.normal((6,)), x)


def closure() -> layers.Layer:
    draw = np.random.default_rng(0).normal
    return layers.Lambda(lambda x: x * draw())


KINDS: dict[str, tuple[Callable[[], layers.Layer], str]] = {
    "tf.random": (lambda: layers.Lambda(lambda x: tf.nn.dropout(x, 0.5)), r"by tf\.random"),
    "activation": (
        lambda: layers.Dense(6, activation=lambda x: x * tf.random.normal(tf.shape(x))),
        r"by tf\.random",
    ),
    "shuffled": (lambda: layers.Lambda(tf.random.shuffle), r"by tf\.random"),
    "variable": (OwnVariable, r"no keras\.Variable \(AssignAddVariableOp"),
    "table": (Table, r"no keras\.Variable \(LookupTableInsert"),
    "generator": (OwnGenerator, r"random\.Random of its own"),
    "module's": (ModuleGenerator, r"Generator of its own"),
    "closure": (closure, r"Generator of its own"),
    "counter": (Counter, "something else each time"),
    "python": (InPython, r"no keras\.Variable \(PyFunc"),
}


def net_with(layer: layers.Layer, algorithm: str) -> keras.Model:
    body = [layers.Dense(6), layer, layers.Dense(6), *reversible(algorithm, 6), layers.Dense(6)]
    return keras.Sequential([keras.Input((6,)), *body, layers.Dense(3)])


@pytest.mark.parametrize("eager", [False, True])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("algorithm", ["mem_dfa", "checkpoint", "revnet"])
def test_it_is_refused_by_name(algorithm: str, kind: str, eager: bool) -> None:
    make, says = KINDS[kind]
    layer = make()
    how = {"every": 3} if algorithm == "checkpoint" else {}
    trainer = ALGORITHMS[algorithm](net_with(layer, algorithm), **how)
    compiled(trainer, keras.optimizers.SGD(0.1), run_eagerly=eager)
    with pytest.raises(UnsupportedError, match=says) as refused:
        trainer.train_on_batch(*blobs(8))
    assert layer.name in str(refused.value)


@pytest.mark.parametrize("algorithm", ["mem_dfa", "checkpoint", "revnet"])
def test_a_seed_that_moves_in_a_loop_of_the_graph_is_refused(algorithm: str) -> None:
    trainer = ALGORITHMS[algorithm](net_with(DrawsInALoop(), algorithm))
    compiled(trainer, keras.optimizers.SGD(0.1))
    with pytest.raises(UnsupportedError, match="inside a loop or"):
        trainer.train_on_batch(*blobs(8))


@pytest.mark.parametrize("what", ["kernel", "layer", "seed"])
@pytest.mark.parametrize("algorithm", ["dfa", "mem_dfa", "checkpoint", "revnet"])
def test_what_a_closure_shares_between_blocks_is_refused(algorithm: str, what: str) -> None:
    """As a tied embedding: its gradient would have to come from both blocks."""
    first, dropout = layers.Dense(6, name="tied"), layers.Dropout(0.5, name="dropping")
    uses = {
        "kernel": lambda x: x @ ops.transpose(first.kernel),
        "layer": lambda x: ops.tanh(first(x)),
        "seed": lambda x: x * keras.random.normal((6,), seed=dropout.seed_generator),
    }
    body = [first, dropout, layers.Dense(6), layers.Lambda(uses[what]), layers.Dense(6)]
    network = keras.Sequential(
        [keras.Input((6,)), *body, *reversible(algorithm, 6), layers.Dense(3)]
    )
    owned = {"kernel": "tied/kernel", "layer": "tied/", "seed": "seed_generator"}[what]
    with pytest.raises(UnsupportedError, match=f"uses '.*{owned}.*' of block_001"):
        compiled(ALGORITHMS[algorithm](network), keras.optimizers.SGD(0.1))


class LeavesATensor(layers.Layer):
    def call(self, x: tf.Tensor) -> tf.Tensor:
        self.left = x
        return x


@pytest.mark.parametrize("algorithm", ["dfa", "mem_dfa", "checkpoint"])
def test_a_tensor_handed_on_in_secret_is_refused(algorithm: str) -> None:
    first = LeavesATensor()
    second = layers.Lambda(lambda x: x + first.left)
    body = [layers.Dense(6), first, layers.Dense(6), second, layers.Dense(3)]
    network = keras.Sequential([keras.Input((6,)), *body])
    with pytest.raises(UnsupportedError, match=r"block_002.*handed on in secret"):
        compiled(ALGORITHMS[algorithm](network), keras.optimizers.SGD(0.1))
    inside = [layers.Dense(6), first, second, layers.Dense(3)]  # of one block
    compiled(ALGORITHMS[algorithm](keras.Sequential([keras.Input((6,)), *inside])), "sgd")
