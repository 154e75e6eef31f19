"""Fused updates are BP's, and no gradient of the whole net is ever there."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from mem_dfa import BP, BPFused
from tests.mem_dfa.comparison import EXECUTIONS, LOSS, change, compiled, distance, recorded
from tests.mem_dfa.test_checkpoint import adam, deep_net, momentum, steps_of_bp

UNITS, ROWS = 1024, 16


@pytest.mark.parametrize("execution", ["graph", "eager"])
def test_the_weights_are_those_of_bp(execution: str) -> None:
    trainer = compiled(BPFused(deep_net()), momentum(), **EXECUTIONS[execution])
    for steps, expected in zip((1, 2), steps_of_bp(momentum)[0], strict=True):
        assert distance(change(trainer, steps), expected) <= 1e-5


@pytest.mark.usefixtures("float64")
def test_the_weights_are_those_of_bp_in_float64_with_adam() -> None:
    trainer = compiled(BPFused(deep_net()), adam(), run_eagerly=True)
    for steps, expected in zip((1, 2), steps_of_bp(adam, "float64")[0], strict=True):
        assert distance(change(trainer, steps, "float64"), expected) <= 1e-7


def test_no_gradient_is_whole() -> None:
    def requested(kind: type) -> int:
        keras.utils.set_random_seed(0)
        wide = [keras.layers.Dense(UNITS, "relu") for _ in range(3)]
        net = keras.Sequential([keras.Input((UNITS,)), *wide, keras.layers.Dense(4)])
        trainer = kind(net)
        trainer.compile("sgd", LOSS, jit_compile=False)
        x = tf.constant(np.random.default_rng(0).normal(size=(ROWS, UNITS)), tf.float32)
        (timeline,) = recorded(trainer, x, tf.zeros((ROWS,), tf.int32), 1)
        return timeline.step_requested_bytes

    kernel = 4 * UNITS * UNITS
    assert requested(BPFused) < kernel / 2
    assert requested(BP) > 2 * kernel
