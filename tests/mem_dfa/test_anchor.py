"""Calibrated feedback: every k-th step is exact; and those exact steps alone."""

from functools import cache
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from mem_dfa import ALGORITHMS, MODELS, UnsupportedError
from tests.mem_dfa.comparison import EXECUTIONS, LOSS, compiled, distance, recorded
from tests.mem_dfa.test_groups import network

ANCHORED = ("dfa", "mem_bdfa")
STEPS = 6


def batches() -> list[tuple[np.ndarray, np.ndarray]]:
    generator = np.random.default_rng(2)
    return [
        (generator.normal(size=(8, 6)).astype("float32"), generator.integers(3, size=8))
        for _ in range(STEPS)
    ]


def trained(algorithm: str, execution: str = "eager", **how) -> list[np.ndarray]:  # noqa: ANN003
    """The network's weights after one step on each of the batches."""
    trainer = ALGORITHMS[algorithm](network(), **how)
    compiled(trainer, keras.optimizers.SGD(0.1), **EXECUTIONS[execution])
    for x, y in batches():
        trainer.train_on_batch(x, y)
    return trainer.network.get_weights()


def change_of(weights: list[np.ndarray]) -> list[np.ndarray]:
    return [w - b for w, b in zip(weights, network().get_weights(), strict=True)]


@cache
def in_turns(algorithm: str, k: int) -> list[np.ndarray]:
    """Two trainers that share one net: the algorithm's own steps, and BP's every k-th."""
    net = network()
    own, exact = ALGORITHMS[algorithm](net), ALGORITHMS["bp"](net)
    for trainer in (own, exact):
        compiled(trainer, keras.optimizers.SGD(0.1), run_eagerly=True)
    for number, (x, y) in enumerate(batches(), start=1):
        (own if number % k else exact).train_on_batch(x, y)
    return change_of(net.get_weights())


@pytest.mark.parametrize("algorithm", ANCHORED)
def test_every_third_step_is_exact(algorithm: str) -> None:
    ours = change_of(trained(algorithm, anchor=3))
    assert distance(ours, in_turns(algorithm, 3)) <= 1e-5
    assert distance(change_of(trained(algorithm)), ours) > 0.1


@pytest.mark.parametrize(
    ("algorithm", "execution"), [("mem_dfa", "graph"), ("mem_dfa", "xla"), ("anchor_steps", "xla")]
)
def test_a_traced_step_holds_both(algorithm: str, execution: str) -> None:
    eager, traced = (change_of(trained(algorithm, how, anchor=3)) for how in ("eager", execution))
    assert distance(traced, eager) <= 1e-5


@pytest.mark.parametrize("algorithm", ["dfa", "mem_bdfa", "anchor_steps"])
def test_with_an_anchor_of_one_it_is_checkpointing(algorithm: str) -> None:
    for ours, theirs in zip(trained(algorithm, anchor=1), trained("checkpoint"), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-7)


def test_the_control_is_bp_on_every_third_batch_and_counts_no_other() -> None:
    trainer, exact = ALGORITHMS["anchor_steps"](network(), anchor=3), network()
    for one in (trainer, exact):
        compiled(one, keras.optimizers.Adam(0.01), run_eagerly=True)
    for number, (x, y) in enumerate(batches(), start=1):
        before = trainer.network.get_weights()
        trainer.train_on_batch(x, y)
        if number % 3:
            for weight, old in zip(trainer.network.get_weights(), before, strict=True):
                np.testing.assert_array_equal(weight, old)
        else:
            exact.train_on_batch(x, y)
    assert int(trainer.optimizer.iterations) == STEPS // trainer.batches_a_step == 2
    ours, theirs = (change_of(net.get_weights()) for net in (trainer.network, exact))
    assert distance(ours, theirs) <= 1e-5


BATCH = 16


def test_a_step_takes_what_its_own_pass_takes() -> None:
    """Of both passes in a traced step one alone runs."""

    def peaks(name: str, steps: int, **how) -> tuple[keras.Model, list[int]]:  # noqa: ANN003
        trainer = ALGORITHMS[name](MODELS["conv20"](layers=7, seed=0), **how)
        compiled(trainer, keras.optimizers.SGD(0.01))
        batch = tf.fill((BATCH, 32, 32, 3), 0.5), tf.zeros((BATCH,), tf.int32)
        return trainer, [t.step_requested_bytes for t in recorded(trainer, *batch, steps=steps)]

    trainer, (own, exact) = peaks("mem_dfa", 2, anchor=2)
    checkpoint, (alone,) = peaks("checkpoint", 1)
    assert exact == pytest.approx(alone, rel=0.01)
    assert own <= 0.7 * exact
    assert trainer.predict_step_bytes(BATCH) == checkpoint.predict_step_bytes(BATCH)
    assert exact == pytest.approx(trainer.predict_step_bytes(BATCH), rel=0.05)


def test_the_count_of_batches_survives_saving(tmp_path: Path) -> None:
    trainer = ALGORITHMS["dfa"](network(), anchor=4)
    trainer.compile(keras.optimizers.SGD(0.1), LOSS, run_eagerly=True)
    first, *rest = batches()
    trainer.train_on_batch(*first)
    trainer.save(tmp_path / "trainer.keras")
    loaded = keras.saving.load_model(tmp_path / "trainer.keras")
    for one in (trainer, loaded):
        for x, y in rest:
            one.train_on_batch(x, y)
    assert int(loaded.batches_seen) == STEPS
    for ours, theirs in zip(loaded.get_weights(), trainer.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("anchor", [0, -1, True, 2.0, "often"])
@pytest.mark.parametrize("algorithm", ["dfa", "anchor_steps"])
def test_what_is_no_number_of_batches_is_refused(algorithm: str, anchor: object) -> None:
    with pytest.raises(UnsupportedError, match=f"anchor={anchor!r}: give a whole number"):
        ALGORITHMS[algorithm](network(), anchor=anchor)
