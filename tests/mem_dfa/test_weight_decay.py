"""Which variables an optimizer decays, in every way a step is taken: as Keras decides."""

from collections.abc import Callable
from functools import cache

import keras
import numpy as np
import pytest
import tensorflow as tf

from mem_dfa import BP, Checkpoint
from mem_dfa.chain.factored_gradient import TiledGradient
from mem_dfa.optimizer.elementwise import SLOTS
from mem_dfa.optimizer.small_variables import Together
from mem_dfa.optimizer.wide_kernel import update_in_tiles
from tests.mem_dfa.comparison import blobs, compiled, small_network

STEPS = 2
# Keras looks for these in a variable's path, "hidden/kernel", and not in its name, "kernel".
EXCLUDED = {
    "layer": {"var_names": ["hidden"]},
    "path": {"var_names": ["hidden/ker"]},
    "anchored": {"var_names": ["^kernel$"]},
    "variables": {"var_list": lambda layer: [layer.kernel]},
    "both": {"var_names": ["^bias$"], "var_list": lambda layer: [layer.kernel]},
}


@cache
def stepped(kind: type, excluded: str, way: str) -> list[np.ndarray]:
    """A dense kernel and the optimizer's variables after some steps."""
    layer = keras.layers.Dense(4, use_bias=False, kernel_initializer="ones", name="hidden")
    layer.build((None, 3))
    optimizer = kind(learning_rate=0.1, weight_decay=0.5)
    given = {k: v(layer) if callable(v) else v for k, v in EXCLUDED[excluded].items()}
    optimizer.exclude_from_weight_decay(**given)
    optimizer.build([layer.kernel])
    generator = np.random.default_rng(0)
    for _ in range(STEPS):
        inputs, error = (tf.constant(generator.normal(size=(5, n)), tf.float32) for n in (3, 4))
        if way == "tiles":
            update_in_tiles(optimizer, layer.kernel, TiledGradient([inputs], [error]))
            optimizer.iterations.assign_add(1)
            continue
        gradient = tf.matmul(inputs, error, transpose_a=True)
        if way == "together":
            applied = tf.function(lambda g, o=optimizer: Together(o).apply([(g, layer.kernel)]))
            applied(gradient)
            optimizer.iterations.assign_add(1)
        else:
            optimizer.apply([gradient], [layer.kernel])
    # What the optimizer found is what its next step by Keras goes by.
    optimizer.apply([tf.ones_like(layer.kernel)], [layer.kernel])
    return [v.numpy() for v in [layer.kernel, *optimizer.variables]]


@pytest.mark.parametrize("way", ["tiles", "together"])
@pytest.mark.parametrize("excluded", EXCLUDED)
@pytest.mark.parametrize("kind", SLOTS)
def test_it_decays_what_keras_decays(kind: type, excluded: str, way: str) -> None:
    for ours, keras_own in zip(
        stepped(kind, excluded, way), stepped(kind, excluded, "keras"), strict=True
    ):
        np.testing.assert_allclose(ours, keras_own, rtol=1e-5, atol=1e-6)


def adamw() -> keras.optimizers.Optimizer:
    optimizer = keras.optimizers.AdamW(0.01, weight_decay=0.5)
    optimizer.exclude_from_weight_decay(var_names=["first", "bias"])
    return optimizer


def muon() -> keras.optimizers.Optimizer:
    optimizer = keras.optimizers.Muon(
        0.01, exclude_layers=["second"], weight_decay=0.5, adam_weight_decay=0.1
    )
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    return optimizer


def one_for_each_layer() -> keras.optimizers.Optimizer:
    first, others = keras.optimizers.SGD(0.1), keras.optimizers.SGD(0.01)
    return keras.optimizers.MultiOptimizer(lambda v: first if "first" in v.path else others)


@pytest.mark.filterwarnings("ignore:.*needs every gradient at once")
@pytest.mark.parametrize("make", [adamw, muon, one_for_each_layer])
def test_rules_for_single_variables_hold_block_by_block(make: Callable) -> None:
    weights = []
    for trainer_of in (BP, lambda network: Checkpoint(network, every=2)):
        trainer = compiled(trainer_of(small_network()), make())
        for _ in range(STEPS):
            trainer.train_on_batch(*blobs(16))
        weights.append(trainer.network.get_weights())
    for ours, keras_own in zip(*weights, strict=True):
        np.testing.assert_allclose(ours, keras_own, rtol=1e-4, atol=1e-5)
