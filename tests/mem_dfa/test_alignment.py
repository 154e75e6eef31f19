"""Angles between updates are measured beside a training that does not notice."""

import math
import random
from typing import Any

import keras
import numpy as np
import pytest

from mem_dfa import BP, DFA, Alignment, UnsupportedError
from mem_dfa.alignment import angle_degrees, gradients
from tests.mem_dfa.comparison import EXECUTIONS, blobs, compiled
from tests.mem_dfa.table import EXACT, TRUE_END, normalisation, reversible, trainer_by

EXAMPLES = 48
ROUNDING_DEGREES = 1e-4  # of float32


def network(algorithm: str, dropout: float = 0.0) -> keras.Model:
    """With statistics that move and masks, one of them drawn by Keras's global generator."""
    keras.utils.set_random_seed(0)
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((6,)),
            layers.Dense(16, activation="relu", name="first"),
            normalisation(algorithm),
            layers.Dropout(dropout, seed=1),
            *reversible(algorithm, 16),
            layers.Dense(12, activation="relu", name="second"),
            layers.Dropout(dropout),
            layers.Dense(3),
        ]
    )


def trained(algorithm: str, with_alignment: bool, **how: Any) -> list[np.ndarray]:
    """All that a training leaves behind: what it told, and what would be drawn next."""
    x, y = blobs(EXAMPLES)
    trainer = trainer_by(algorithm, network(algorithm, 0.3), seed=3)
    compiled(trainer, keras.optimizers.Adam(0.01), **how)
    optimizer = trainer.optimizer
    callbacks = [Alignment(x, y)] if with_alignment else []
    told = trainer.fit(x, y, batch_size=24, verbose=0, callbacks=callbacks).history
    assert trainer.optimizer is optimizer
    assert ("alignment_network" in told) == with_alignment
    own = [value for name, value in sorted(told.items()) if not name.startswith("alignment")]
    variables = (*trainer.variables, *optimizer.variables)
    drawn = [random.random(), np.random.random(), keras.random.uniform(())]
    return [np.array(value) for value in (*own, *variables, *drawn)]


@pytest.mark.parametrize(
    ("algorithm", "execution"),
    [*((name, "eager") for name in ("bp", "mem_dfa", "revnet", "microbatch")), ("dfa", "graph")],
)
def test_a_training_does_not_notice_it(algorithm: str, execution: str) -> None:
    """To the bit: weights, slots, statistics, feedback, seeds, metrics and all generators."""
    with_it, without = (trained(algorithm, has, **EXECUTIONS[execution]) for has in (True, False))
    for one, other in zip(with_it, without, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("algorithm", TRUE_END)
def test_exact_gradients_are_at_0_degrees_and_so_is_every_last_block(algorithm: str) -> None:
    x, y = blobs(EXAMPLES)
    trainer = compiled(trainer_by(algorithm, network(algorithm)), keras.optimizers.SGD(0.1))
    alignment = Alignment(x, y)
    history = trainer.fit(x, y, epochs=1, verbose=0, callbacks=[alignment]).history
    blocks = [row["block"] for row in alignment.measured]
    half = len(blocks) // 2
    assert blocks[:half] == blocks[half:]
    assert blocks[half - 2 : half] == [f"block_{half - 1:03d}", "network"]
    assert [row["after_epoch"] for row in alignment.measured] == half * [0] + half * [1]
    told = {row["block"]: row["angle_degrees"] for row in alignment.measured[half:]}
    assert {name: history[f"alignment_{name}"] for name in told} == {
        name: [angle] for name, angle in told.items()
    }
    *hidden, last = list(told.values())[:-1]
    assert last < ROUNDING_DEGREES
    assert all((angle < ROUNDING_DEGREES) == (algorithm in EXACT) for angle in hidden)


@pytest.mark.usefixtures("float64")
def test_dfa_is_at_the_angles_that_numpy_finds() -> None:
    """With biases and a regulariser, which both gradients have."""
    keras.utils.set_random_seed(0)
    decay = 0.01
    dense = keras.layers.Dense
    net = keras.Sequential(
        [
            keras.Input((6,)),
            dense(5, activation="tanh", kernel_regularizer=keras.regularizers.L2(decay)),
            dense(4, activation="tanh", bias_initializer="random_normal"),
            dense(3, bias_initializer="random_normal"),
        ]
    )
    trainer = compiled(DFA(net, seed=2), keras.optimizers.SGD(0.1))
    x, y = blobs(EXAMPLES)
    x = x.astype("float64")
    w1, c1, w2, c2, w3, c3 = net.get_weights()
    b1, b2 = (v.numpy() for v in trainer.signal.held)
    a1 = np.tanh(x @ w1 + c1)
    a2 = np.tanh(a1 @ w2 + c2)
    p = np.exp(a2 @ w3 + c3)
    p /= p.sum(axis=1, keepdims=True)
    # e = (p − y)/B
    e = (p - np.eye(3)[y]) / EXAMPLES

    def update(error: np.ndarray, a: np.ndarray, before: np.ndarray, penalty: Any) -> np.ndarray:
        local = error * (1 - a**2)
        return np.concatenate([(before.T @ local + penalty).ravel(), local.sum(axis=0)])

    # DFA: δ_i = e·B_i;  BP: δ_{i-1} = (δ_i ⊙ φ'_i) W_iᵀ
    exact_2 = e @ w3.T
    exact_1 = (exact_2 * (1 - a2**2)) @ w2.T
    due = []
    for signals, a, before, penalty in (
        ((e @ b1, exact_1), a1, x, 2 * decay * w1),
        ((e @ b2, exact_2), a2, a1, 0),
    ):
        one, other = (update(signal, a, before, penalty) for signal in signals)
        cosine = one @ other / np.linalg.norm(one) / np.linalg.norm(other)
        due.append(math.degrees(math.acos(cosine)))
    alignment = Alignment(x, y)
    alignment.set_model(trainer)
    alignment.on_epoch_begin(0)
    found = [row["angle_degrees"] for row in alignment.measured]
    np.testing.assert_allclose(found[:3], [*due, 0], atol=1e-6)
    assert min(due) > 10


def test_sample_weights_count() -> None:
    x, y = blobs(EXAMPLES)
    half = EXAMPLES // 2
    trainer = compiled(DFA(network(""), seed=1), keras.optimizers.SGD(0.1))
    weights = np.repeat([1.0, 0.0], half)
    weighted, _ = gradients(trainer, (x, y, weights))
    whole, _ = gradients(trainer, (x, y))
    apart = [angle_degrees([weighted[key]], [whole[key]]) for key in whole]
    assert max(apart) > 1


def test_what_an_algorithm_changes_by_itself_is_put_back() -> None:
    class Decaying(DFA):
        def train_step(self, data: Any) -> dict:
            logs = super().train_step(data)
            for variable in self.network.trainable_variables:
                variable.assign(0.5 * variable)
            return logs

    x, y = blobs(EXAMPLES)
    trainer = compiled(Decaying(network("")), keras.optimizers.Adam())
    before = trainer.network.get_weights()
    gradients(trainer, (x, y))
    for one, other in zip(trainer.network.get_weights(), before, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("one", "other", "due"),
    [
        ([1, 0], [2, 0], 0),
        ([1, 0], [0, 3], 90),
        ([1, 0], [-1, 0], 180),
        ([1, 0], [1, 1e-9], math.degrees(1e-9)),
        ([0, 0], [1, 0], math.nan),
        ([math.inf, 0], [1, 0], math.nan),
    ],
)
def test_angles_are_exact_at_both_ends(one: list, other: list, due: float) -> None:
    """In several arrays as in one."""
    whole = angle_degrees([np.array(one, float)], [np.array(other, float)])
    parts = [[np.array([value], float) for value in values] for values in (one, other)]
    np.testing.assert_allclose([whole, angle_degrees(*parts)], due, rtol=1e-12)


def test_blocks_that_are_frozen_have_no_angle() -> None:
    net = network("")
    net.get_layer("second").trainable = False
    alignment = Alignment(*blobs(EXAMPLES))
    alignment.set_model(compiled(BP(net), keras.optimizers.SGD()))
    alignment.on_epoch_begin(4)
    named = [(row["after_epoch"], row["block"]) for row in alignment.measured]
    assert named == [(4, "block_001"), (4, "block_003"), (4, "network")]


def test_a_model_without_an_algorithm_is_refused() -> None:
    x, y = blobs(EXAMPLES)
    model = compiled(network(""), keras.optimizers.SGD())
    with pytest.raises(UnsupportedError, match=r"received Sequential: give it to the fit of a tr"):
        model.fit(x, y, verbose=0, callbacks=[Alignment(x, y)])
