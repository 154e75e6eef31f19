"""Forward-Forward: blocks that tell true labels from wrong ones, and a read-out."""

from functools import cache
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from mem_dfa import ForwardForward, UnsupportedError, profiling
from mem_dfa.feedback.goodness import THRESHOLD
from tests.mem_dfa.comparison import (
    EXECUTIONS,
    LOSS,
    LOSS_FLOAT64,
    assert_goes_on_after_saving,
    blobs,
    change,
    compiled,
    recorded,
)
from tests.mem_dfa.test_groups import DECAY, data, network, softmax

RATE, WEIGHTS = 0.5, np.linspace(0.5, 1.5, 8)


def wrong_labels(seed: int, step: int, y: np.ndarray) -> np.ndarray:
    """From the same stateless draw."""
    shift = tf.random.stateless_uniform((len(y),), [seed, step], 1, 3, dtype=tf.int32)
    return (y + shift.numpy()) % 3


def normalised(a: np.ndarray) -> np.ndarray:
    return a / np.sqrt(np.mean(a**2, 1, keepdims=True) + 1e-8)


def expected_of(weights: list[np.ndarray], wrong: np.ndarray) -> list[np.ndarray]:
    """One step of SGD, by its definition."""
    x, y = data("float64")
    kernels, biases = weights[::2], weights[1::2]

    def labelled(label: np.ndarray) -> np.ndarray:
        return np.concatenate([label, x[:, 3:]], 1)

    parts = [labelled(label) for label in (np.eye(3)[y], np.eye(3)[wrong], np.full((8, 3), 1 / 3))]
    expected = []
    for kernel, bias in zip(kernels[:-1], biases[:-1], strict=True):
        step, shift, handed_on = 2 * DECAY * kernel, np.zeros_like(bias), []
        for part, sign in zip(parts, (1, -1, 0), strict=True):
            h = normalised(part)
            a = np.tanh(h @ kernel + bias)
            goodness = np.mean(a**2, 1)
            # The derivative of softplus(−s(g − θ)), half of the batch being of either sign.
            slope = -sign / (1 + np.exp(sign * (goodness - THRESHOLD))) / 16 * WEIGHTS
            signal = slope[:, None] * 2 * a / a.shape[1] * (1 - a**2)
            step, shift = step + h.T @ signal, shift + signal.sum(0)
            handed_on.append(a)
        expected += [kernel - RATE * step, bias - RATE * shift]
        parts = handed_on
    h = normalised(parts[2])
    error = (softmax(h @ kernels[-1] + biases[-1]) - np.eye(3)[y]) * WEIGHTS[:, None] / 8
    return [*expected, kernels[-1] - RATE * h.T @ error, biases[-1] - RATE * error.sum(0)]


@pytest.mark.parametrize("one_hot", [False, True])
@pytest.mark.usefixtures("float64")
def test_three_steps_equal_numpy(one_hot: bool) -> None:
    net, loss = network("float64"), LOSS_FLOAT64
    if one_hot:
        loss = keras.losses.CategoricalCrossentropy(from_logits=True, dtype="float64")
    trainer = ForwardForward(net, seed=7)
    trainer.compile(keras.optimizers.SGD(RATE), loss, run_eagerly=True)
    x, y = data("float64")
    for step in range(3):
        wrong = wrong_labels(7, step, y)
        assert not np.any(wrong == y)
        expected = expected_of(net.get_weights(), wrong)
        trainer.train_on_batch(x, np.eye(3)[y] if one_hot else y, WEIGHTS)
        for got, want in zip(net.get_weights(), expected, strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-10, atol=1e-12)


@pytest.mark.filterwarnings("ignore:.*needs every gradient at once")
def test_batches_of_one_step_draw_wrong_labels_anew() -> None:
    optimizer = keras.optimizers.SGD(0.1, gradient_accumulation_steps=2)
    trainer, (x, y) = compiled(ForwardForward(network()), optimizer), data()
    drawn = []
    for _ in range(2):
        wrong = trainer.signal.examples(tf.constant(x), tf.constant(y))[len(x) : 2 * len(x), :3]
        drawn.append(tuple(np.argmax(wrong, 1)))
        trainer.train_on_batch(x, y)
    assert drawn[0] != drawn[1]


@pytest.mark.parametrize("execution", ["graph", "xla"])
def test_execution_does_not_change_the_step(execution: str) -> None:
    def trained(how: str) -> list[np.ndarray]:
        trainer = ForwardForward(network(), seed=2)
        compiled(trainer, keras.optimizers.SGD(0.1, 0.9), **EXECUTIONS[how])
        return change(trainer, 2, data=data())

    for one, other in zip(trained(execution), trained("eager"), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-7)


def test_labels_in_the_input_have_no_say_in_what_it_predicts() -> None:
    trainer = compiled(ForwardForward(network()), keras.optimizers.SGD(0.1))
    x, _ = data()
    other = x.copy()
    other[:, :3] = 7
    np.testing.assert_array_equal(trainer(x), trainer(other))
    other[:, 3:] *= 2
    assert not np.allclose(trainer(x), trainer(other), atol=1e-4)


def test_the_network_alone_is_not_exported(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match=r"network alone.*save the trainer"):
        ForwardForward(network()).export(tmp_path)


BATCH, WIDTH = 64, 512
ACTIVATION_BYTES = 3 * BATCH * WIDTH * 4


@cache
def timeline_of(depth: int) -> tuple[profiling.Timeline, int]:
    keras.utils.set_random_seed(0)
    hidden = [keras.layers.Dense(WIDTH, "relu") for _ in range(depth)]
    net = keras.Sequential([keras.Input((WIDTH,)), *hidden, keras.layers.Dense(3)])
    trainer = compiled(ForwardForward(net), keras.optimizers.SGD(0.01))
    batch = tf.fill((BATCH, WIDTH), 0.5), tf.zeros((BATCH,), tf.int32)
    return recorded(trainer, *batch, steps=1)[0], trainer.predict_step_bytes(BATCH)


def test_nothing_is_kept_of_the_one_pass() -> None:
    few, predicted = timeline_of(3)
    timeline, _ = timeline_of(7)
    assert timeline.step_requested_bytes <= 1.03 * few.step_requested_bytes
    assert few.step_requested_bytes == pytest.approx(predicted, rel=0.05)
    for time_ns in timeline.events["time_ns"]:
        live = timeline.live_at(time_ns)
        live = live[(live["requested_bytes"] == ACTIVATION_BYTES) & (live["start_ns"] >= 0)]
        blocks = {int(name[-3:]) for name in live["block"] if name.startswith("block_")}
        assert not blocks or max(blocks) - min(blocks) <= 1


def test_the_read_out_learns() -> None:
    keras.utils.set_random_seed(0)
    hidden = [keras.layers.Dense(64, "relu") for _ in range(2)]
    net = keras.Sequential([keras.Input((6,)), *hidden, keras.layers.Dense(3)])
    trainer = compiled(ForwardForward(net), keras.optimizers.Adam(0.003))
    start = net.layers[0].kernel.numpy()
    trainer.fit(*blobs(480), epochs=3, batch_size=24, verbose=0)
    assert np.abs(net.layers[0].kernel - start).max() > 0.03
    assert trainer.evaluate(*blobs(480), verbose=0, return_dict=True)["accuracy"] > 0.8


def test_it_goes_on_after_saving(tmp_path: Path) -> None:
    trainer = ForwardForward(network(), seed=3)
    trainer.compile(keras.optimizers.SGD(0.1, 0.9), LOSS, run_eagerly=True)
    assert_goes_on_after_saving(trainer, data(), tmp_path)


def test_networks_that_it_cannot_train_are_refused() -> None:
    layers = keras.layers
    image = [keras.Input((8, 8, 1)), layers.Conv2D(2, 3), layers.Conv2D(2, 3), layers.Flatten()]
    with pytest.raises(UnsupportedError, match=r"block_001 .*shape \(None, 6, 6, 2\).*dense"):
        ForwardForward(keras.Sequential([*image, layers.Dense(3)]))
    narrow = keras.Sequential([keras.Input((2,)), layers.Dense(4), layers.Dense(3)])
    with pytest.raises(UnsupportedError, match=r"shape \(None, 2\).*label of 3 classes takes"):
        ForwardForward(narrow)
    trainer = compiled(ForwardForward(network()), keras.optimizers.SGD(0.1), run_eagerly=True)
    with pytest.raises(UnsupportedError, match=r"labels of shape \(8, 2\).*one-hot labels of 3"):
        trainer.train_on_batch(data()[0], np.zeros((8, 2)))
