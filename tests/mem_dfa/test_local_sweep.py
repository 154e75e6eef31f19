"""One forward pass in which each block is updated: random targets and fixed classifiers."""

from functools import cache
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from mem_dfa import ALGORITHMS, MODELS, UnsupportedError, profiling
from mem_dfa.feedback.matrices import KINDS
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

LOCAL = ("drtp", "lel")
RATE = 0.5
WEIGHTS = np.linspace(0.5, 1.5, 8)


def expected_of(
    algorithm: str, weights: list[np.ndarray], matrices: list[np.ndarray]
) -> list[np.ndarray]:
    """One step of SGD, by its definition."""
    x, y = data("float64")
    kernels, biases, labels = weights[::2], weights[1::2], np.eye(3)[y]
    expected, a = [], x
    for number, (kernel, bias) in enumerate(zip(kernels, biases, strict=True)):
        before, a = a, a @ kernel + bias
        decay = 0.0
        if number < 4:
            a, matrix = np.tanh(a), matrices[number]
            seen = -labels if algorithm == "drtp" else softmax(a @ matrix.T) - labels
            signal, decay = seen @ matrix * (1 - a**2), 2 * DECAY * kernel
        else:
            signal = softmax(a) - labels
        signal = signal * WEIGHTS[:, None] / len(x)
        expected.append(kernel - RATE * (before.T @ signal + decay))
        expected.append(bias - RATE * signal.sum(0))
    return expected


@pytest.mark.parametrize("one_hot", [False, True])
@pytest.mark.parametrize("algorithm", LOCAL)
@pytest.mark.usefixtures("float64")
def test_a_local_sweep_equals_numpy(algorithm: str, one_hot: bool) -> None:
    net = network("float64")
    trainer = ALGORITHMS[algorithm](net, seed=2)
    loss = LOSS_FLOAT64
    if one_hot:
        loss = keras.losses.CategoricalCrossentropy(from_logits=True, dtype="float64")
    trainer.compile(keras.optimizers.SGD(RATE), loss, run_eagerly=True)
    x, y = data("float64")
    expected = expected_of(algorithm, net.get_weights(), [v.numpy() for v in trainer.signal.held])
    trainer.train_on_batch(x, np.eye(3)[y] if one_hot else y, WEIGHTS)
    for got, want in zip(net.get_weights(), expected, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("algorithm", LOCAL)
def test_kinds_of_matrices_train_alike_in_every_execution(algorithm: str) -> None:
    def trained(feedback: str, execution: str) -> list[np.ndarray]:
        trainer = ALGORITHMS[algorithm](network(), feedback=feedback, seed=2)
        compiled(trainer, keras.optimizers.SGD(0.1, 0.9), **EXECUTIONS[execution])
        return change(trainer, 2, data=data())

    stored, regenerated = trained("stored", "eager"), trained("regenerated", "graph")
    for one, other in zip(stored, regenerated, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-7)


BATCH = 16
ACTIVATION_BYTES = BATCH * 32 * 32 * 16 * 4


@cache
def timeline_of(algorithm: str, layers: int) -> tuple[profiling.Timeline, int]:
    """A step of the conv net, and the bytes predicted for it."""
    trainer = ALGORITHMS[algorithm](MODELS["conv20"](layers=layers, seed=0))
    compiled(trainer, keras.optimizers.SGD(0.01, 0.9))
    batch = tf.fill((BATCH, 32, 32, 3), 0.5), tf.zeros((BATCH,), tf.int32)
    return recorded(trainer, *batch, steps=1)[0], trainer.predict_step_bytes(BATCH)


@pytest.mark.parametrize("algorithm", [*LOCAL, "local_loss", "forward_gradient"])
def test_nothing_is_kept_of_the_one_pass(algorithm: str) -> None:
    few, predicted = timeline_of(algorithm, 3)
    timeline, _ = timeline_of(algorithm, 7)
    assert timeline.step_requested_bytes <= 1.03 * few.step_requested_bytes
    assert few.step_requested_bytes == pytest.approx(predicted, rel=0.05)
    tensors = timeline.tensors[timeline.tensors["requested_bytes"] == ACTIVATION_BYTES]
    assert tensors[tensors["phase"] == "forward"]["block"].tolist() == [
        f"block_{number:03d}" for number in range(1, 8)
    ]
    most = 0
    for time_ns in timeline.events["time_ns"]:
        live = timeline.live_at(time_ns)
        live = live[(live["requested_bytes"] >= ACTIVATION_BYTES) & (live["start_ns"] >= 0)]
        blocks = {int(block.removeprefix("block_")) for block in live["block"]}
        most = max(most, len(blocks))
        assert not blocks or max(blocks) - min(blocks) <= 1
    assert most == 2


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        (np.zeros((8, 2)), r"labels of shape \(8, 2\)"),
        (np.zeros((8, 3, 1)), r"labels of shape \(8, 3, 1\)"),
    ],
)
def test_labels_that_are_no_classes_are_refused(labels: np.ndarray, says: str) -> None:
    trainer = ALGORITHMS["drtp"](network())
    trainer.compile("sgd", lambda y, z: tf.reduce_mean(z, -1), run_eagerly=True)
    with pytest.raises(UnsupportedError, match=f"DRTP received {says}.*one-hot labels of 3"):
        trainer.train_on_batch(data()[0], labels)


def test_a_loss_that_is_no_mean_is_refused() -> None:
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="sum")
    with pytest.raises(UnsupportedError, match=r"reduction='sum'.*sum_over_batch_size, mean"):
        ALGORITHMS["drtp"](network()).compile("sgd", loss)


@pytest.mark.parametrize("algorithm", LOCAL)
def test_matrices_that_learn_from_the_output_error_are_refused(algorithm: str) -> None:
    with pytest.raises(UnsupportedError, match=r"'learned'.*before there is one.*'asrbp'"):
        ALGORITHMS[algorithm](network(), feedback="learned")


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "learned"])
@pytest.mark.parametrize("algorithm", LOCAL)
def test_a_local_sweep_goes_on_after_saving(algorithm: str, kind: str, tmp_path: Path) -> None:
    trainer = ALGORITHMS[algorithm](network(), seed=3, feedback=kind)
    trainer.compile(keras.optimizers.SGD(0.1, 0.9), LOSS, run_eagerly=True)
    assert_goes_on_after_saving(trainer, data(), tmp_path)
