"""Checkpointing is BP: the same gradient, masks and statistics, however often a block runs."""

import re
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from mem_dfa import ALGORITHMS, BP, FA, MODELS, Checkpoint, CheckpointFA, UnsupportedError
from tests.mem_dfa.comparison import (
    EXECUTIONS,
    batch,
    blobs,
    change,
    compiled,
    distance,
    recorded,
)

DEPTH = 5
BATCH = 16  # of comparison.batch
NAMES = ["block_002", "block_004", "block_006"]
PLANS = {
    "root": {},
    "every": {"every": 2},
    "each": {"plan": "every"},
    "blocks": {"blocks": NAMES},
    "budget": {"budget": "200 KiB", "batch_size": BATCH},
    "revolve": {"plan": "revolve"},
    "rotor": {"plan": "rotor", "budget": "110 KiB", "batch_size": BATCH},
}


def deep_net() -> keras.Model:
    """Convolutions, each with BatchNormalization, ReLU and Dropout, on 8×8×3."""
    keras.utils.set_random_seed(2)
    layers = []
    for number in range(DEPTH):
        layers += [
            keras.layers.Conv2D(4, 3, padding="same", kernel_regularizer="l2"),
            keras.layers.BatchNormalization(),
            keras.layers.ReLU(),
            keras.layers.Dropout(0.3, seed=number),
        ]
    tail = [keras.layers.Flatten(), keras.layers.Dense(3)]
    return keras.Sequential([keras.Input((8, 8, 3)), *layers, *tail])


def momentum() -> keras.optimizers.Optimizer:
    return keras.optimizers.SGD(0.01, momentum=0.9)


def adam() -> keras.optimizers.Optimizer:
    # A bias before BatchNormalization has no gradient but rounding, which a smaller ε would blow up
    # to a whole step.
    return keras.optimizers.Adam(0.01, epsilon=1e-3)


def states(net: keras.Model) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Moving statistics, and the states of seed generators."""
    kinds = keras.layers.BatchNormalization, keras.layers.Dropout
    normalisations, dropouts = ([x for x in net.layers if isinstance(x, kind)] for kind in kinds)
    statistics = [value for layer in normalisations for value in layer.get_weights()[2:]]
    return statistics, [layer.seed_generator.state.numpy() for layer in dropouts]


@cache
def steps_of_bp(optimizer: Callable, dtype: str = "float32") -> tuple[list, tuple]:
    """What the first step changes and what the two after it do, and the states between them."""
    trainer = compiled(BP(deep_net()), optimizer(), run_eagerly=True)
    first, between = change(trainer, 1, dtype), states(trainer.network)
    return [first, change(trainer, 2, dtype)], between


# Plans that are given differ in nothing but their borders: one of them is traced.
@pytest.mark.parametrize(
    ("plan", "execution"),
    [
        *((plan, "graph") for plan in ("root", "every", "revolve")),
        *((plan, "eager") for plan in list(PLANS)[1:]),
    ],
)
def test_the_weights_are_those_of_bp_and_states_move_once_a_step(plan: str, execution: str) -> None:
    trainer = Checkpoint(deep_net(), **PLANS[plan])
    trainer = compiled(trainer, momentum(), **EXECUTIONS[execution])
    assert trainer.plan(BATCH).recomputed_operations > 0
    expected, (statistics, seeds) = steps_of_bp(momentum)
    assert all(np.any(weight != 0) for step in expected for weight in step[-2:])
    assert distance(change(trainer, 1), expected[0]) <= 1e-5
    ours = states(trainer.network)
    for one, other in zip(ours[0], statistics, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)
    assert sum(np.any(one != np.round(one)) for one in ours[0]) == 2 * DEPTH
    for one, other in zip(ours[1], seeds, strict=True):
        np.testing.assert_array_equal(one, other)
        assert one[1] == 1
    assert distance(change(trainer, 2), expected[1]) <= 1e-5


@pytest.mark.parametrize("plan", ["root", "every"])
@pytest.mark.usefixtures("float64")
def test_the_weights_are_those_of_bp_in_float64_with_adam(plan: str) -> None:
    trainer = compiled(Checkpoint(deep_net(), **PLANS[plan]), adam(), run_eagerly=True)
    for steps, expected in zip((1, 2), steps_of_bp(adam, "float64")[0], strict=True):
        assert distance(change(trainer, steps, "float64"), expected) <= 1e-10


def stopped_net(regularizer: str | None = None) -> keras.Model:
    """Whose first layers no gradient reaches, the very first one regularised or not."""
    keras.utils.set_random_seed(0)
    layers = keras.layers
    inputs = keras.Input((6,))
    first = layers.Dense(5, kernel_regularizer=regularizer, name="first")
    hidden = layers.Dense(5)(layers.BatchNormalization()(first(inputs)))
    hidden = layers.Dense(4)(keras.ops.stop_gradient(hidden))
    return keras.Model(inputs, layers.Dense(3)(layers.Dense(4)(hidden)))


def two_steps(trainer: keras.Model, execution: str = "graph") -> list[np.ndarray]:
    """Weights that no gradient reaches stay; statistics move."""
    compiled(trainer, keras.optimizers.SGD(0.1, momentum=0.9), **EXECUTIONS[execution])
    first = trainer.network.get_layer("first")
    before = first.get_weights()
    for _ in range(2):
        trainer.train_on_batch(*blobs(8))
    np.testing.assert_array_equal(before[0], first.get_weights()[0])
    return trainer.network.get_weights()


@pytest.fixture(scope="module")
def stopped_by_bp() -> list[np.ndarray]:
    return two_steps(BP(stopped_net()))


@pytest.mark.parametrize(
    ("plan", "execution"),
    [
        *(({"every": n}, "graph") for n in (1, 2, 3)),
        (PLANS["budget"], "graph"),
        ({"every": 1}, "eager"),
        ({"every": 1}, "xla"),
    ],
)
def test_what_no_gradient_reaches_stays_as_under_bp(
    plan: dict, execution: str, stopped_by_bp: list[np.ndarray]
) -> None:
    got = two_steps(Checkpoint(stopped_net(), **plan), execution)
    for expected, ours in zip(stopped_by_bp, got, strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-7)


def test_a_penalty_that_no_gradient_reaches_is_refused() -> None:
    trainer = compiled(Checkpoint(stopped_net("l2"), every=2), keras.optimizers.SGD(0.1))
    with pytest.raises(UnsupportedError, match="no gradient reaches block_001"):
        trainer.train_on_batch(*blobs(8))


def test_checkpointed_feedback_alignment_is_feedback_alignment() -> None:
    ours, expected = (
        change(compiled(trainer, momentum(), run_eagerly=True), 3)
        for trainer in (CheckpointFA(deep_net(), every=2, seed=4), FA(deep_net(), seed=4))
    )
    assert distance(ours, expected) <= 1e-5
    # Its error signals are not BP's.
    of_bp = [sum(steps) for steps in zip(*steps_of_bp(momentum)[0], strict=True)]
    assert distance(of_bp, expected) > 0.01


@pytest.mark.parametrize("algorithm", ["checkpoint", "checkpoint_fa"])
@pytest.mark.parametrize("eager", [False, True])
@pytest.mark.parametrize("plan", [{}, {"every": 2}, PLANS["revolve"]])
def test_blocks_run_as_often_as_the_plan_says(algorithm: str, eager: bool, plan: dict) -> None:
    """Counts executed convolutions by the memory each takes for its output."""
    trainer = ALGORITHMS[algorithm](MODELS["conv20"](layers=DEPTH, seed=0), **plan)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    trainer.compile(keras.optimizers.SGD(0.01), loss, jit_compile=False, run_eagerly=eager)
    x, y = tf.fill((BATCH, 32, 32, 3), 0.5), tf.zeros((BATCH,), tf.int32)
    (timeline,) = recorded(trainer, x, y, 1)
    tensors = timeline.tensors
    # Eagerly a convolution, its bias and its sigmoid each take memory of their own.
    is_convolution = tensors["requested_bytes"] >= BATCH * 32 * 32 * 16 * 4
    if eager:
        is_convolution &= tensors["op"].str.contains("convolution|Conv2D")
    runs = {
        phase: Counter(tensors.loc[is_convolution & (tensors["phase"] == phase), "block"])
        for phase in ("forward", "replay")
    }
    blocks = [f"block_{number:03d}" for number in range(1, DEPTH + 1)]
    assert runs["forward"] == dict.fromkeys(blocks, 1)
    planned = Counter(
        block
        for action in trainer.plan(BATCH).actions
        if action.kind in ("advance", "record")
        for block in blocks[action.start : min(action.stop, DEPTH)]
    )
    assert runs["replay"] == planned - runs["forward"]
    most = max(runs["replay"].values())
    assert (most > 1) == (plan == PLANS["revolve"])
    # What runs again waits for its turn.
    if not eager:
        assert timeline.step_requested_bytes <= 1.01 * trainer.predict_step_bytes(BATCH)


def test_a_budget_is_kept_or_refused_with_the_least_possible_one() -> None:
    with pytest.raises(UnsupportedError, match="the least that can be kept is") as refusal:
        Checkpoint(deep_net(), budget=1000, batch_size=BATCH)
    least = int(re.search(r"is (\d+) bytes", str(refusal.value))[1])
    trainer = Checkpoint(deep_net(), budget=least, batch_size=BATCH)
    compiled(trainer, momentum(), run_eagerly=True)
    assert trainer.predict_step_bytes(BATCH) <= least
    assert trainer.plan(BATCH).recomputed_operations > 0
    generous = Checkpoint(deep_net(), budget="1 GiB", batch_size=BATCH)
    assert generous.plan(BATCH).recomputed_operations == 0
    change(trainer, 1)


@pytest.mark.parametrize("size", [16, 32])
def test_a_budget_holds_for_the_batch_that_comes(size: int) -> None:
    trainer = compiled(Checkpoint(deep_net(), budget=1000), momentum())
    with pytest.raises(UnsupportedError, match="the least that can be kept is"):
        trainer.train_on_batch(np.zeros((size, 8, 8, 3), "float32"), np.zeros(size))


def test_a_budget_needs_batches_of_a_known_size() -> None:
    x, y = batch()
    trainer = compiled(Checkpoint(deep_net(), budget="1 MiB"), momentum())
    data = tf.data.Dataset.from_tensor_slices((x.astype("float32"), y))
    with pytest.raises(UnsupportedError, match=r"batch_size=\.\.\., or .* drop_remainder=True"):
        trainer.fit(data.batch(8), verbose=0)
    trainer = compiled(Checkpoint(deep_net(), budget="1 MiB"), momentum())
    trainer.fit(data.batch(8, drop_remainder=True), verbose=0)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"every": 2, "blocks": NAMES}, "every and blocks"),
        ({"every": 2, "budget": "1 MiB"}, "every and budget"),
        ({"blocks": NAMES, "budget": "1 MiB"}, "blocks and budget"),
        ({"every": 0}, "every=0: give a whole number of blocks, at least 1"),
        ({"every": 1.5}, "every=1.5"),
        ({"blocks": ["block_099"]}, "block_099.*block_001 to block_006"),
        ({"blocks": "block_002"}, "block_001 to block_006"),
        ({"plan": "best"}, "plan='best': use one of sqrt, every, revolve, rotor"),
        ({"plan": "revolve", "every": 2}, "plan='revolve' and every"),
        ({"plan": "rotor"}, "plan='rotor' and no budget"),
        ({"plan": "revolve", "budget": 9, "batch_size": 8}, "the least that can be kept is"),
        ({"budget": "much"}, "64 MiB"),
        ({"budget": 0}, "64 MiB"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(arguments: dict, says: str) -> None:
    with pytest.raises(UnsupportedError, match=says) as refusal:
        Checkpoint(deep_net(), **arguments)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("make", [Checkpoint, CheckpointFA])
@pytest.mark.parametrize("plan", ["every", "blocks", "budget", "rotor"])
def test_the_plan_is_saved_with_the_trainer(
    make: type[Checkpoint], plan: str, tmp_path: Path
) -> None:
    trainer = compiled(make(deep_net(), **PLANS[plan]), momentum())
    trainer.save(tmp_path / "trainer.keras")
    loaded = keras.saving.load_model(tmp_path / "trainer.keras")
    assert type(loaded) is make
    for name in ("every", "blocks", "budget", "batch_size"):
        assert getattr(loaded, name) == getattr(trainer, name) == PLANS[plan].get(name)
    assert loaded.plan(BATCH) == trainer.plan(BATCH)
