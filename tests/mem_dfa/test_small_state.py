"""Optimizers of small state: their equations, by NumPy, and their bytes beside Adam's."""

import functools
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from mem_dfa import BP, BPFused
from mem_dfa.optimizers import Adam8Bit, LowRankAdam, adam_8bit, eight_bits
from mem_dfa.optimizers.adam_8bit import LEAST
from mem_dfa.shapes.layer_bytes import variable_bytes
from tests.mem_dfa.comparison import (
    EXECUTIONS,
    assert_goes_on_after_saving,
    blobs,
    change,
    compiled,
    distance,
    operations_before,
    recorded,
    small_network,
)

STEPS, RATE, BETAS, EPSILON = 5, 0.1, (0.9, 0.999), 1e-7
SHAPES = {"vector": (7,), "small": (8, 9), "large": (3, LEAST // 2 + 5), "parts": (70, 3, 32)}


def nearest(values: np.ndarray, is_signed: bool) -> np.ndarray:
    """What values are kept as: of each block's codes, times its largest, the nearest.

    Without a sign it is the nearest positive one of a positive value.
    """
    known = eight_bits.values(is_signed).astype("float64")
    rows = np.zeros((-(-values.size // eight_bits.BLOCK), eight_bits.BLOCK))
    rows.ravel()[: values.size] = values.ravel()
    largest = np.abs(rows).max(axis=1, keepdims=True)
    parts = np.divide(rows, largest, out=np.zeros_like(rows), where=largest > 0)
    codes = np.abs(parts[..., None] - known).argmin(axis=-1)
    codes = codes if is_signed else np.maximum(codes, parts > 0)
    return (known[codes] * largest).ravel()[: values.size].reshape(values.shape)


@pytest.mark.parametrize("is_signed", [True, False])
def test_codes_are_the_nearest(is_signed: bool) -> None:
    known = eight_bits.values(is_signed)
    assert len(np.unique(known)) == 256
    assert known[eight_bits.zero(is_signed)] == 0
    generator = np.random.default_rng(0)
    sizes = 10.0 ** generator.uniform(-8, 0, size=(7, 333))
    signs = generator.choice([-1, 1] if is_signed else [1], size=sizes.shape)
    values = (signs * sizes).astype("float32")
    values[0, :40] = 0
    codes, scale = eight_bits.encoded(tf.constant(values), is_signed)
    assert codes.dtype == tf.uint8
    ours = eight_bits.decoded(codes, scale, values.shape, is_signed)
    np.testing.assert_allclose(ours, nearest(values, is_signed), rtol=1e-3, atol=1e-9)


def gradients(shape: tuple[int, ...]) -> list[np.ndarray]:
    generator = np.random.default_rng(1)
    return [generator.normal(size=shape) for _ in range(STEPS)]


def moved(
    optimizer: keras.optimizers.Optimizer, shape: tuple[int, ...], dtype: str = "float32"
) -> np.ndarray:
    """A variable of zeros after the steps."""
    variable = keras.Variable(np.zeros(shape, dtype), dtype=dtype)
    for gradient in gradients(shape):
        optimizer.apply([tf.constant(gradient, dtype)], [variable])
    return variable.numpy()


@pytest.mark.parametrize("name", SHAPES)
def test_steps_of_8_bits_are_those_of_the_equations(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adam_8bit, "PART", 1000)
    shape = SHAPES[name]
    assert name != "parts" or adam_8bit._rows_of_a_part(shape) == 8
    is_coded = np.prod(shape) >= LEAST
    m, v, expected = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    for step, gradient in enumerate(gradients(shape), start=1):
        m = BETAS[0] * m + (1 - BETAS[0]) * gradient
        v = BETAS[1] * v + (1 - BETAS[1]) * gradient**2
        correction = np.sqrt(1 - BETAS[1] ** step) / (1 - BETAS[0] ** step)
        expected -= RATE * correction * m / (np.sqrt(v) + EPSILON)
        if is_coded:
            m, v = nearest(m, True), nearest(v, False)
    ours = moved(Adam8Bit(RATE), shape)
    # A value in the middle between two codes may go either way.
    far = np.abs(ours - expected) > 1e-4 * np.abs(expected).max()
    assert far.mean() <= 0.002
    adam = moved(keras.optimizers.Adam(RATE), shape)
    if is_coded:
        assert 0 < np.abs(ours - adam).max() < 0.2 * np.abs(adam).max()
    else:
        np.testing.assert_allclose(ours, adam, rtol=1e-5)


def test_small_gradients_beside_large_ones_do_not_leap() -> None:
    """A gradient of a ten-thousandth has a code in m; that of its square in v must not be 0."""

    def steps(optimizer: keras.optimizers.Optimizer) -> float:
        variable = keras.Variable(np.zeros((64, 64), "float32"))
        for first in (1e-2, 0.0):
            gradient = np.full((64, 64), 100.0, "float32")
            gradient[0, 0] = first
            optimizer.apply([tf.constant(gradient)], [variable])
        return float(variable.numpy()[0, 0])

    assert 0.5 <= steps(Adam8Bit(0.001)) / steps(keras.optimizers.Adam(0.001)) <= 1.1


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("shape", [(12, 40), (40, 12), (3, 4, 40)])
def test_steps_of_low_rank_are_those_of_the_equations(shape: tuple[int, ...]) -> None:
    rank, every, scale, epsilon = 3, 2, 0.5, 1e-6
    directions = np.zeros((1, rank))
    for number, gradient in enumerate(gradients(shape)):
        matrix = gradient.reshape(-1, shape[-1])
        is_tall = matrix.shape[0] > matrix.shape[1]
        matrix = matrix.T if is_tall else matrix
        if number == 0:
            m = v = np.zeros((rank, matrix.shape[1]))
            expected = np.zeros(shape)
        if number % every == 0:
            before, directions = directions, np.linalg.svd(matrix, full_matrices=False)[0][:, :rank]
            directions = np.where((directions * before).sum(axis=0) < 0, -directions, directions)
        projected = directions.T @ matrix
        m = BETAS[0] * m + (1 - BETAS[0]) * projected
        v = BETAS[1] * v + (1 - BETAS[1]) * projected**2
        correction = np.sqrt(1 - BETAS[1] ** (number + 1)) / (1 - BETAS[0] ** (number + 1))
        step = directions @ (correction * m / (np.sqrt(v) + epsilon))
        expected -= RATE * scale * (step.T if is_tall else step).reshape(shape)
    given = {"rank": rank, "refreshed_every": every, "scale": scale, "epsilon": epsilon}
    ours = moved(LowRankAdam(RATE, **given), shape, "float64")
    assert np.linalg.norm(ours - expected) <= 1e-10 * np.linalg.norm(expected)


def test_vectors_have_the_steps_of_adam() -> None:
    ours = moved(LowRankAdam(RATE, rank=2, epsilon=EPSILON), (7,))
    np.testing.assert_allclose(ours, moved(keras.optimizers.Adam(RATE), (7,)), rtol=1e-5)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_low_rank_steps_in_short_numbers(dtype: str) -> None:
    """To their rounding, as in float32; the first, in which no v is lost in float16."""

    def first(dtype: str) -> np.ndarray:
        variable = keras.Variable(np.zeros((12, 40)), dtype=dtype)
        (gradient, *_) = gradients((12, 40))
        optimizer = LowRankAdam(RATE, rank=3)
        optimizer.apply([tf.constant(gradient, dtype)], [variable])
        return variable.numpy().astype("float32")

    exact = first("float32")
    assert np.linalg.norm(first(dtype) - exact) <= 0.05 * np.linalg.norm(exact)


def state_bytes(optimizer: keras.optimizers.Optimizer, shape: tuple[int, ...]) -> int:
    """Of what is held beside the variable, the rate and the count of steps."""
    optimizer.build([keras.Variable(np.zeros(shape, "float32"))])
    return variable_bytes(optimizer.variables) - 4 - 8


def test_state_takes_the_bytes_that_are_said() -> None:
    shape, rank = (256, 1024), 16
    adam = state_bytes(keras.optimizers.Adam(), shape)
    values = 256 * 1024
    assert adam == 8 * values
    assert state_bytes(Adam8Bit(), shape) == 2 * values + 2 * 4 * values // eight_bits.BLOCK
    assert state_bytes(LowRankAdam(rank=rank), shape) == 4 * rank * (256 + 2 * 1024)
    # Of a rank that saves nothing, as Adam.
    assert state_bytes(LowRankAdam(rank=255), shape) == adam


def test_one_large_variable_at_a_time_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adam_8bit, "PART", 1024)
    variables, optimizer = [keras.Variable(np.zeros((64, 96), "float32")) for _ in "ab"], Adam8Bit()
    optimizer.build(variables)
    step = tf.function(lambda *given: optimizer.apply(given, variables), autograph=False)
    graph = step.get_concrete_function(*[tf.TensorSpec((64, 96))] * 2).graph
    first, second = (op for op in graph.get_operations() if op.type in ("While", "StatelessWhile"))
    assert first in operations_before(second.outputs[0])


MADE = {
    "8 bits": lambda: Adam8Bit(0.01),
    "low rank": lambda: LowRankAdam(0.03, rank=2, refreshed_every=2),
}


def test_a_step_of_8_bits_takes_no_more_than_adams() -> None:
    def requested(optimizer: keras.optimizers.Optimizer) -> int:
        keras.utils.set_random_seed(0)
        dense = [keras.layers.Dense(2048, "relu") for _ in range(2)]
        trainer = BP(keras.Sequential([keras.Input((2048,)), *dense, keras.layers.Dense(3)]))
        compiled(trainer, optimizer)
        x, y = tf.zeros((8, 2048)), tf.zeros((8,), tf.int32)
        (timeline,) = recorded(trainer, x, y, 1)
        return timeline.step_requested_bytes

    assert requested(Adam8Bit()) <= requested(keras.optimizers.Adam())


@pytest.mark.parametrize("name", MADE)
def test_steps_do_not_depend_on_the_execution(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adam_8bit, "PART", 1024)

    def steps(wrapped: Callable) -> np.ndarray:
        variable, optimizer = keras.Variable(np.zeros((64, 96), "float32")), MADE[name]()
        optimizer.build([variable])
        step = wrapped(lambda gradient: optimizer.apply([gradient], [variable]))
        for gradient in gradients((64, 96)):
            step(tf.constant(gradient, tf.float32))
        return variable.numpy()

    eager = steps(lambda run: run)
    for is_compiled in (False, True):
        found = steps(functools.partial(tf.function, jit_compile=is_compiled, autograph=False))
        assert np.linalg.norm(found - eager) <= 1e-3 * np.linalg.norm(eager)


@pytest.mark.parametrize("execution", EXECUTIONS)
@pytest.mark.parametrize("name", MADE)
def test_gradients_of_several_batches_are_gathered(name: str, execution: str) -> None:
    """Two halves of a batch move what the batch does."""
    x, y = blobs(64)
    gathering, whole = MADE[name](), MADE[name]()
    gathering.gradient_accumulation_steps = 2
    trainers = [compiled(BP(wide()), one, **EXECUTIONS[execution]) for one in (gathering, whole)]
    before = trainers[0].network.get_weights()
    for _ in range(2):
        for half in (slice(0, 32), slice(32, 64)):
            trainers[0].train_on_batch(x[half], y[half])
        trainers[1].train_on_batch(x, y)
    moves = [
        [w - b for w, b in zip(trainer.network.get_weights(), before, strict=True)]
        for trainer in trainers
    ]
    assert distance(*moves) <= 1e-3


def wide() -> keras.Sequential:
    keras.utils.set_random_seed(0)
    sizes = [keras.layers.Dense(96, "relu"), keras.layers.Dense(64, "relu"), keras.layers.Dense(3)]
    return keras.Sequential([keras.Input((6,)), *sizes])


@pytest.mark.parametrize("name", MADE)
def test_they_learn_block_by_block_and_go_on_after_saving(name: str, tmp_path: Path) -> None:
    x, y = blobs()
    trainer = compiled(BPFused(wide()), MADE[name]())
    trainer.fit(x, y, epochs=3, batch_size=16, verbose=0)
    assert trainer.evaluate(x, y, verbose=0)[1] >= 0.9
    assert_goes_on_after_saving(trainer, (x[:16], y[:16]), tmp_path)
    whole, fused = (
        change(compiled(kind(small_network()), MADE[name]()), 2, data=(x[:16], y[:16]))
        for kind in (BP, BPFused)
    )
    assert distance(fused, whole) <= 1e-4


@pytest.mark.parametrize("given", [{"rank": 0}, {"rank": 1.5}, {"refreshed_every": 0}])
def test_bad_arguments_are_refused(given: dict) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(given))}=.*give 1, 2"):
        LowRankAdam(**given)
