"""PEPITA: two forward passes, the second beside one with the error added to the input."""

from functools import cache
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from mem_dfa import ALGORITHMS, MODELS, PEPITA, UnsupportedError, profiling
from tests.mem_dfa.comparison import (
    EXECUTIONS,
    LOSS,
    LOSS_FLOAT64,
    assert_goes_on_after_saving,
    change,
    compiled,
    recorded,
)
from tests.mem_dfa.test_groups import DECAY, data, network, softmax

layers = keras.layers
RATE, BATCH = 0.5, 16
ACTIVATION_BYTES = BATCH * 32 * 32 * 16 * 4


def all_kept(
    weights: list[np.ndarray], matrix: np.ndarray, sample_weights: np.ndarray
) -> list[np.ndarray]:
    """One step of SGD by the paper's own form, in which both passes are kept whole."""
    x, y = data("float64")
    kernels, biases, labels = weights[::2], weights[1::2], np.eye(3)[y]

    def forward(a: np.ndarray) -> list[np.ndarray]:
        passed = [a]
        for kernel, bias in zip(kernels[:-1], biases[:-1], strict=True):
            passed.append(np.tanh(passed[-1] @ kernel + bias))
        return [*passed, passed[-1] @ kernels[-1] + biases[-1]]

    def error(z: np.ndarray) -> np.ndarray:
        return (softmax(z) - labels) * sample_weights[:, None]

    plain = forward(x)
    modulated = forward(x + error(plain[-1]) @ matrix)
    signals = [a - b for a, b in zip(plain[1:-1], modulated[1:-1], strict=True)]
    signals.append(error(modulated[-1]))
    expected = []
    for number, (kernel, bias) in enumerate(zip(kernels, biases, strict=True)):
        signal = signals[number] / len(x)
        decay = 2 * DECAY * kernel if number < 4 else 0.0
        expected.append(kernel - RATE * (modulated[number].T @ signal + decay))
        expected.append(bias - RATE * signal.sum(0))
    return expected


@pytest.mark.usefixtures("float64")
def test_three_steps_equal_numpy_with_everything_kept() -> None:
    net, sample_weights = network("float64"), np.linspace(0.5, 1.5, 8)
    trainer = PEPITA(net, seed=2)
    trainer.compile(keras.optimizers.SGD(RATE), LOSS_FLOAT64, run_eagerly=True)
    (matrix,) = trainer.signal.held
    assert matrix.shape == (3, 6)
    assert 0.9 < np.abs(matrix).max() / (0.05 * np.sqrt(6 / 6)) <= 1
    x, y = data("float64")
    for _ in range(3):
        expected = all_kept(net.get_weights(), matrix.numpy(), sample_weights)
        trainer.train_on_batch(x, y, sample_weights)
        for got, want in zip(net.get_weights(), expected, strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-10, atol=1e-12)


def convolutions() -> keras.Model:
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Conv2D(4, 3, padding="same", name="first"),
            layers.ReLU(),
            layers.Dropout(0.3, seed=4),
            layers.MaxPooling2D(),
            layers.Conv2D(5, 3, strides=2, activation="tanh", name="second"),
            layers.Flatten(),
            layers.Dense(3),
        ]
    )


def test_convolutions_pooling_and_dropout_equal_the_tapes() -> None:
    """Both passes draw the same mask, as does the first one, in which e is made."""
    net = convolutions()
    trainer = compiled(PEPITA(net, seed=2), keras.optimizers.SGD(RATE), run_eagerly=True)
    generator = np.random.default_rng(1)
    x, y = generator.normal(size=(6, 8, 8, 3)).astype("float32"), generator.integers(3, size=6)
    seed = net.layers[2].seed_generator.state
    start = seed.numpy()

    def forward(x: tf.Tensor) -> list[tf.Tensor]:
        seed.assign(start)
        first = net.layers[2](tf.nn.relu(net.layers[0](x)), training=True)
        pooled = net.layers[3](first)
        second = net.layers[4](pooled)
        flat = tf.reshape(second, [6, -1])
        return [x, first, pooled, second, flat, net.layers[6](flat)]

    def error(z: tf.Tensor) -> tf.Tensor:
        return tf.nn.softmax(z) - tf.one_hot(y, 3)

    plain = forward(x)
    modulated = forward(x + tf.reshape(error(plain[-1]) @ trainer.signal.held[0].value, x.shape))
    expected = []
    for layer, at, strides, padding in ((0, 0, 1, "SAME"), (4, 2, 2, "VALID")):
        signal = (plain[at + 1] - modulated[at + 1]) / 6
        kernel = net.layers[layer].kernel
        step = tf.raw_ops.Conv2DBackpropFilter(
            input=modulated[at],
            filter_sizes=kernel.shape,
            out_backprop=signal,
            strides=[1, strides, strides, 1],
            padding=padding,
        )
        expected += [step, tf.reduce_sum(signal, [0, 1, 2])]
    last = error(modulated[-1]) / 6
    expected += [tf.transpose(modulated[4]) @ last, tf.reduce_sum(last, 0)]
    seed.assign(start)
    before = [v.numpy() for v in net.trainable_variables]
    trainer.train_on_batch(x, y)
    for old, new, step in zip(before, net.trainable_variables, expected, strict=True):
        np.testing.assert_allclose((old - new) / RATE, step, rtol=1e-3, atol=1e-6)
    assert not np.array_equal(seed, start)


@pytest.mark.parametrize("execution", ["graph", "xla"])
def test_execution_does_not_change_the_step(execution: str) -> None:
    def trained(how: str) -> list[np.ndarray]:
        trainer = PEPITA(network(), seed=2)
        compiled(trainer, keras.optimizers.SGD(0.1, 0.9), **EXECUTIONS[how])
        return change(trainer, 2, data=data())

    for one, other in zip(trained(execution), trained("eager"), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-6)


@cache
def timeline_of(depth: int) -> tuple[profiling.Timeline, int]:
    trainer = PEPITA(MODELS["conv20"](layers=depth, seed=0))
    compiled(trainer, keras.optimizers.SGD(0.01, 0.9))
    batch = tf.fill((BATCH, 32, 32, 3), 0.5), tf.zeros((BATCH,), tf.int32)
    return recorded(trainer, *batch, steps=1)[0], trainer.predict_step_bytes(BATCH)


def test_nothing_is_kept_and_each_block_runs_three_times() -> None:
    few, predicted = timeline_of(3)
    timeline, _ = timeline_of(7)
    assert timeline.step_requested_bytes <= 1.03 * few.step_requested_bytes
    assert few.step_requested_bytes == pytest.approx(predicted, rel=0.05)
    most = 0
    for time_ns in timeline.events["time_ns"]:
        live = timeline.live_at(time_ns)
        live = live[(live["requested_bytes"] >= ACTIVATION_BYTES) & (live["start_ns"] >= 0)]
        blocks = {int(block.removeprefix("block_")) for block in live["block"]}
        assert not blocks or max(blocks) - min(blocks) <= 1
        most = max(most, len(live))
    assert most <= 4
    made = timeline.tensors[timeline.tensors["requested_bytes"] == ACTIVATION_BYTES]
    assert "gradient_tape" not in set(made["phase"])
    for block, own in made.groupby("block"):
        assert (own["phase"] == "replay").sum() >= 2 * (own["phase"] == "forward").sum() > 0, block


def test_the_loss_that_a_subclass_computes_is_that_of_both_passes() -> None:
    class Twice(PEPITA):
        def compute_loss(self, *args: object, **kwargs: object) -> tf.Tensor:
            return 2 * super().compute_loss(*args, **kwargs)

    changes = []
    for kind in (PEPITA, Twice):
        trainer = compiled(kind(network(), seed=2), keras.optimizers.SGD(0.1), run_eagerly=True)
        trainer.signal.held[0].assign(0 * trainer.signal.held[0])
        changes.append(change(trainer, 1, data=data()))
    np.testing.assert_allclose(changes[1][-1], 2 * changes[0][-1], rtol=1e-4)


def test_it_goes_on_after_saving(tmp_path: Path) -> None:
    trainer = PEPITA(network(), seed=3)
    trainer.compile(keras.optimizers.SGD(0.1, 0.9), LOSS, run_eagerly=True)
    assert_goes_on_after_saving(trainer, data(), tmp_path)


@pytest.mark.parametrize(
    ("inside", "says"),
    [
        ([layers.Dense(4), layers.BatchNormalization(name="norm")], r"'norm' \(BatchNorm"),
        ([layers.Reshape((2, 3)), layers.LSTM(4, name="lstm")], r"'lstm' \(LSTM\).*one dense or"),
        ([layers.Dense(4), layers.Lambda(lambda x: 2 * x)], r"code runs that is not Keras's"),
    ],
)
def test_blocks_that_are_more_than_a_linear_layer_are_refused(inside: list, says: str) -> None:
    net = keras.Sequential([keras.Input((6,)), *inside, layers.Dense(3)])
    with pytest.raises(UnsupportedError, match=f"PEPITA received .*{says}"):
        PEPITA(net)


def test_inputs_that_nothing_can_be_added_to_are_refused() -> None:
    net = keras.Sequential([keras.Input((None, 4)), layers.Dense(4), layers.Dense(3)])
    with pytest.raises(UnsupportedError, match=r"input of shape \(None, None, 4\).*fixed shape"):
        ALGORITHMS["pepita"](net)


def test_a_loss_that_is_no_mean_is_refused() -> None:
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="sum")
    with pytest.raises(UnsupportedError, match=r"reduction='sum'.*error of one example"):
        PEPITA(network()).compile("sgd", loss)
