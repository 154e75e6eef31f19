"""Half precision, with a loss scale, and with layers of full precision where users put them."""

import contextlib
from collections.abc import Callable, Iterator
from functools import cache

import keras
import numpy as np
import pytest

from mem_dfa import Algorithm
from tests.mem_dfa.comparison import LOSS, blobs, distance, small_network
from tests.mem_dfa.table import ANY_NETWORK, STEPS, TABLE, reversible, trainer_by


@contextlib.contextmanager
def policy(name: str) -> Iterator[None]:
    """For the layers that are made inside."""
    keras.mixed_precision.set_global_policy(name)
    try:
        yield
    finally:
        keras.mixed_precision.set_global_policy("float32")


def compiled(name: str, network: keras.Model) -> Algorithm:
    trainer = trainer_by(name, network)
    scaled = network.dtype_policy.name == "mixed_float16"
    # A loss scale needs every gradient at once.
    warns: Callable = (
        pytest.warns if scaled and TABLE[name].is_block_by_block else contextlib.nullcontext
    )
    with warns():
        trainer.compile(keras.optimizers.Adam(0.01), LOSS, jit_compile=False)
    return trainer


def learns(trainer: Algorithm) -> bool:
    history = trainer.fit(*blobs(), epochs=3, verbose=0).history
    return history["loss"][-1] < history["loss"][0]


@pytest.mark.parametrize("name", STEPS)
def test_mixed_precision_trains(name: str) -> None:
    with policy("mixed_float16"):
        network = small_network(name)
    trainer = compiled(name, network)
    assert trainer.dtype_policy.name == "mixed_float16"
    assert isinstance(trainer.optimizer, keras.optimizers.LossScaleOptimizer)
    assert learns(trainer)


def changed(name: str, own: str, weights: list[np.ndarray] | None = None) -> tuple[list, list]:
    """Weights before, and what a step changes in a net of that policy."""
    layers = keras.layers
    keras.utils.set_random_seed(0)
    with policy(own):
        body = [layers.Dense(8, activation="relu"), *reversible(name, 8), layers.Dense(8)]
        body += [layers.Activation("sigmoid"), layers.Dense(3, dtype="float32")]
        network = keras.Sequential([keras.Input((6,)), *body])
    weights = weights or network.get_weights()
    network.set_weights(weights)
    trainer = trainer_by(name, network)
    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1), 256.0)
    trainer.compile(optimizer, LOSS, run_eagerly=True)
    trainer.train_on_batch(*blobs())
    return weights, [w - old for w, old in zip(network.get_weights(), weights, strict=True)]


@cache
def changed_in_float32(name: str) -> tuple[list, list]:
    return changed(name, "float32")


# Rounding: 11 bits of a number are left, or 8.
@pytest.mark.parametrize(("half", "rounding"), [("mixed_float16", 0.01), ("mixed_bfloat16", 0.05)])
@pytest.mark.parametrize("name", STEPS)
def test_the_output_layer_may_be_of_full_precision(name: str, half: str, rounding: float) -> None:
    """As TensorFlow's guide has it; the output error is float32 then, and the blocks are not."""
    weights, expected = changed_in_float32(name)
    assert distance(expected, changed(name, half, weights)[1]) < rounding


@pytest.mark.parametrize("name", ANY_NETWORK)
def test_inputs_are_cast_by_the_network_alone(name: str) -> None:
    """65535 is infinite in half precision, but not to a first layer of full precision."""
    layers = keras.layers
    with policy("mixed_float16"):
        body = [layers.Rescaling(1 / 65535, dtype="float32"), layers.Dense(8)]
        network = keras.Sequential([keras.Input((6,)), *body, layers.Dense(3, dtype="float32")])
    trainer, bright = compiled(name, network), np.full((4, 6), 65535, "float32")
    np.testing.assert_array_equal(
        trainer.predict(bright, verbose=0), network.predict(bright, verbose=0)
    )
    assert np.isfinite(trainer.train_on_batch(bright, np.zeros(4)))
