"""Checkpoints of few bits are right on average, and as small as they say."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from mem_dfa import BP, MODELS, Checkpoint, Compressed, UnsupportedError
from mem_dfa.memory import keepers
from mem_dfa.memory.keepers import GROUP
from tests.mem_dfa.comparison import (
    EXECUTIONS,
    LOSS,
    assert_goes_on_after_saving,
    blobs,
    change,
    compiled,
    distance,
    operations_before,
    recorded,
)
from tests.mem_dfa.test_checkpoint import BATCH, deep_net, momentum, steps_of_bp

DRAWS = 2000


def keeper(bits: int) -> tuple[keras.Model, keepers.Keeper]:
    """A keeper, and the trainer whose optimizer counts the steps of its draws."""
    net = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    trainer = compiled(Compressed(net, bits=bits), keras.optimizers.SGD(0.1))
    trainer.optimizer.build(trainer.trainable_variables)
    return trainer, trainer.keeper


@pytest.mark.parametrize("bits", [8, 2])
@pytest.mark.parametrize("size", [GROUP, 3 * GROUP - 100])
def test_codes_are_right_on_average(bits: int, size: int) -> None:
    """To the Monte-Carlo error, which is that of one rounding over the root of the draws."""
    trainer, own = keeper(bits)
    values = np.random.default_rng(0).normal(size=(size,)).astype("float32")
    values[:20] = 0

    @tf.function
    def kept() -> tf.Tensor:
        with own.step():
            return own.keep(0, tf.constant(values))[0](None)

    draws = []
    for step in range(DRAWS):
        trainer.optimizer.iterations.assign(step)
        draws.append(kept().numpy())
    filled = np.append(values, np.full(-size % GROUP, values[-1])).reshape(-1, GROUP)
    apart = np.ptp(filled, axis=1).max() * 1.02 / (2**bits - 1)
    assert np.abs(draws - values).max() <= apart
    errors = np.abs(np.mean(draws, axis=0) - values)
    # A rounding between two codes deviates by at most half of their distance; five deviations.
    assert errors.max() <= 5 * apart / 2 / np.sqrt(DRAWS)
    assert len(np.unique(np.round(draws[0], 5))) <= 2**bits * -(-size // GROUP)


@pytest.mark.parametrize("bits", keepers.BITS)
def test_what_is_kept_has_the_bytes_that_are_said(bits: int) -> None:
    """Of twenty blocks, by the tensors that are there when the first is differentiated."""
    net = MODELS["conv20"](layers=6, seed=0)
    trainer = compiled(Compressed(net, bits=bits, every=1), keras.optimizers.SGD(0.01))
    x = tf.random.stateless_normal((BATCH, 32, 32, 3), (0, 0))
    (timeline,) = recorded(trainer, x, tf.zeros((BATCH,), tf.int32), 1)
    one = keepers.kept_bytes(bits, BATCH * 32 * 32 * 16)
    # The logits begin with what is kept of five outputs; the sixth is the last block's own.
    assert one <= (0.5 if bits == 16 else 0.27) * 4 * BATCH * 32 * 32 * 16
    whole = compiled(Checkpoint(MODELS["conv20"](layers=6, seed=0), every=1), momentum())
    (beside,) = recorded(whole, x, tf.zeros((BATCH,), tf.int32), 1)
    saved = beside.step_requested_bytes - timeline.step_requested_bytes
    assert saved >= 3 * (4 * BATCH * 32 * 32 * 16 - one)
    tensors = timeline.tensors
    large = tensors[tensors["requested_bytes"] >= one // 8]
    assert set(large["phase"]) == {"resident", "forward", "replay", "backward"}
    predicted = trainer.predict_step_bytes(BATCH)
    assert timeline.step_requested_bytes <= 1.01 * predicted


@pytest.mark.parametrize(("bits", "furthest"), [(16, 0.02), (8, 0.04), (2, 0.6)])
def test_fewer_bits_are_further_from_bp(bits: int, furthest: float) -> None:
    expected = steps_of_bp(momentum)[0][0]
    trainer = compiled(Compressed(deep_net(), bits=bits, every=1), momentum(), run_eagerly=True)
    assert furthest / 4 < distance(change(trainer, 1), expected) < furthest


def trained(execution: str, **details: Any) -> list[np.ndarray]:
    net = MODELS["conv20"](layers=3, input_shape=(8, 8, 3), seed=0)
    trainer = Compressed(net, **details)
    trainer.compile(keras.optimizers.SGD(0.1), LOSS, **EXECUTIONS[execution])
    generator = np.random.default_rng(0)
    x = generator.normal(size=(8, 8, 8, 3)).astype("float32")
    return change(trainer, 2, data=(x, generator.integers(10, size=8)))


@pytest.mark.parametrize("plan", [{"every": 1}, {"plan": "revolve"}])
def test_executions_train_alike(plan: dict) -> None:
    assert distance(trained("graph", **plan), trained("eager", **plan)) < 1e-5


def test_xla_trains_alike() -> None:
    """In 16 bits: codes that are rounded at random differ where what XLA computes does."""
    one, other = (trained(execution, bits=16, every=1) for execution in ("xla", "eager"))
    assert distance(one, other) < 1e-5


def test_it_learns_and_goes_on_after_saving(tmp_path: Path) -> None:
    layers = keras.layers
    net = keras.Sequential(
        [keras.Input((6,)), layers.Dense(16, "relu"), layers.Dense(16, "relu"), layers.Dense(3)]
    )
    trainer = Compressed(net, bits=8, every=1, seed=3)
    trainer.compile(keras.optimizers.Adam(0.01), LOSS, metrics=["accuracy"], jit_compile=False)
    x, y = blobs(512)
    assert trainer.fit(x, y, epochs=8, verbose=0).history["accuracy"][-1] > 0.85
    assert_goes_on_after_saving(trainer, (x, y), tmp_path)


@pytest.mark.parametrize("bits", [0, 3, 32, 2.0, 8.5, True, "8", [8]])
def test_other_bits_are_refused(bits: object) -> None:
    with pytest.raises(UnsupportedError, match=r"bits=.*: give one of 16, 8, 2\.$"):
        Compressed(deep_net(), bits=bits)


def test_bytes_are_fewer_than_those_of_whole_checkpoints() -> None:
    net = MODELS["conv20"](layers=20, seed=0)
    sizes = [Compressed(net, bits=bits).predict_step_bytes(128) for bits in (2, 8, 16)]
    assert sizes == sorted(sizes)
    assert sizes[-1] < Checkpoint(net).predict_step_bytes(128)
    assert sizes[1] <= 0.35 * BP(net).predict_step_bytes(128)


@pytest.mark.parametrize("bits", keepers.BITS)
def test_the_next_block_waits_until_an_output_is_coded(bits: int) -> None:
    """Otherwise cheap blocks run ahead, and more than one output is there as it is."""
    _, own = keeper(bits)
    before: set[tf.Operation] = set()

    @tf.function
    def keep(values: tf.Tensor) -> tf.Tensor:
        with own.step():
            found = own.keep(0, values)[1]
        before.update(operations_before(found))
        return found

    keep.get_concrete_function(tf.TensorSpec((GROUP,), tf.float32))
    short = tf.bfloat16 if bits == 16 else tf.uint8
    assert any(output.dtype == short for op in before for output in op.outputs)
