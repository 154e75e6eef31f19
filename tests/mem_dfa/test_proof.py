"""Microbatch trains only what slices of a batch add up for, and says by how much they do not."""

import warnings
from collections.abc import Callable, Iterator
from functools import partial

import keras
import numpy as np
import pytest
import tensorflow as tf

from mem_dfa import BP, Microbatch, UnsupportedError
from mem_dfa.memory import slices_proof
from tests.mem_dfa.comparison import compiled, distance

layers = keras.layers
EXAMPLES = 12


def net(*between: keras.layers.Layer) -> keras.Model:
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input((6,)), layers.Dense(8), *between, layers.Dense(3)])


def examples() -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    return generator.normal(size=(EXAMPLES, 6)).astype("float32"), np.arange(EXAMPLES) % 3


def sgd() -> keras.optimizers.Optimizer:
    return keras.optimizers.SGD(0.1)


class Centred(keras.layers.Layer):
    """Without a state; in training alone, as a normalisation of one's own."""

    def call(self, x: tf.Tensor, training: bool = False) -> tf.Tensor:
        return x - tf.reduce_mean(x, 0) if training else x


class Running(keras.layers.Layer):
    """A running mean that nothing in training depends on."""

    def build(self, shape: tuple) -> None:
        self.mean = self.add_weight(shape=shape[1:], trainable=False, name="running")

    def call(self, x: tf.Tensor, training: bool = False) -> tf.Tensor:
        if training:
            self.mean.assign(0.9 * self.mean + 0.1 * tf.reduce_mean(x, 0))
            return x
        return x - self.mean


class Counter(keras.layers.Layer):
    """Counts its calls."""

    def __init__(self, plain: bool = False) -> None:
        super().__init__()
        make = tf.Variable if plain else partial(keras.Variable, trainable=False)
        self.calls = make(0.0, name="calls")

    def call(self, x: tf.Tensor) -> tf.Tensor:
        self.calls.assign(self.calls + 1.0)
        return x


def pairs(y: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
    """Compares the examples of a batch, and has one number for each."""
    del y
    return tf.reduce_mean(tf.square(outputs[:, None] - outputs[None]), (1, 2))


@pytest.mark.parametrize("eager", [False, True])
@pytest.mark.parametrize(
    ("between", "says"),
    [
        (lambda: [layers.Lambda(lambda x: x - tf.reduce_mean(x, 0))], "inference mode.*examples"),
        (lambda: [layers.Softmax(axis=0)], "inference mode.*outputs of 4 slices"),
        (lambda: [layers.Dropout(0.5), Centred()], "training mode.*examples meet"),
        (lambda: [layers.Dropout(0.5), Running()], "training mode.*'sequential.*running'"),
        (
            lambda: [Centred(), layers.Dense(8, kernel_initializer="zeros")],
            "training mode.*examples meet",
        ),
        (lambda: [Counter()], "'calls'.*or train with"),
        (lambda: [Counter(plain=True)], r"assigns to a tf.Variable \(calls"),
        (
            lambda: [layers.Lambda(lambda x: tf.reshape(x, (12, 8)))],
            "weighted by their|not on a slice",
        ),
    ],
)
def test_layers_in_which_examples_meet(between: Callable, says: str, eager: bool) -> None:
    network = net(*between())
    before = [variable.numpy() for variable in network.variables]
    trainer = compiled(Microbatch(network, slices=4), sgd(), run_eagerly=eager)
    with pytest.raises(UnsupportedError, match=says):
        trainer.train_on_batch(*examples())
    for variable, value in zip(network.variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)


class Spread(keras.losses.Loss):
    """Leaves out what Keras's losses are made of."""

    def __call__(self, y: tf.Tensor, outputs: tf.Tensor, sample_weight: None = None) -> tf.Tensor:
        del y, sample_weight
        return tf.math.reduce_std(outputs)


@pytest.mark.parametrize(
    "loss",
    [
        pairs,
        Spread(),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=0),
        lambda y, outputs: keras.losses.sparse_categorical_crossentropy(
            y, outputs, from_logits=True, ignore_class=0
        ),
    ],
)
def test_losses_in_which_examples_meet_or_do_not_count_alike(loss: object) -> None:
    trainer = Microbatch(net(), slices=3)
    trainer.compile(sgd(), loss)
    with pytest.raises(UnsupportedError, match=r"leaves labels out|by their shares"):
        trainer.train_on_batch(*examples())


def test_a_loss_of_the_whole_batch_is_seen_while_all_outputs_are_alike() -> None:
    """As before training: a ratio of sums is then nearly the mean of its slices' ratios."""
    flat = keras.initializers.RandomNormal(stddev=1e-4, seed=1)
    network = keras.Sequential(
        [keras.Input((6,)), layers.Dense(4, "sigmoid", kernel_initializer=flat)]
    )
    trainer = Microbatch(network, slices=3)
    trainer.compile(sgd(), keras.losses.Dice())
    with pytest.raises(UnsupportedError, match="by their shares"):
        trainer.train_on_batch(examples()[0], np.eye(4, dtype="float32")[np.arange(12) % 4])


@pytest.mark.parametrize("mixing", [layers.MixUp, layers.CutMix])
def test_layers_that_mix_examples_by_a_draw_are_refused_by_name(mixing: type) -> None:
    network = keras.Sequential([keras.Input((8, 8, 3)), mixing(), layers.Flatten()])
    with pytest.raises(UnsupportedError, match=f"{mixing.__name__}.*mixes the examples"):
        Microbatch(network)


def data_of(kind: str) -> tuple[dict, dict]:
    """What `fit` takes, shuffled where that is possible, with a last batch of one example."""
    x, y = examples()
    x, y = np.concatenate([x, x[:1]]), np.concatenate([y, y[:1]])
    if kind == "arrays":
        return {"x": x, "y": y, "class_weight": {0: 1.0, 1: 2.0, 2: 0.5}, "batch_size": 6}
    dataset = tf.data.Dataset.from_tensor_slices((x, y)).shuffle(13, seed=3).batch(6)
    if kind == "dataset":
        return {"x": dataset}
    if kind == "generator":

        def generated() -> Iterator:
            for start in (0, 6, 12) * 2:
                yield x[start : start + 6], y[start : start + 6]

        return {"x": generated(), "steps_per_epoch": 3}

    class Batches(keras.utils.PyDataset):
        def __len__(self) -> int:
            return 3

        def __getitem__(self, number: int) -> tuple[np.ndarray, np.ndarray]:
            return x[6 * number : 6 * number + 6], y[6 * number : 6 * number + 6]

    return {"x": Batches(), "shuffle": False}


# How many steps an execution has is nothing to where they come from.
@pytest.mark.parametrize(
    ("kind", "steps"),
    [("arrays", 1), ("arrays", 2), ("dataset", 2), ("generator", 1), ("python", 2)],
)
def test_every_batch_is_trained_on_once_and_in_order(kind: str, steps: int) -> None:
    changes, histories, traces = [], [], []
    for make in (BP, lambda network: Microbatch(network, slices=4)):
        network = net()
        before = network.get_weights()
        trainer = compiled(make(network), sgd(), steps_per_execution=steps)
        keras.utils.set_random_seed(1)
        traced = []
        own = trainer.train_step
        trainer.train_step = lambda data, own=own, traced=traced: traced.append(1) or own(data)
        histories.append(trainer.fit(**data_of(kind), epochs=2, verbose=0).history)
        changes.append([w - b for w, b in zip(network.get_weights(), before, strict=True)])
        traces.append(len(traced))
    assert traces[1] == traces[0]
    assert distance(*changes) <= 1e-5
    assert histories[1]["loss"] == pytest.approx(histories[0]["loss"], rel=1e-5)


def test_a_batch_of_one_shows_nothing_and_the_next_one_does() -> None:
    x, y = examples()
    trainer = compiled(Microbatch(net(Counter()), slices=4), sgd())
    trainer.train_on_batch(x[:1], y[:1])
    with pytest.raises(UnsupportedError, match="'calls'"):
        trainer.train_on_batch(x, y)


def test_what_draws_for_each_example_is_trained() -> None:
    """Slices draw numbers of their own, which is no reason to refuse them."""
    between = [
        layers.Dropout(0.5),
        layers.GaussianNoise(0.1),
        layers.Lambda(lambda x: x + keras.random.normal(keras.ops.shape(x))),
    ]
    trainer = compiled(Microbatch(net(*between), slices=3), sgd())
    trainer.train_on_batch(*examples())


@pytest.mark.filterwarnings("ignore:Microbatch cannot show")
@pytest.mark.parametrize("eager", [False, True])
def test_nothing_is_left_of_the_proof(eager: bool) -> None:
    """Seeds, NumPy's draws and what is logged are as they would be without it."""
    x, y = examples()
    logs, states = [], []
    for is_shown in (False, True):
        between = [layers.Dropout(0.5, seed=1)]
        between += [layers.Lambda(lambda x: x * np.random.rand())] if eager else []
        trainer = compiled(Microbatch(net(*between), slices=3), sgd(), run_eagerly=eager)
        trainer._is_shown = is_shown
        logs.append(trainer.train_on_batch(x, y, return_dict=True))
        states.append([variable.numpy() for variable in trainer.network.variables])
    assert logs[0] == logs[1]
    for one, other in zip(*states, strict=True):
        np.testing.assert_array_equal(one, other)


def test_two_slices_are_enough_where_a_batch_does_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    own = slices_proof._refuse_unless_shown

    def too_much(trainer: keras.Model, data: tuple, count: int, size: int) -> None:
        sizes.append((count, size))
        if size == EXAMPLES:
            raise tf.errors.ResourceExhaustedError(None, None, "")
        own(trainer, data, count, size)

    monkeypatch.setattr(slices_proof, "_refuse_unless_shown", too_much)
    trainer = compiled(Microbatch(net(Counter()), slices=4), sgd())
    with pytest.raises(UnsupportedError, match="2 slices leave 'calls'"):
        trainer.train_on_batch(*examples())
    assert sizes == [(4, EXAMPLES), (2, EXAMPLES // 2)]


def test_draws_that_no_scope_sees_are_told_once() -> None:
    between = layers.Lambda(lambda x: x + tf.random.uniform(tf.shape(x)))
    trainer = compiled(Microbatch(net(between), slices=3), sgd())
    with pytest.warns(UserWarning, match="cannot show that slices of a batch add up"):
        trainer.train_on_batch(*examples())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trainer.train_on_batch(*examples())
