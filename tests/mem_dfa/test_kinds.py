"""Each kind of feedback computes what its equation says, and holds what it says."""

import math
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from mem_dfa import ALGORITHMS, DFA, UnsupportedError
from mem_dfa.feedback.matrices import KINDS
from mem_dfa.feedback.sparse import class_type
from mem_dfa.graph import exact_random
from tests.mem_dfa.comparison import LOSS, LOSS_FLOAT64, change, compiled, distance
from tests.mem_dfa.test_mathematics import convolve, kernel_gradient, softmax

layers = keras.layers
ALIGNED = ("dfa", "mem_dfa")
TOLD = {
    "sparse": {"nonzeros": 2},
    "regenerated_sparse": {"nonzeros": 2},
    "low_rank": {"rank": 2},
    "learned": {"feedback_decay": 0.125},
}
# How `stored`, `regenerated` and `shared` train alike is in test_feedback.
NEWER = ("sparse", "regenerated_sparse", "low_rank", "convolutional", "learned")
DRAWN_FROM = {"regenerated": "stored", "regenerated_sparse": "sparse"}
# The first two are exact in float32, which Keras holds a penalty in.
RATE, WEIGHT_DECAY, STEPS = 0.5, 2**-6, 2


def trainer_of(kind: str, network: keras.Model, algorithm: str = "dfa", **how) -> keras.Model:  # noqa: ANN003
    return ALGORITHMS[algorithm](network, feedback=kind, **{**TOLD.get(kind, {}), **how})


def dense_net(classes: int = 4) -> keras.Model:
    keras.utils.set_random_seed(0)
    penalty = keras.regularizers.L2(WEIGHT_DECAY)
    return keras.Sequential(
        [
            keras.Input((7,)),
            layers.Dense(6, "tanh", bias_initializer="random_normal"),
            layers.Dense(5, "tanh", kernel_regularizer=penalty, bias_regularizer=penalty),
            layers.Dense(classes),
        ]
    )


def convolutional_net() -> keras.Model:
    """With an odd kernel larger than the image in one direction, and an even one."""
    keras.utils.set_random_seed(0)
    penalty = keras.regularizers.L2(WEIGHT_DECAY)
    return keras.Sequential(
        [
            keras.Input((4, 4, 2)),
            layers.Conv2D(3, 3, padding="same", activation="tanh", kernel_regularizer=penalty),
            layers.Conv2D(2, 2, padding="same", activation="tanh", bias_initializer="ones"),
            layers.Flatten(),
            layers.Dense(3),
        ]
    )


def written_out(trainer: keras.Model, kind: str) -> list[np.ndarray]:
    """B_i of each hidden block, by the definition of its kind from what is held."""
    if kind in DRAWN_FROM:
        given = {"seed": trainer.seed, **TOLD.get(kind, {})}
        kind = DRAWN_FROM[kind]
        trainer = DFA(trainer.network, feedback=kind, **given)
    held = [v.numpy() for v in trainer.variables if v.name.startswith("feedback")]
    hidden = trainer.chain.blocks[:-1]
    classes = trainer.chain.blocks[-1].width
    if kind == "sparse":
        matrices = [np.zeros((classes, block.width)) for block in hidden]
        for number, matrix in enumerate(matrices):
            values, chosen = held[2 * number : 2 * number + 2]
            for k, unit in np.ndindex(values.shape):
                matrix[chosen[k, unit], unit] += values[k, unit]
        return matrices
    if kind == "low_rank":
        return [held[0] @ factor for factor in held[1:]]
    if kind == "shared":
        return [held[0][:, : b.width] / math.sqrt(b.width) for b in hidden]  # U(±1/√n)
    if kind == "convolutional":
        return [
            convolved(matrix, b.atoms[0].after.shape[1:3]) if matrix.ndim > 2 else matrix
            for matrix, b in zip(held, hidden, strict=True)
        ]
    return held


def convolved(kernel: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """What SAME convolution makes of constant images of each class, unit by unit."""
    classes, height, width, channels = kernel.shape
    found = np.zeros((classes, *size, channels))
    for row, column, p, q in np.ndindex(*size, height, width):
        there = row + p - (height - 1) // 2, column + q - (width - 1) // 2
        if 0 <= there[0] < size[0] and 0 <= there[1] < size[1]:
            found[:, row, column] += kernel[:, p, q]
    return found.reshape(classes, -1)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("algorithm", ALIGNED)
def test_a_dense_net_equals_numpy(kind: str, algorithm: str) -> None:
    """Two steps, so that learned matrices have changed, of which some has gone."""
    net, decay = dense_net(), TOLD.get(kind, {}).get("feedback_decay", 0.0)
    trainer = trainer_of(kind, net, algorithm, seed=2)
    compiled(trainer, keras.optimizers.SGD(RATE), run_eagerly=True)
    b1, b2 = written_out(trainer, kind)
    x = np.random.default_rng(0).normal(size=(8, 7))
    y = np.random.default_rng(1).integers(4, size=8)
    w1, c1, w2, c2, w3, c3 = net.get_weights()
    for _ in range(STEPS):
        trainer.train_on_batch(x, y)
        a1 = np.tanh(x @ w1 + c1)
        a2 = np.tanh(a1 @ w2 + c2)
        error = (softmax(a2 @ w3 + c3) - np.eye(4)[y]) / 8
        d1, d2 = (error @ b1) * (1 - a1**2), (error @ b2) * (1 - a2**2)
        w3, c3 = w3 - RATE * a2.T @ error, c3 - RATE * error.sum(0)
        w2 = w2 - RATE * (a1.T @ d2 + 2 * WEIGHT_DECAY * w2)
        c2 = c2 - RATE * (d2.sum(0) + 2 * WEIGHT_DECAY * c2)
        w1, c1 = w1 - RATE * x.T @ d1, c1 - RATE * d1.sum(0)
        if kind == "learned":
            b1, b2 = b1 - RATE * error.T @ a1, b2 - RATE * error.T @ a2
            b1, b2, w1, w2 = ((1 - decay) * matrix for matrix in (b1, b2, w1, w2))
    for got, want in zip(net.get_weights(), (w1, c1, w2, c2, w3, c3), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-10, atol=1e-12)
    for got, want in zip(written_out(trainer, kind), (b1, b2), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-10, atol=1e-12)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("kind", ["convolutional", "learned", "sparse"])
@pytest.mark.parametrize("algorithm", ALIGNED)
def test_a_convolutional_net_equals_numpy(kind: str, algorithm: str) -> None:
    net = convolutional_net()
    trainer = trainer_of(kind, net, algorithm, seed=2)
    compiled(trainer, keras.optimizers.SGD(RATE), run_eagerly=True)
    b1, b2 = written_out(trainer, kind)
    x = np.random.default_rng(0).normal(size=(6, 4, 4, 2))
    y = np.random.default_rng(1).integers(3, size=6)
    w1, c1, w2, c2, w3, c3 = net.get_weights()
    for _ in range(STEPS):
        trainer.train_on_batch(x, y)
        before, between = (
            np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0))),
            lambda a: np.pad(a, ((0, 0), (0, 1), (0, 1), (0, 0))),
        )
        a1 = np.tanh(convolve(before, w1) + c1)
        a2 = np.tanh(convolve(between(a1), w2) + c2)
        rows = a2.reshape(6, -1)
        error = (softmax(rows @ w3 + c3) - np.eye(3)[y]) / 6
        d1 = (error @ b1).reshape(a1.shape) * (1 - a1**2)
        d2 = (error @ b2).reshape(a2.shape) * (1 - a2**2)
        w3, c3 = w3 - RATE * rows.T @ error, c3 - RATE * error.sum(0)
        w2, c2 = w2 - RATE * kernel_gradient(between(a1), d2, 2), c2 - RATE * d2.sum((0, 1, 2))
        w1 = w1 - RATE * (kernel_gradient(before, d1, 3) + 2 * WEIGHT_DECAY * w1)
        c1 = c1 - RATE * d1.sum((0, 1, 2))
        if kind == "learned":
            decay = TOLD[kind]["feedback_decay"]
            b1, b2 = b1 - RATE * error.T @ a1.reshape(6, -1), b2 - RATE * error.T @ rows
            b1, b2, w1, w2 = ((1 - decay) * weights for weights in (b1, b2, w1, w2))
    for got, want in zip(net.get_weights(), (w1, c1, w2, c2, w3, c3), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-10, atol=1e-12)


def as_dfa(kind: str, optimizer: keras.optimizers.Optimizer, dtype: str) -> float:
    """How far MEM-DFA's change, in slices, is from DFA's."""
    changes = []
    for algorithm in ("mem_dfa", "dfa"):
        how = {"slices": 3} if algorithm == "mem_dfa" else {}
        keras.utils.set_random_seed(0)
        body = [layers.Conv2D(4, 3, activation="tanh"), layers.MaxPooling2D()]
        net = keras.Sequential([keras.Input((8, 8, 3)), *body, layers.Flatten(), layers.Dense(3)])
        trainer = trainer_of(kind, net, algorithm, **how)
        again = type(optimizer).from_config(optimizer.get_config())
        changes.append(change(compiled(trainer, again, run_eagerly=True), 3, dtype))
    return distance(*changes)


@pytest.mark.parametrize("kind", NEWER)
def test_mem_dfa_is_dfa_with_each_kind(kind: str) -> None:
    assert as_dfa(kind, keras.optimizers.SGD(0.05), "float32") <= 1e-5


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("kind", NEWER)
def test_mem_dfa_is_dfa_with_each_kind_in_float64(kind: str) -> None:
    assert as_dfa(kind, keras.optimizers.Adam(0.01), "float64") <= 1e-7
    assert as_dfa(kind, keras.optimizers.SGD(0.01, 0.9), "float64") <= 1e-7


@pytest.mark.parametrize("execution", ["eager", "graph", "xla"])
def test_regenerated_sparse_is_sparse_to_the_bit(execution: str) -> None:
    net = dense_net(classes=10)
    stored, regenerated = (
        trainer_of(kind, net, nonzeros=3).signal.matrices
        for kind in ("sparse", "regenerated_sparse")
    )

    def draw(error: tf.Tensor) -> list[tf.Tensor]:
        blocks = regenerated.blocks.values()
        return [regenerated.project(block, error) for block in blocks]

    if execution != "eager":
        draw = tf.function(draw, jit_compile=execution == "xla")
    errors = tf.eye(10)
    drawn = draw(errors)
    for block, found in zip(stored.blocks.values(), drawn, strict=True):
        np.testing.assert_array_equal(stored.project(block, errors), found)


@pytest.mark.parametrize("nonzeros", [1, 2, 10])
def test_each_unit_sees_as_many_classes_as_are_said(nonzeros: int) -> None:
    classes, width = 10, 4000
    chosen = exact_random.choices(tf.constant([3, 4], tf.int64), classes, nonzeros, width).numpy()
    assert chosen.shape == (nonzeros, width)
    assert all(np.unique(column).size == nonzeros for column in chosen.T)
    # Each class as often as another, within five standard errors.
    counts, due = np.bincount(chosen.ravel(), minlength=classes), width * nonzeros / classes
    assert counts.shape == (classes,)
    assert (abs(counts - due) < 5 * math.sqrt(due)).all()


def test_sparse_feedback_has_the_published_scale_and_a_byte_a_class() -> None:
    net = keras.Sequential([keras.Input((7,)), layers.Dense(4000), layers.Dense(10)])
    for nonzeros in (1, 3):
        trainer = DFA(net, feedback="sparse", nonzeros=nonzeros)
        values, chosen = (v.numpy() for v in trainer.signal.held)
        bound = (10 * nonzeros) ** 0.25 / math.sqrt(4000)
        assert bound * 0.99 < abs(values).max() <= bound
        assert values.std() == pytest.approx(bound / math.sqrt(3), rel=0.02)
        assert chosen.dtype == np.uint8
        assert trainer.feedback_bytes == 5 * nonzeros * 4000
    assert class_type(256) is tf.uint8
    assert class_type(257) is tf.uint16
    assert class_type(2**16 + 1) is tf.uint32


@pytest.mark.parametrize("kind", ["low_rank", "convolutional"])
def test_entries_are_as_large_as_stored_ones(kind: str) -> None:
    body = [layers.Conv2D(32, 3, padding="same", activation="relu"), layers.Flatten()]
    net = keras.Sequential([keras.Input((16, 16, 3)), *body, layers.Dense(100)])
    (block,) = DFA(net).signal.matrices.blocks.values()
    inside = np.zeros((16, 16, 32), bool)
    inside[2:-2, 2:-2] = True
    stored, other = (
        DFA(net, feedback=name).signal.matrices.project(block, tf.eye(100)).numpy()
        for name in ("stored", kind)
    )
    assert other[:, inside.ravel()].std() == pytest.approx(stored.std(), rel=0.1)


def test_convolutional_feedback_is_as_large_for_an_image_of_any_size() -> None:
    held = set()
    for size in (8, 16):
        body = [layers.Conv2D(4, 3, padding="same"), layers.MaxPooling2D(), layers.Flatten()]
        net = keras.Sequential([keras.Input((size, size, 3)), *body, layers.Dense(5)])
        held.add(DFA(net, feedback="convolutional").feedback_bytes)
    assert held == {4 * 5 * 3 * 3 * 4}


@pytest.mark.parametrize("rank", [1, 3])
def test_convolutional_feedback_takes_any_number_of_axes(rank: int) -> None:
    """Of one axis and of three, by Keras's convolution of the constant image."""
    kind, convolve_by = ((layers.Conv1D, tf.nn.conv1d), (layers.Conv3D, tf.nn.conv3d))[rank == 3]
    body = [kind(3, 4, padding="same"), layers.Flatten(), layers.Dense(4)]
    net = keras.Sequential([keras.Input((5,) * rank + (2,)), *body])
    trainer = DFA(net, feedback="convolutional")
    (kernel,) = trainer.signal.held
    error = tf.random.stateless_normal((2, 4), (1, 2))
    constant = tf.reshape(error, (2, *(1,) * rank, 4)) * tf.ones((1, *(5,) * rank, 1))
    taps = tf.transpose(kernel.value, [*range(1, rank + 1), 0, rank + 1])
    strides = 1 if rank == 1 else [1] * (rank + 2)
    due = convolve_by(constant, taps, strides, "SAME")
    found = trainer.signal.project(trainer.chain.blocks[0], error)
    np.testing.assert_allclose(found, tf.reshape(due, (2, -1)), rtol=1e-4, atol=1e-6)


def test_learned_matrices_are_weights_with_slots_and_resume(tmp_path: Path) -> None:
    x, y = np.random.default_rng(0).normal(size=(8, 7)), np.arange(8) % 4
    trainer = ALGORITHMS["asrbp"](dense_net(), feedback_decay=0.01)
    trainer.compile(keras.optimizers.Adam(0.01), LOSS, run_eagerly=True)
    trainer.train_on_batch(x, y)
    matrices = trainer.signal.held
    shapes = [tuple(v.shape) for v in trainer.optimizer.variables]
    assert [v.shape for v in matrices] == [(4, 6), (4, 5)]
    assert all(shapes.count(tuple(v.shape)) == 2 for v in matrices)  # Adam's two moments
    assert {id(v) for v in matrices} <= {id(v) for v in trainer.trainable_variables}
    trainer.save(tmp_path / "trainer.keras")
    loaded = keras.models.load_model(tmp_path / "trainer.keras")
    loaded.run_eagerly = True
    for one in (trainer, loaded):
        one.train_on_batch(x, y)
    for got, due in zip(loaded.get_weights(), trainer.get_weights(), strict=True):
        np.testing.assert_allclose(got, due, rtol=1e-6, atol=1e-7)


@pytest.mark.usefixtures("float64")
def test_a_matrix_waits_while_its_block_is_frozen() -> None:
    net = dense_net()
    trainer = ALGORITHMS["mem_dfa"](net, feedback="learned", feedback_decay=0.1)
    net.layers[0].trainable = False
    trainer.compile(keras.optimizers.SGD(0.1), LOSS_FLOAT64, run_eagerly=True)
    before = [v.numpy() for v in trainer.signal.held]
    trainer.train_on_batch(np.ones((8, 7)), np.arange(8) % 4)
    moved = [
        not np.array_equal(v.numpy(), old)
        for v, old in zip(trainer.signal.held, before, strict=True)
    ]
    assert moved == [False, True]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"feedback": "sparse", "nonzeros": 0}, "nonzeros=0.*from 1 to the 4 logits"),
        ({"feedback": "sparse", "nonzeros": 5}, "nonzeros=5.*from 1 to the 4 logits"),
        ({"feedback": "regenerated_sparse", "nonzeros": 1.5}, "nonzeros=1.5.*from 1 to the 4"),
        ({"feedback": "low_rank", "rank": 5}, "rank=5.*from 1 to the 4 logits"),
        ({"nonzeros": 2}, "'stored' received nonzeros=2.*'sparse' or 'regenerated_sparse'"),
        ({"feedback": "sparse", "rank": 2}, "'sparse' received rank=2.*'low_rank'"),
        ({"feedback_decay": 0.1}, "'stored' received feedback_decay=0.1.*'learned'"),
        ({"feedback": "learned", "feedback_decay": 1.0}, "feedback_decay=1.0.*from 0 to less"),
    ],
)
@pytest.mark.parametrize("algorithm", ALIGNED)
def test_arguments_that_make_no_sense_are_refused(algorithm: str, given: dict, says: str) -> None:
    with pytest.raises(UnsupportedError, match=says):
        ALGORITHMS[algorithm](dense_net(), **given)


def test_the_named_algorithms_take_their_own_kind_alone() -> None:
    named = {"asrbp": "learned", "ssdfa": "sparse or regenerated_sparse"}
    for name, own in named.items():
        for kind in ("regenerated", "shared", "stored"):
            with pytest.raises(UnsupportedError, match=f"'{kind}', but it is DFA .* are {own}: "):
                ALGORITHMS[name](dense_net(), feedback=kind)
    assert ALGORITHMS["ssdfa"](dense_net()).get_config()["feedback"] == "sparse"


def test_channels_first_are_refused_by_the_layers_name() -> None:
    first = layers.Conv2D(2, 3, data_format="channels_first", name="first")
    net = keras.Sequential([keras.Input((3, 8, 8)), first, layers.Flatten(), layers.Dense(3)])
    with pytest.raises(UnsupportedError, match="layer 'first' with channels first"):
        DFA(net, feedback="convolutional")
