"""Blocks that are alike, traced once: the same step, however many there are."""

from functools import cache

import keras
import numpy as np
import pytest
import tensorflow as tf

from mem_dfa import MemDFA
from mem_dfa.chain import repeated_blocks as module
from mem_dfa.chain.chain import Chain
from mem_dfa.feedback import tiles
from mem_dfa.graph import exact_random
from mem_dfa.optimizer import step
from tests.mem_dfa.comparison import EXECUTIONS, change, compiled, distance


def net(depth: int = 5, **of_one) -> keras.Model:  # noqa: ANN003
    """Convolutions that are alike but for the first and the last, which Flatten belongs to."""
    keras.utils.set_random_seed(0)
    layers = [keras.Input((8, 8, 3))]
    for number in range(depth):
        own = of_one if number == depth // 2 else {}
        layers.append(keras.layers.Conv2D(4, 3, padding="same", **{"activation": "tanh", **own}))
    return keras.Sequential([*layers, keras.layers.Flatten(), keras.layers.Dense(3)])


@pytest.fixture
def from_two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LEAST_ALIKE", 2)
    monkeypatch.setattr(module, "BLOCKS_A_CALL", 2)


def changed(alike: int, execution: str, slices: int, feedback: str) -> list[np.ndarray]:
    """By three steps, with that many blocks in calls."""
    trainer = MemDFA(net(), slices=slices, feedback=feedback)
    assert len(module.alike(trainer.chain.blocks)) == alike
    trainer = compiled(trainer, keras.optimizers.Adam(0.01), **EXECUTIONS[execution])
    return change(trainer, steps=3, dtype="float64")


@cache
def expected(feedback: str) -> list[np.ndarray]:
    """Block by block, the whole batch at once."""
    return changed(0, "eager", 1, feedback)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(
    ("execution", "slices", "feedback"),
    [
        # Each block's own matrix, made in the call of all or taken by it.
        *(("graph", 3, kind) for kind in ("stored", "regenerated", "sparse", "convolutional")),
        ("graph", 1, "regenerated"),
        ("xla", 3, "stored"),
        ("xla", 3, "learned"),
    ],
)
def test_calls_do_not_change_the_step(
    execution: str, slices: int, feedback: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    due = expected(feedback)
    monkeypatch.setattr(module, "LEAST_ALIKE", 2)
    assert distance(changed(3, execution, slices, feedback), due) <= 1e-7


@pytest.mark.usefixtures("from_two", "float64")
def test_the_last_block_is_never_one_of_those_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has no feedback matrix, even where it is the same layer as those before it."""
    changes = []
    for least in (2, 1000):
        monkeypatch.setattr(module, "LEAST_ALIKE", least)
        keras.utils.set_random_seed(0)
        layers = [keras.layers.Dense(3) for _ in range(5)]
        network = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten(), *layers])
        trainer = compiled(MemDFA(network), keras.optimizers.SGD(0.01))
        changes.append(change(trainer, steps=3, dtype="float64"))
    assert distance(*changes) <= 1e-7


@pytest.mark.usefixtures("from_two")
@pytest.mark.parametrize("in_tiles", [False, True])
def test_a_matrix_drawn_in_tiles_is_never_whole(
    in_tiles: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which it would be in the call of a block that is like others."""
    if in_tiles:
        monkeypatch.setattr(tiles, "TILE_BYTES", 3 * 4 * 16)
    whole = []
    own = exact_random.uniform

    def noted(seed: tf.Tensor, rows: int, columns: int) -> tf.Tensor:
        whole.extend([columns] if columns == 8 * 8 * 4 else [])
        return own(seed, rows, columns)

    monkeypatch.setattr(exact_random, "uniform", noted)
    trainer = compiled(MemDFA(net(), feedback="regenerated"), keras.optimizers.SGD(0.01))
    change(trainer, steps=1)
    assert bool(whole) != in_tiles


@pytest.mark.usefixtures("from_two")
def test_a_block_is_traced_once() -> None:
    calls = []

    class Counting(keras.layers.Conv2D):
        def call(self, inputs: tf.Tensor) -> tf.Tensor:
            calls.append(self.name)
            return super().call(inputs)

    Counting.__module__ = keras.layers.Conv2D.__module__
    counts = []
    for depth in (4, 12):
        keras.utils.set_random_seed(0)
        layers = [Counting(3, 3, padding="same", activation="tanh") for _ in range(depth)]
        network = keras.Sequential(
            [keras.Input((8, 8, 3)), *layers, keras.layers.Flatten(), keras.layers.Dense(3)]
        )
        trainer = compiled(MemDFA(network, slices=1), keras.optimizers.SGD(0.01))
        trainer.predict_step_bytes(16)  # what a layer keeps is found out beforehand
        calls.clear()
        change(trainer, steps=2)
        counts.append(len(calls))
    # Forward and replay, of the first block and of those alike.
    assert counts == [4, 4]


@pytest.mark.parametrize(
    ("of_one", "runs"),
    [
        ({}, 1),
        ({"activation": "relu"}, 2),
        ({"kernel_initializer": "zeros"}, 1),
        ({"kernel_regularizer": "l2"}, 2),
        ({"trainable": False}, 2),
    ],
)
@pytest.mark.usefixtures("from_two")
def test_what_is_alike(of_one: dict, runs: int) -> None:
    blocks = Chain.from_model(net(8, **of_one)).blocks
    assert len(set(module.alike(blocks).values())) == runs


@pytest.mark.usefixtures("from_two")
def test_the_next_block_waits_for_the_update_of_those_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever ran beside it would lie in memory beside the new values of several blocks."""
    waited, collect = [], step.Update.collect
    monkeypatch.setattr(step, "TOGETHER_BYTES", 2000)  # two blocks' gradients

    def noted(update: step.Update, *given: object) -> tf.Tensor | None:
        found = collect(update, *given)
        waited.extend([] if found is None else [found.op])
        return found

    monkeypatch.setattr(step.Update, "collect", noted)
    trainer = compiled(MemDFA(net(8), slices=1), keras.optimizers.SGD(0.01))
    change(trainer, steps=1)
    assert len(waited) == 3
    for update in waited[:-1]:  # what follows the last one is no call
        # By a token, which the replay of the block after it takes.
        readers = [reader for token in update._control_outputs for reader in consumers(token)]
        assert "StatefulPartitionedCall" in {reader.type for reader in readers}


def consumers(operation: tf.Operation) -> list[tf.Operation]:
    return [reader for output in operation.outputs for reader in output.consumers()]
