"""Ways back: sign-symmetry and learned kernels, in Keras's own step and under checkpoints.

What a step computes is compared with plain NumPy in float64, three steps one after another, so that
draws of later steps and what was learned count.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from mem_dfa import ALGORITHMS, UnsupportedError
from mem_dfa.feedback import sign_symmetry
from mem_dfa.feedback.distributions import distribution_of_kernel
from mem_dfa.feedback.kernels import fans
from mem_dfa.feedback.ways_back import WAYS_BACK
from tests.mem_dfa.comparison import EXECUTIONS, LOSS, compiled, recorded
from tests.mem_dfa.test_mathematics import (
    convolve,
    input_gradient,
    kernel_gradient,
    softmax,
)

SIGNS = ("usf", "brsf", "frsf")
OWN = {"random": "fa", "learned": "arbp", **{name: name for name in SIGNS}}
"""The algorithm of each way back."""
PENALTY, RATE, STEPS, SEED = (
    2**-5,
    0.5,
    3,
    2,
)  # the first two are exact in float32, as Keras keeps them
DECAY = 0.1


def trainer_of(name: str, way_back: str, network: keras.Model, **options: Any) -> keras.Model:
    """By "own", the algorithm of that way back, or by checkpoint_fa, every block replayed."""
    if name == "own":
        return ALGORITHMS[OWN[way_back]](network, seed=SEED, **options)
    return ALGORITHMS[name](network, seed=SEED, way_back=way_back, every=1, **options)


def dense_net() -> keras.Model:
    keras.utils.set_random_seed(0)
    penalty = {"kernel_regularizer": keras.regularizers.L2(PENALTY), "bias_initializer": "normal"}
    dense = keras.layers.Dense
    return keras.Sequential(
        [keras.Input((7,)), dense(6, "tanh", **penalty), dense(5, "tanh", **penalty), dense(4)]
    )


def dense_data() -> tuple[np.ndarray, np.ndarray]:
    x = np.random.default_rng(0).normal(size=(8, 7))
    return x, np.random.default_rng(1).integers(4, size=8)


def drawn(layer: keras.layers.Layer, step: int, seed: int) -> np.ndarray:
    """M_t, of what the trainer draws from."""
    own = layer.kernel
    of = distribution_of_kernel("xavier_uniform", *fans(layer, own), len(own.shape) == 2)
    return of.matrix((seed, step), 1, own.numpy().size).numpy().reshape(own.shape).astype(float)


class Kernels:
    """The oracle's kernels on the way back, for each layer but the first."""

    def __init__(self, way_back: str, trainer: keras.Model, layers: list) -> None:
        self.way_back, self.layers = way_back, layers
        held = [v.numpy().copy() for v in trainer.variables if v.name.startswith("feedback")]
        self.seeds = held.pop() if way_back == "brsf" else [0] * len(layers)
        self.held = held

    def of_step(self, weights: list[np.ndarray], step: int) -> list[np.ndarray]:
        """K of each layer from W of each."""
        found = []
        for number, (layer, w) in enumerate(zip(self.layers, weights, strict=True)):
            if self.way_back == "usf":
                fan_in, fan_out = np.prod(w.shape[:-1]), np.prod(w.shape[:-2]) * w.shape[-1]
                found.append(np.sqrt(2 / (fan_in + fan_out)) * np.sign(w))
            elif self.way_back == "brsf":
                found.append(np.abs(drawn(layer, step, self.seeds[number])) * np.sign(w))
            elif self.way_back == "frsf":
                found.append(np.abs(self.held[number]) * np.sign(w))
            else:
                found.append(self.held[number])
        return found


def dense_by_numpy(
    kernels: Kernels, weights: list[np.ndarray], decay: float
) -> list[list[np.ndarray]]:
    """The weights and learned kernels after the steps."""
    x, y = dense_data()
    w1, b1, w2, b2, w3, b3 = weights
    for step in range(STEPS):
        kernel_2, kernel_3 = kernels.of_step([w2, w3], step)
        a1 = np.tanh(x @ w1 + b1)
        a2 = np.tanh(a1 @ w2 + b2)
        error = (softmax(a2 @ w3 + b3) - np.eye(4)[y]) / len(x)
        d2 = (error @ kernel_3.T) * (1 - a2**2)
        d1 = (d2 @ kernel_2.T) * (1 - a1**2)
        g1, g2, g3 = x.T @ d1 + 2 * PENALTY * w1, a1.T @ d2 + 2 * PENALTY * w2, a2.T @ error
        w1, w2, w3 = w1 - RATE * g1, w2 - RATE * g2, w3 - RATE * g3
        b1, b2, b3 = b1 - RATE * d1.sum(0), b2 - RATE * d2.sum(0), b3 - RATE * error.sum(0)
        if kernels.way_back == "learned":
            w2, w3 = (1 - decay) * w2, (1 - decay) * w3
            pairs = zip(kernels.held, (g2, g3), strict=True)
            kernels.held = [(1 - decay) * (b - RATE * g) for b, g in pairs]
    return [[w1, b1, w2, b2, w3, b3], kernels.held]


CASES = [(way, {}, "eager") for way in WAYS_BACK]
CASES += [("learned", {"feedback_decay": DECAY}, how) for how in ("eager", "graph", "xla")]
CASES += [("usf", {}, "graph"), ("brsf", {}, "graph"), ("brsf", {}, "xla")]


@pytest.mark.parametrize("name", ["own", "checkpoint_fa"])
@pytest.mark.parametrize(("way_back", "options", "execution"), CASES)
@pytest.mark.usefixtures("float64")
def test_dense_net_equals_numpy(
    name: str, way_back: str, options: dict[str, float], execution: str
) -> None:
    network = dense_net()
    trainer = trainer_of(name, way_back, network, **options)
    compiled(trainer, keras.optimizers.SGD(RATE), **EXECUTIONS[execution])
    kernels = Kernels(way_back, trainer, network.layers[1:])
    expected, learned = dense_by_numpy(
        kernels, [w.copy() for w in network.get_weights()], options.get("feedback_decay", 0.0)
    )
    for _ in range(STEPS):
        trainer.train_on_batch(*dense_data())
    held = [v.numpy() for v in trainer.variables if v.name.startswith("feedback_dense")]
    for got, want in zip([*network.get_weights(), *held], [*expected, *learned], strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", ["own", "checkpoint_fa"])
@pytest.mark.parametrize("way_back", ["usf", "brsf", "learned"])
@pytest.mark.usefixtures("float64")
def test_convolutional_net_equals_numpy(name: str, way_back: str) -> None:
    keras.utils.set_random_seed(0)
    conv, without = keras.layers.Conv2D, {"use_bias": False}
    network = keras.Sequential(
        [
            keras.Input((7, 7, 2)),
            conv(3, 3, activation="tanh", **without),
            conv(4, 3, activation="tanh", **without),
            keras.layers.Flatten(),
            keras.layers.Dense(3, **without),
        ]
    )
    trainer = trainer_of(name, way_back, network)
    compiled(trainer, keras.optimizers.SGD(RATE), run_eagerly=True)
    kernels = Kernels(way_back, trainer, [network.layers[1], network.layers[3]])
    x = np.random.default_rng(0).normal(size=(6, 7, 7, 2))
    y = np.random.default_rng(1).integers(3, size=6)
    w1, w2, w3 = (w.copy() for w in network.get_weights())
    for step in range(2):
        trainer.train_on_batch(x, y)
        kernel_2, kernel_3 = kernels.of_step([w2, w3], step)
        a1 = np.tanh(convolve(x, w1))
        a2 = np.tanh(convolve(a1, w2))
        error = (softmax(a2.reshape(6, -1) @ w3) - np.eye(3)[y]) / 6
        d2 = (error @ kernel_3.T).reshape(a2.shape) * (1 - a2**2)
        d1 = input_gradient(d2, kernel_2) * (1 - a1**2)
        g2, g3 = kernel_gradient(a1, d2, 3), a2.reshape(6, -1).T @ error
        w1, w2, w3 = w1 - RATE * kernel_gradient(x, d1, 3), w2 - RATE * g2, w3 - RATE * g3
        if way_back == "learned":
            kernels.held = [b - RATE * g for b, g in zip(kernels.held, (g2, g3), strict=True)]
    for got, want in zip(network.get_weights(), (w1, w2, w3), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", ["own", "checkpoint_fa"])
@pytest.mark.usefixtures("float64")
def test_with_decay_learned_kernels_come_to_the_layers_own_whatever_is_learned(name: str) -> None:
    network = dense_net()
    trainer = trainer_of(name, "learned", network, feedback_decay=DECAY)
    compiled(trainer, keras.optimizers.SGD(RATE), run_eagerly=True)

    def apart() -> list[float]:
        return [np.linalg.norm(own.numpy() - b.numpy()) for own, b in trainer.signal.pairs]

    before = apart()
    for _ in range(STEPS):
        trainer.train_on_batch(*dense_data())
    np.testing.assert_allclose(apart(), np.multiply((1 - DECAY) ** STEPS, before), rtol=1e-10)


@pytest.mark.parametrize("name", ["own", "checkpoint_fa"])
def test_a_frozen_kernel_has_its_feedback_stay(name: str) -> None:
    network = dense_net()
    trainer = trainer_of(name, "learned", network, feedback_decay=DECAY)
    network.layers[1].trainable = False
    compiled(trainer, keras.optimizers.SGD(RATE), run_eagerly=True)
    (second, b2), (third, b3) = trainer.signal.pairs
    before = [v.numpy().copy() for v in (second, b2, third, b3)]
    trainer.train_on_batch(*dense_data())
    moved = [
        not np.array_equal(v.numpy(), old)
        for v, old in zip((second, b2, third, b3), before, strict=True)
    ]
    assert moved == [False, False, True, True]


@pytest.mark.parametrize("name", ["own", "checkpoint_fa"])
@pytest.mark.parametrize(
    ("way_back", "options"), [("brsf", {}), ("learned", {"feedback_decay": DECAY})]
)
def test_a_resumed_training_goes_on_as_if_it_had_not_stopped(
    name: str, way_back: str, options: dict[str, float], tmp_path: Path
) -> None:
    trainer = trainer_of(name, way_back, dense_net(), **options)
    compiled(trainer, keras.optimizers.Adam(0.01), run_eagerly=True)
    x, y = dense_data()
    for _ in range(2):
        trainer.train_on_batch(x, y)
    trainer.save(tmp_path / "trainer.keras")
    resumed = keras.saving.load_model(tmp_path / "trainer.keras")
    resumed.run_eagerly = True
    for _ in range(2):
        trainer.train_on_batch(x, y)
        resumed.train_on_batch(x, y)
    for one, other in zip(trainer.get_weights(), resumed.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    # Weights bring their seeds and kernels along, whatever the other trainer's seed.
    trainer.save_weights(tmp_path / "last.weights.h5")
    other = type(trainer)(dense_net(), **{**_arguments(trainer), "seed": SEED + 1})
    other.load_weights(tmp_path / "last.weights.h5")
    for one, loaded in zip(trainer.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(one, loaded)


def _arguments(trainer: keras.Model) -> dict[str, Any]:
    config = trainer.get_config()
    return {name: value for name, value in config.items() if name not in ("network", "name")}


WIDTH = 256


def wide_net(layers: int, width: int) -> keras.Model:
    keras.utils.set_random_seed(0)
    hidden = [keras.layers.Dense(width, "tanh") for _ in range(layers)]
    return keras.Sequential([keras.Input((8,)), *hidden, keras.layers.Dense(2)])


WIDE_DATA = np.full((4, 8), 0.5, "float32"), np.zeros(4, "int32")


def resident_bytes(trainer: keras.Model) -> int:
    """Of weights, slots and feedback, as the allocator has them before a step with Adam."""
    compiled(trainer, keras.optimizers.Adam(0.001), run_eagerly=True)
    (timeline,) = recorded(trainer, *WIDE_DATA, steps=1)
    tensors = timeline.tensors
    paths = [v.path for v in (*trainer.variables, *trainer.optimizer.variables)]
    named = (tensors["start_ns"] < 0) & tensors["op"].isin(paths)
    return int(tensors.loc[named, "requested_bytes"].sum())


def test_signs_hold_nothing_and_what_is_learned_has_slots() -> None:
    kernels = 4 * (2 * WIDTH**2 + 2 * WIDTH)
    plain = resident_bytes(ALGORITHMS["bp"](wide_net(3, WIDTH)))
    held = {"fa": 1, "frsf": 1, "arbp": 1, "usf": 0, "brsf": 0}
    slots, seeds = {"arbp": 2}, {"brsf": 3 * 8}
    for name, times in held.items():
        trainer = ALGORITHMS[name](wide_net(3, WIDTH))
        assert trainer.feedback_bytes == times * kernels
        expected = (times + slots.get(name, 0)) * kernels + seeds.get(name, 0)
        assert resident_bytes(trainer) - plain == expected


def step_bytes(trainer: keras.Model, data: tuple[Any, Any]) -> int:
    """What a step asks for, where operations that may run in either order ask for least."""
    trainer.compile(keras.optimizers.SGD(0.01), LOSS, jit_compile=False)
    return min(line.step_requested_bytes for line in recorded(trainer, *data, steps=3))


def test_without_order_all_sizes_would_be_drawn_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under checkpoints, where a step takes a few kernels at any depth."""
    few, many, width = 4, 16, 64
    kernel = 4 * width**2

    def measured(layers: int) -> int:
        return step_bytes(trainer_of("checkpoint_fa", "brsf", wide_net(layers, width)), WIDE_DATA)

    ordered = measured(few), measured(many)
    assert ordered[1] < ordered[0] + 2 * kernel
    monkeypatch.setattr(sign_symmetry, "after", lambda tensor, earlier: tensor)
    assert measured(many) > ordered[0] + (many - few) / 2 * kernel


ZERO = "kernel of layer 'second' is all zero.*kernel_initializer"


@pytest.mark.parametrize("way_back", SIGNS)
@pytest.mark.parametrize("name", ["own", "checkpoint_fa"])
def test_signs_of_a_zero_kernel_are_refused(name: str, way_back: str) -> None:
    dense = keras.layers.Dense
    # The first layer's kernel passes no error on.
    layers = [dense(4, kernel_initializer="zeros"), dense(3, name="second"), dense(2)]
    network = keras.Sequential([keras.Input((5,)), *layers])
    trainer = trainer_of(name, way_back, network)
    trainer.compile("sgd", LOSS)
    network.layers[1].kernel.assign(tf.zeros((4, 3)))
    with pytest.raises(UnsupportedError, match=ZERO):
        trainer.compile("sgd", LOSS)


@pytest.mark.parametrize("way_back", ["usf", "brsf"])
@pytest.mark.parametrize("name", ["own", "checkpoint_fa"])
def test_kernels_that_are_not_held_take_no_keras_initializer(name: str, way_back: str) -> None:
    initializer = keras.initializers.RandomNormal(seed=3)
    with pytest.raises(UnsupportedError, match=r"RandomNormal.*'xavier_uniform'.*'frsf'"):
        trainer_of(name, way_back, dense_net(), feedback_initializer=initializer)


@pytest.mark.parametrize("algorithm", ["fa", "checkpoint_fa"])
@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"way_back": "usff"}, "'usff': use one of random, usf, brsf, frsf, learned"),
        ({"way_back": None}, "None: use one of random"),
        ({"feedback_decay": 0.1}, "feedback_decay=0.1 and way_back='random'.*not learned"),
        ({"way_back": "learned", "feedback_decay": 1}, "=1: give a number from 0"),
        ({"way_back": "learned", "feedback_decay": -0.1}, "=-0.1: give a number from 0"),
        ({"way_back": "learned", "feedback_decay": float("nan")}, "=nan: give a number from 0"),
        ({"way_back": "learned", "feedback_decay": "much"}, "='much': give a number from 0"),
    ],
)
def test_what_makes_no_sense_is_refused(algorithm: str, options: dict[str, Any], says: str) -> None:
    with pytest.raises(UnsupportedError, match=says):
        ALGORITHMS[algorithm](dense_net(), **options)


def test_kernels_of_a_step_are_those_before_it() -> None:
    """TensorFlow would otherwise read some when they are updated: many steps, large ones."""
    seen: list[tf.Tensor] = []
    trainer = ALGORITHMS["usf"](dense_net())
    original: Callable = trainer.signal.kernel

    def kernel(value: tf.Tensor, feedback: float, error: tf.Tensor) -> tf.Tensor:
        seen.append(original(value, feedback, error))
        return seen[-1]

    trainer.signal.kernel = kernel
    trainer.compile(keras.optimizers.Adam(1.0), LOSS, jit_compile=False)
    trainer.optimizer.build(trainer.trainable_variables)
    x, y = (tf.constant(array) for array in dense_data())

    @tf.function(jit_compile=False, autograph=False)
    def step() -> list[tf.Tensor]:
        trainer.train_step((tf.cast(x, tf.float32), y))
        return list(seen)

    for _ in range(10):
        before = [np.sign(own.numpy()) for own, _ in reversed(trainer.signal.pairs)]
        for signs, made in zip(before, step(), strict=True):
            np.testing.assert_array_equal(np.sign(made), signs)
