"""Blocked DFA: groups of blocks, between DFA and backpropagation."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from mem_dfa import ALGORITHMS, MODELS, Chain, UnsupportedError, profiling
from mem_dfa.memory.groups import group_bytes, group_starts
from tests.mem_dfa.comparison import LOSS, change, compiled, distance, recorded

BLOCKED = {"bdfa": "dfa", "mem_bdfa": "mem_dfa"}
WIDTHS = (7, 6, 5, 6)
RATE, DECAY = 2**-1, 2**-5  # which Keras rounds to float32


def network(dtype: str = "float32") -> keras.Model:
    """Four hidden layers and so five blocks, each with a bias and a regulariser."""
    keras.utils.set_random_seed(0)
    penalty = keras.regularizers.L2(DECAY)
    hidden = [
        keras.layers.Dense(width, "tanh", kernel_regularizer=penalty, dtype=dtype)
        for width in WIDTHS
    ]
    net = keras.Sequential(
        [keras.Input((6,), dtype=dtype), *hidden, keras.layers.Dense(3, dtype=dtype)]
    )
    net.dtype_policy = keras.DTypePolicy(dtype)
    for layer in net.layers:
        layer.bias.assign(np.linspace(-0.2, 0.2, layer.units))
    return net


def data(dtype: str = "float32") -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(1)
    return generator.normal(size=(8, 6)).astype(dtype), generator.integers(3, size=8)


def changed(
    algorithm: str,
    dtype: str = "float32",
    steps: int = 3,
    optimizer: Callable[[], keras.optimizers.Optimizer] = lambda: keras.optimizers.SGD(0.1, 0.9),
    **how,  # noqa: ANN003
) -> list[np.ndarray]:
    trainer = ALGORITHMS[algorithm](network(dtype), **how)
    compiled(trainer, optimizer(), run_eagerly=True)
    return change(trainer, steps, dtype, data(dtype))


def softmax(z: np.ndarray) -> np.ndarray:
    p = np.exp(z - z.max(axis=1, keepdims=True))
    return p / p.sum(axis=1, keepdims=True)


@pytest.mark.parametrize(("algorithm", "whole"), BLOCKED.items())
def test_one_block_a_group_is_dfa_to_the_bit(algorithm: str, whole: str) -> None:
    for ours, theirs in zip(changed(algorithm, groups=1), changed(whole), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("algorithm", BLOCKED)
@pytest.mark.usefixtures("float64")
def test_one_group_is_backpropagation(algorithm: str) -> None:
    exact = changed("bp", "float64")
    assert distance(changed(algorithm, "float64", groups=5), exact) <= 1e-10
    assert distance(changed(algorithm, "float64", groups=2), exact) > 0.1


@pytest.mark.usefixtures("float64")
def test_the_second_pass_changes_nothing() -> None:
    kinds = {"groups": 2, "optimizer": keras.optimizers.Adam}
    both = [changed(name, "float64", 5, **kinds) for name in BLOCKED]
    assert distance(*both) <= 1e-7


@pytest.mark.parametrize("algorithm", BLOCKED)
@pytest.mark.usefixtures("float64")
def test_groups_equal_numpy(algorithm: str) -> None:
    """Groups {1}, {2, 3} and {4, 5}: counted from the last block."""
    net = network("float64")
    trainer = ALGORITHMS[algorithm](net, groups=2, seed=2)
    assert [b.name for b in trainer.chain.blocks] == [
        "block_001",
        "block_002_to_003",
        "block_004_to_005",
    ]
    compiled(trainer, keras.optimizers.SGD(RATE), run_eagerly=True)
    matrices = [v.numpy() for v in trainer.signal.held]
    assert [m.shape for m in matrices] == [(3, 7), (3, 5)]
    x, y = data("float64")
    weights = net.get_weights()
    kernels, biases = weights[::2], weights[1::2]
    trainer.train_on_batch(x, y)
    a = [x]
    for kernel, bias in zip(kernels[:-1], biases[:-1], strict=True):
        a.append(np.tanh(a[-1] @ kernel + bias))
    error = (softmax(a[-1] @ kernels[-1] + biases[-1]) - np.eye(3)[y]) / len(x)
    d = [np.empty(0)] * 5
    d[4] = error
    d[3] = (d[4] @ kernels[4].T) * (1 - a[4] ** 2)
    d[2] = (error @ matrices[1]) * (1 - a[3] ** 2)
    d[1] = (d[2] @ kernels[2].T) * (1 - a[2] ** 2)
    d[0] = (error @ matrices[0]) * (1 - a[1] ** 2)
    expected = []
    for number, (kernel, bias) in enumerate(zip(kernels, biases, strict=True)):
        decay = 2 * DECAY * kernel if number < 4 else 0
        expected.append(kernel - RATE * (a[number].T @ d[number] + decay))
        expected.append(bias - RATE * d[number].sum(0))
    for got, want in zip(net.get_weights(), expected, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-10, atol=1e-12)


def test_groups_are_asked_for_in_four_ways() -> None:
    chain = Chain.from_model(network())

    def starts(groups: object, batch_size: int | None = None) -> list[int]:
        return group_starts("BDFA", chain.blocks, groups, batch_size)

    assert starts(1) == [0, 1, 2, 3, 4]
    assert starts(2) == starts("sqrt") == [0, 1, 3]
    assert starts(5) == [0]
    assert starts(["block_004"]) == starts("block_004") == starts("block_001,block_004") == [0, 3]
    # From the last block on, as many as fit.
    sizes = [group_bytes(chain.blocks, *span, 32) for span in ((2, 5), (3, 5), (1, 3), (0, 2))]
    assert sizes == [4608, 3840, 4608, 4096]
    assert starts(f"{int(4608 * 1.05) + 1} B", 32) == [0, 2]
    assert starts(f"{int(4608 * 1.05)} B", 32) == [0, 2, 3]
    assert starts("1 GiB", 32) == [0]


@pytest.mark.parametrize("groups", [0, 6, True, "block_009", ["block_009"], [], "fast", 2.5])
def test_groups_that_there_are_not_are_refused(groups: object) -> None:
    with pytest.raises(UnsupportedError, match=r"received groups=.*from 1 to 5, \"sqrt\", a size"):
        ALGORITHMS["bdfa"](network(), groups=groups)


def test_a_budget_below_the_least_says_the_least() -> None:
    with pytest.raises(UnsupportedError, match=r"takes (\d+) bytes .*which is the least") as said:
        ALGORITHMS["mem_bdfa"](network(), groups="1 KiB", batch_size=32)
    least = int(str(said.value).split(" takes ")[1].split()[0])
    trainer = ALGORITHMS["mem_bdfa"](network(), groups=f"{least} B", batch_size=32)
    assert trainer.predict_step_bytes(32) <= least
    with pytest.raises(UnsupportedError, match=r"batch_size=\.\.\., or a number"):
        ALGORITHMS["mem_bdfa"](network(), groups="1 MiB")


BATCH = 16
ACTIVATION_BYTES = BATCH * 32 * 32 * 16 * 4


@cache
def timeline_of(layers: int, groups: int | str) -> tuple[profiling.Timeline, int]:
    """A step of the conv net, and the bytes predicted for it."""
    net = MODELS["conv20"](layers=layers, seed=0)
    trainer = ALGORITHMS["mem_bdfa"](net, groups=groups, batch_size=BATCH, slices=1)
    compiled(trainer, keras.optimizers.SGD(0.01))
    batch = tf.fill((BATCH, 32, 32, 3), 0.5), tf.zeros((BATCH,), tf.int32)
    return recorded(trainer, *batch, steps=1)[0], trainer.predict_step_bytes(BATCH)


def test_memory_is_flat_in_depth_and_linear_in_the_size_of_a_group() -> None:
    # A group keeps each activation; beside them are its input and, from two blocks on, two error
    # signals.
    for layers, groups, activations in ((5, 1, 3), (5, 2, 5), (9, 2, 5), (9, 4, 7)):
        timeline, predicted = timeline_of(layers, groups)
        assert timeline.step_requested_bytes == pytest.approx(
            activations * ACTIVATION_BYTES, rel=0.03
        )
        assert timeline.step_requested_bytes == pytest.approx(predicted, rel=0.05)


def test_a_step_stays_within_the_size_of_a_group() -> None:
    timeline, _ = timeline_of(9, "6 MiB")
    assert 4 * 2**20 < timeline.step_requested_bytes <= 6 * 2**20


def test_a_profile_names_groups() -> None:
    timeline, _ = timeline_of(9, 4)
    replayed = timeline.tensors[timeline.tensors["phase"] == "replay"]["block"]
    assert set(replayed) == {"block_001_to_002", "block_003_to_006", "block_007_to_010"}
    held = timeline.tensors[timeline.tensors["category"] == "feedback"]["block"]
    assert set(held) == {"block_001_to_002", "block_003_to_006"}


def test_groups_survive_saving(tmp_path: Path) -> None:
    for groups in (2, ["block_003"]):
        trainer = ALGORITHMS["mem_bdfa"](network(), groups=groups, seed=3)
        trainer.compile("sgd", LOSS, run_eagerly=True)
        trainer.train_on_batch(*data())
        trainer.save(tmp_path / "trainer.keras")
        loaded = keras.saving.load_model(tmp_path / "trainer.keras")
        names = [block.name for block in trainer.chain.blocks]
        assert [block.name for block in loaded.chain.blocks] == names
        for one in (trainer, loaded):
            one.train_on_batch(*data())
        for ours, theirs in zip(loaded.get_weights(), trainer.get_weights(), strict=True):
            np.testing.assert_array_equal(ours, theirs)
