"""Training steps within a limit, the way a test suite of your own states one."""

import math
from collections.abc import Callable

import keras
import pytest
import tensorflow as tf

import mem_dfa

LAYERS, BATCH = 20, 16
# Each activation takes 1 MiB: all of them 20, and MEM-DFA asks for 3.
LIMIT = "8 MiB"


@pytest.fixture
def step() -> Callable[[], float]:
    """A step that was traced and run before, so that the limit is on the step alone."""
    network = mem_dfa.MODELS["conv20"](layers=LAYERS, seed=0)
    trainer = mem_dfa.MemDFA(network)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    trainer.compile(keras.optimizers.SGD(0.01), loss, jit_compile=False)
    images = tf.random.stateless_uniform((BATCH, 32, 32, 3), (1, 2))
    labels = tf.zeros((BATCH,), tf.int32)
    for _ in range(2):
        trainer.train_on_batch(images, labels)
    return lambda: trainer.train_on_batch(images, labels)


@pytest.mark.limit_device_memory(LIMIT)
def test_a_step_of_mem_dfa(step: Callable[[], float]) -> None:
    assert math.isfinite(step())
