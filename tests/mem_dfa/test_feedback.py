"""Feedback that costs no memory: the same matrices, held in three ways."""

import gc
import itertools
import math
from collections.abc import Callable
from functools import cache
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from mem_dfa import ALGORITHMS, DFA, MODELS, MemDFA, UnsupportedError, profiling
from mem_dfa.feedback import regenerated as regenerated_kind
from mem_dfa.feedback import tiles
from mem_dfa.feedback.distributions import INITIALIZERS, for_kernel, for_matrix
from mem_dfa.feedback.matrices import KINDS
from mem_dfa.shapes.layer_bytes import variable_bytes
from tests.mem_dfa.comparison import EXECUTIONS, LOSS, compiled

ALIGNED = ("dfa", "mem_dfa")
# Both draw and project by the same function, whose XLA program is compiled in one of them.
EXECUTED = [pair for pair in itertools.product(ALIGNED, EXECUTIONS) if pair != ("dfa", "xla")]
WIDTHS = (70, 33, 70)


def network(widths: tuple[int, ...] = WIDTHS) -> keras.Model:
    keras.utils.set_random_seed(0)
    hidden = [keras.layers.Dense(width, activation="tanh") for width in widths]
    return keras.Sequential([keras.Input((6,)), *hidden, keras.layers.Dense(3)])


def data(count: int = 8) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    return generator.normal(size=(count, 6)).astype("float32"), generator.integers(3, size=count)


@cache
def trained(algorithm: str, execution: str, feedback: str = "stored") -> list[np.ndarray]:
    """The network's weights after three steps."""
    trainer = ALGORITHMS[algorithm](network(), seed=5, feedback=feedback)
    compiled(trainer, keras.optimizers.SGD(0.1), **EXECUTIONS[execution])
    for _ in range(3):
        trainer.train_on_batch(*data())
    return trainer.network.get_weights()


def drawing(trainer: keras.Model, execution: str = "eager") -> Callable[[], list[np.ndarray]]:
    """A function that gives B_i of every block but the last, which is traced once."""

    def draw(error: tf.Tensor) -> list[tf.Tensor]:
        blocks = trainer.chain.blocks[:-1]
        return [trainer.signal.matrices.project(block, error) for block in blocks]

    if execution != "eager":
        draw = tf.function(draw, jit_compile=execution == "xla")
    # Of each class by itself the projection is a row of the matrix.
    errors = tf.eye(trainer.chain.blocks[-1].width)
    return lambda: [matrix.numpy() for matrix in draw(errors)]


def all_matrices(trainer: keras.Model) -> list[np.ndarray]:
    """B_i of every block but the last."""
    return drawing(trainer)()


def assert_same(some: list[np.ndarray], others: list[np.ndarray]) -> None:
    for one, other in zip(some, others, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("tile_bytes", [tiles.TILE_BYTES, 3 * 4 * 16])
@pytest.mark.parametrize("execution", EXECUTIONS)
@pytest.mark.parametrize("initializer", ["uniform", "signs", "normal"])
def test_regenerated_matrices_are_the_stored_ones_to_the_bit(
    initializer: str, execution: str, tile_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiles, "TILE_BYTES", tile_bytes)  # as if the matrices were wide
    how, widths = {"feedback_initializer": initializer, "seed": 5}, WIDTHS[:2]
    stored = all_matrices(MemDFA(network(widths), **how))
    regenerated = MemDFA(network(widths), feedback="regenerated", **how)
    assert [matrix.shape for matrix in stored] == [(3, width) for width in widths]
    draw = drawing(regenerated, execution)
    for _ in range(2):  # another step draws the same
        assert_same(stored, draw())


@pytest.mark.parametrize(("algorithm", "execution"), EXECUTED)
def test_regenerated_feedback_trains_as_stored_to_the_bit(algorithm: str, execution: str) -> None:
    stored = trained(algorithm, execution)
    assert_same(stored, trained(algorithm, execution, "regenerated"))
    assert not np.array_equal(stored[0], network().get_weights()[0])


def test_a_wide_matrix_is_projected_tile_by_tile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiles, "TILE_BYTES", 3 * 4 * 16)
    assert tiles.tile_widths(3, 70) == [16, 16, 16, 16, 6]
    kinds = ("stored", "regenerated")
    both = (trained.__wrapped__("mem_dfa", "graph", kind) for kind in kinds)  # not from the cache
    for stored, regenerated in zip(*both, strict=True):
        np.testing.assert_allclose(stored, regenerated, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rows", [1, 5])
def test_the_error_signal_is_the_projection_of_any_number_of_rows(kind: str, rows: int) -> None:
    trainer = DFA(network(), feedback=kind)
    error = tf.random.stateless_normal((rows, 3), (1, 2))
    for block, matrix in zip(trainer.chain.blocks, all_matrices(trainer), strict=False):
        signal = tf.reshape(trainer.signal.project(block, error), [rows, -1])
        np.testing.assert_allclose(signal, error.numpy() @ matrix, rtol=1e-5, atol=1e-7)


def test_shared_feedback_is_the_first_columns_at_each_blocks_scale() -> None:
    stored = all_matrices(MemDFA(network(), seed=5))
    one, two, three = all_matrices(MemDFA(network(), seed=5, feedback="shared"))
    assert_same([stored[0]], [one])  # of the widest block, the first of them
    assert_same([one], [three])
    np.testing.assert_allclose(two, one[:, :33] * math.sqrt(70 / 33), rtol=1e-6)


@pytest.mark.parametrize(
    ("algorithm", "execution"), [pair for pair in EXECUTED if pair[1] != "eager"]
)
def test_shared_feedback_trains_alike_in_every_execution(algorithm: str, execution: str) -> None:
    eager = trained(algorithm, "eager", "shared")
    assert not np.array_equal(eager[0], network().get_weights()[0])
    for one, other in zip(eager, trained(algorithm, execution, "shared"), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


def test_feedback_bytes_count_what_is_held() -> None:
    units = sum(WIDTHS)
    expected = {
        "stored": 4 * 3 * units,
        "regenerated": 0,
        "shared": 4 * 3 * max(WIDTHS),
        "sparse": 5 * units,
        "regenerated_sparse": 0,
        "low_rank": 4 * 2 * (3 + units),
        "convolutional": 4 * 3 * units,
        "learned": 4 * 3 * units,
    }
    assert set(expected) == set(KINDS)
    for kind, held in expected.items():
        trainer = DFA(network(), feedback=kind)
        assert trainer.feedback_bytes == held
        variables = [v for v in trainer.variables if v.name.startswith("feedback")]
        if held == 0:
            assert [v.shape for v in variables] == [(len(WIDTHS), 2)]
        else:
            assert variable_bytes(variables) == held


@pytest.mark.parametrize("kind", KINDS)
def test_a_net_of_one_layer_needs_no_feedback(kind: str) -> None:
    trainer = DFA(network(()), feedback=kind)
    trainer.compile("sgd", LOSS, jit_compile=False)
    trainer.train_on_batch(*data())
    assert trainer.feedback_bytes == 0


@pytest.mark.parametrize("kind", KINDS)
def test_the_kind_and_the_seed_survive_saving(kind: str, tmp_path: Path) -> None:
    trainer = MemDFA(network(), feedback=kind, feedback_initializer="signs", seed=5)
    trainer.compile("sgd", LOSS, jit_compile=False)
    trainer.train_on_batch(*data())
    trainer.save(tmp_path / "trainer.keras")
    loaded = keras.saving.load_model(tmp_path / "trainer.keras")
    assert loaded.get_config()["feedback"] == kind
    assert_same(all_matrices(trainer), all_matrices(loaded))
    # Weights bring their feedback along, whatever the other trainer's seed.
    trainer.save_weights(tmp_path / "last.weights.h5")
    other = MemDFA(network(), feedback=kind, feedback_initializer="signs", seed=6)
    assert not np.array_equal(all_matrices(trainer)[0], all_matrices(other)[0])
    other.load_weights(tmp_path / "last.weights.h5")
    assert_same(all_matrices(trainer), all_matrices(other))


@pytest.mark.parametrize("kind", ["regenerate", "", 3])
@pytest.mark.parametrize("algorithm", ALIGNED)
def test_unknown_kinds_are_refused(algorithm: str, kind: object) -> None:
    with pytest.raises(UnsupportedError, match=f"{kind!r}: use one of stored, regenerated, shared"):
        ALGORITHMS[algorithm](network(), feedback=kind)


@pytest.mark.parametrize(
    "kind",
    ["regenerated", "shared", "sparse", "regenerated_sparse", "low_rank", "convolutional"],
)
def test_only_stored_feedback_takes_a_keras_initializer(kind: str) -> None:
    with pytest.raises(UnsupportedError, match=f"'{kind}'.*RandomNormal.*'uniform'.*'stored'"):
        MemDFA(network(), keras.initializers.RandomNormal(seed=3), feedback=kind)


CLASSES, WIDTH = 10, 4000
SCALES = {  # of B_i: standard deviation and largest value, as published
    "uniform": (WIDTH**-0.5 / 3**0.5, WIDTH**-0.5),
    "signs": ((3 * WIDTH) ** -0.5, (3 * WIDTH) ** -0.5),
    "he_normal": (0.4472, math.inf),
    "xavier_uniform": ((6 / 4010) ** 0.5 / 3**0.5, (6 / 4010) ** 0.5),
    "kaiming_uniform": (CLASSES**-0.5 / 3**0.5, CLASSES**-0.5),
    "normal": ((WIDTH * CLASSES) ** -0.5, math.inf),
}


@pytest.mark.parametrize("name", INITIALIZERS)
def test_feedback_has_the_published_scale(name: str) -> None:
    deviation, bound = SCALES[name]
    matrix = for_matrix(name, CLASSES, WIDTH).matrix((1, 2), CLASSES, WIDTH).numpy()
    assert matrix.std() == pytest.approx(deviation, rel=0.02)
    assert abs(matrix.mean()) < 4 * deviation / math.sqrt(matrix.size)
    assert np.abs(matrix).max() <= bound * (1 + 1e-6)
    assert np.unique(matrix).size == 2 if name == "signs" else np.unique(matrix).size > 30_000


KERNEL_DEVIATIONS = {  # of a 3x3 kernel from 25 to 16 channels
    "uniform": 225**-0.5 / 3**0.5,
    "signs": (3 * 225) ** -0.5,
    "he_normal": (2 / 225) ** 0.5,
    "xavier_uniform": (6 / 369) ** 0.5 / 3**0.5,
    "kaiming_uniform": 225**-0.5 / 3**0.5,
    "normal": (225 * 144) ** -0.5,
}


@pytest.mark.parametrize("name", INITIALIZERS)
def test_random_kernels_have_the_published_scale(name: str) -> None:
    kernel = np.asarray(for_kernel(name, 225, 144, False, seed=0)((3, 3, 25, 16)))
    assert kernel.shape == (3, 3, 25, 16)
    assert kernel.std() == pytest.approx(KERNEL_DEVIATIONS[name], rel=0.05)


def test_fa_draws_signs() -> None:
    trainer = ALGORITHMS["fa"](network(), feedback_initializer="signs")
    for variable in trainer.variables:
        if variable.name.startswith("feedback"):
            assert np.unique(np.abs(variable.numpy())).size == 1


def _shares(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    return np.histogram(values, edges)[0] / values.size


def test_draws_are_distributed_as_they_say() -> None:
    """Oracle: NumPy's own generator, in bins; each share is within five standard errors."""
    oracle = np.random.default_rng(0)
    rows, columns = 100, 4001
    for name, expected in {
        "uniform": oracle.uniform(-1, 1, rows * columns),
        "normal": oracle.normal(size=rows * columns),
        "signs": oracle.choice([-1.0, 1.0], rows * columns),
    }.items():
        drawn = for_matrix(name, 1, 1).draw((7, 8), rows, columns).numpy()
        assert drawn.shape == (rows, columns)
        edges = np.linspace(-4, 4, 33) + 0.01
        ours, theirs = _shares(drawn, edges), _shares(expected, edges)
        error = np.sqrt((ours + theirs + 1e-5) / drawn.size)
        assert (np.abs(ours - theirs) < 5 * error).all()
        # No row, and no column, follows another one.
        for lag in (1, 32, columns):
            flat = drawn.ravel()
            assert abs(np.corrcoef(flat[lag:], flat[:-lag])[0, 1]) < 5 / math.sqrt(drawn.size)


MATRIX_BYTES = 4 * 10 * 32 * 32 * 16


@cache
def measured(kind: str, layers: int) -> tuple[int, int]:
    """Of MEM-DFA on the conv net: bytes that the trainer and two steps leave, bytes of a step."""
    batch = tf.fill((16, 32, 32, 3), 0.5), tf.zeros((16,), tf.int32)
    gc.collect()  # what earlier tests left would go meanwhile
    before = tf.config.experimental.get_memory_info("CPU:0")["current"]
    trainer = MemDFA(MODELS["conv20"](layers=layers, seed=0), feedback=kind)
    trainer.compile(keras.optimizers.SGD(0.01), LOSS, jit_compile=False)
    for _ in range(2):
        trainer.train_on_batch(*batch)
    left = tf.config.experimental.get_memory_info("CPU:0")["current"] - before
    with profiling.trace(trainer) as timeline:
        trainer.train_on_batch(*batch)
    return left, timeline.step_requested_bytes


@pytest.mark.parametrize("kind", ["regenerated", "shared", "regenerated_sparse", "convolutional"])
def test_feedback_grows_neither_what_stays_nor_the_step_with_depth(kind: str) -> None:
    (few_left, few_step), (many_left, many_step) = (measured(kind, layers) for layers in (3, 9))
    # Constants would be a matrix a layer, draws at the start of the step as well. A layer's own
    # weights are 25 KiB, before the allocator rounds; it may give the one matrix that there is, or
    # the batch, a chunk of nearly twice its size.
    assert many_left - few_left < 2 * MATRIX_BYTES
    assert many_step <= few_step + 6 * 2**10


@pytest.mark.parametrize("kind", ["sparse", "learned"])
def test_feedback_that_is_held_makes_no_step_grow_with_depth(kind: str) -> None:
    few, many = (measured(kind, layers)[1] for layers in (3, 9))
    assert many <= few + 6 * 2**10
    # Of learned matrices the gradient of one is made at a time.
    beside = MATRIX_BYTES if kind == "learned" else 0
    assert many <= measured("stored", 9)[1] * 1.05 + beside


def test_without_order_every_matrix_would_be_drawn_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    ordered = measured("regenerated", 9)[1]
    monkeypatch.setattr(regenerated_kind, "after", lambda tensor, earlier: tensor)
    assert measured.__wrapped__("regenerated", 9)[1] >= ordered + 4 * MATRIX_BYTES
