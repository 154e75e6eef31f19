"""Every algorithm computes what its paper says, in every execution mode."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from mem_dfa import ALGORITHMS, DFA, FA, MemDFA
from tests.mem_dfa.comparison import (
    EXECUTIONS,
    batch,
    blobs,
    change,
    compiled,
    distance,
    small_network,
)
from tests.mem_dfa.table import (
    ANY_NETWORK,
    STEPS,
    TABLE,
    TRUE_END,
    normalisation,
    reversible,
    trainer_by,
    with_the_same_nets,
)


def small_net(dtype: str = "float32", dropout: float = 0.4, algorithm: str = "bp") -> keras.Model:
    """Pooling, a normalisation, Dropout and a regulariser on 8×8×3, three classes."""
    keras.utils.set_random_seed(3)
    layers = keras.layers
    net = keras.Sequential(
        [
            keras.Input((8, 8, 3), dtype=dtype),
            layers.Conv2D(6, 3, padding="same", dtype=dtype, kernel_regularizer="l2"),
            normalisation(algorithm, dtype=dtype),
            layers.ReLU(dtype=dtype),
            layers.MaxPooling2D(dtype=dtype),
            *reversible(algorithm, 6, rank=2, dtype=dtype),
            layers.Conv2D(5, 3, activation="tanh", dtype=dtype),
            layers.Dropout(dropout, dtype=dtype, seed=5),
            layers.Flatten(dtype=dtype),
            layers.Dense(3, dtype=dtype),
        ]
    )
    net.dtype_policy = keras.DTypePolicy(dtype)
    return net


def assert_as_dfa(optimizer: Callable, tolerance: float, dtype: str, execution: str) -> None:
    """MEM-DFA's change is DFA's, by the first step and by ten."""
    first, later = [], []
    for make in (MemDFA, DFA):
        trainer = compiled(make(small_net(dtype)), optimizer(), **EXECUTIONS[execution])
        first.append(change(trainer, 1, dtype))
        later.append(change(trainer, 9, dtype))
    assert all(np.any(weight != 0) for weight in first[1])
    assert distance(*first) <= tolerance
    by_ten = [
        [a + b for a, b in zip(*steps, strict=True)] for steps in zip(first, later, strict=True)
    ]
    assert all(np.any(weight != 0) for weight in by_ten[1])
    assert distance(*by_ten) <= tolerance


@pytest.mark.parametrize("execution", EXECUTIONS)
def test_mem_dfa_changes_every_weight_as_dfa_does(execution: str) -> None:
    assert_as_dfa(momentum, 1e-5, "float32", execution)


@pytest.mark.usefixtures("float64")
def test_mem_dfa_equals_dfa_in_float64_with_adam() -> None:
    assert_as_dfa(keras.optimizers.Adam, 1e-7, "float64", "graph")


def momentum() -> keras.optimizers.Optimizer:
    return keras.optimizers.SGD(0.01, 0.9)


def trained_in(algorithm: str, execution: str) -> keras.Model:
    """The algorithm's trainer, of which nothing is traced yet."""
    trainer = trainer_by(algorithm, small_net(algorithm=algorithm))
    return compiled(trainer, momentum(), **EXECUTIONS[execution])


@pytest.fixture(scope="module", params=[name for name in TABLE if TABLE[name].takes_images])
def in_graph(request: pytest.FixtureRequest) -> tuple[str, keras.Model, list[np.ndarray]]:
    """An algorithm, its trainer after three steps in a graph, and what they changed."""
    trainer = trained_in(request.param, "graph")
    return request.param, trainer, change(trainer, 3)


def test_execution_does_not_change_the_result(
    in_graph: tuple[str, keras.Model, list[np.ndarray]],
) -> None:
    algorithm, _, by_graph = in_graph
    assert distance(change(trained_in(algorithm, "eager"), 3), by_graph) <= 1e-5


# Of other signals the kinds are compared for themselves.
@pytest.mark.parametrize("algorithm", [*STEPS, "brsf"])
def test_xla_does_not_change_the_result(algorithm: str) -> None:
    # XLA draws other numbers from the same seed, so its masks differ: compare without dropout.
    by_xla, eagerly = (
        change(
            compiled(
                trainer_by(algorithm, small_network(algorithm)), momentum(), **EXECUTIONS[how]
            ),
            3,
            data=blobs(16),
        )
        for how in ("xla", "eager")
    )
    assert distance(by_xla, eagerly) <= 1e-5


@cache
def moved_by_keras(algorithm: str) -> keras.Model:
    """The algorithm's net after three steps that leave its weights as they are."""
    net = small_net(algorithm=algorithm)
    reference = compiled(net, keras.optimizers.SGD(0.0), run_eagerly=True)
    change(reference, 3)
    return reference


def test_dropout_and_statistics_move_once_a_step(
    in_graph: tuple[str, keras.Model, list[np.ndarray]],
) -> None:
    algorithm, trainer, _ = in_graph
    trainer.optimizer.learning_rate = 0.0
    for variable, start in zip(
        trainer.network.variables, small_net(algorithm=algorithm).variables, strict=True
    ):
        variable.assign(start)
    for variable in trainer.optimizer.variables:
        if "momentum" in variable.path:
            variable.assign(keras.ops.zeros_like(variable))
    change(trainer, 3)
    reference = moved_by_keras(with_the_same_nets(algorithm))
    layers = (net._flatten_layers() for net in (trainer.network, reference))
    for ours, keras_own in zip(*layers, strict=True):
        if isinstance(ours, keras.layers.Dropout):
            # A Keras seed generator counts its draws in the second number of its state.
            assert ours.seed_generator.state.numpy()[1] == 3 * TABLE[algorithm].slices
        if isinstance(ours, keras.layers.BatchNormalization):
            for moved, expected in zip(ours.get_weights(), keras_own.get_weights(), strict=True):
                np.testing.assert_allclose(moved, expected, rtol=1e-5)


def test_the_replay_draws_the_masks_of_the_first_pass() -> None:
    """With a dropout of one half, two independent passes would disagree on most units."""
    net = small_net(dropout=0.5)
    trainer = compiled(MemDFA(net), keras.optimizers.SGD(0.01), run_eagerly=True)
    seen: dict[str, list[np.ndarray]] = {"forward": [], "replay": []}
    for block in trainer.chain.blocks:
        run = block.run

        def spy(x: tf.Tensor, phase: str, training: bool = True, run: Callable = run) -> tf.Tensor:
            outputs = run(x, phase, training)
            seen[phase].append(outputs.numpy())
            return outputs

        block.run = spy
    change(trainer, 2)
    assert len(seen["forward"]) == len(seen["replay"]) == 2 * len(trainer.chain.blocks)
    for first, second in zip(seen["forward"], seen["replay"], strict=True):
        np.testing.assert_allclose(first, second, rtol=1e-5, atol=1e-6)
    dropped = np.mean(seen["replay"][1] == 0)
    assert 0.3 < dropped < 0.7


@pytest.mark.parametrize("optimizer", [keras.optimizers.Adam, keras.optimizers.SGD])
def test_bp_is_what_keras_does(optimizer: type[keras.optimizers.Optimizer]) -> None:
    ours, keras_own = (
        change(compiled(make(small_net()), optimizer(0.01)), 5)
        for make in (ALGORITHMS["bp"], lambda network: network)
    )
    assert distance(ours, keras_own) <= 1e-6


def test_one_block_is_trained_by_its_true_gradient() -> None:
    """With a single weight layer there is no feedback: every algorithm is BP."""
    changes, names = {}, set(ANY_NETWORK) & set(TRUE_END)
    for name in names:
        keras.utils.set_random_seed(0)
        net = keras.Sequential(
            [keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(3)]
        )
        trainer = compiled(trainer_by(name, net), keras.optimizers.SGD(0.1), run_eagerly=True)
        changes[name] = change(trainer, 3)
    for name in names:
        assert distance(changes[name], changes["bp"]) <= 1e-6


@pytest.mark.parametrize("algorithm", STEPS)
@pytest.mark.parametrize("loss", ["sparse_categorical_crossentropy", "binary_crossentropy"])
def test_logits_and_softmax_train_alike(algorithm: str, loss: str) -> None:
    changes = []
    x, y = batch()
    for ends_in_logits in (True, False):
        keras.utils.set_random_seed(3)
        if loss == "binary_crossentropy":
            tail = keras.layers.Dense(3, activation=None if ends_in_logits else "sigmoid")
            function = keras.losses.BinaryCrossentropy(from_logits=ends_in_logits)
            target = np.eye(3)[y]
        else:
            tail = keras.layers.Dense(3, activation=None if ends_in_logits else "softmax")
            function = keras.losses.SparseCategoricalCrossentropy(from_logits=ends_in_logits)
            target = y
        net = keras.Sequential(
            [
                keras.Input((8, 8, 3)),
                keras.layers.Flatten(),
                keras.layers.Dense(10, activation="tanh"),
                *reversible(algorithm, 10),
                tail,
            ]
        )
        trainer = trainer_by(algorithm, net)
        trainer.compile(keras.optimizers.SGD(0.1), function, run_eagerly=True)
        before = net.get_weights()
        for _ in range(3):
            trainer.train_on_batch(x, target)
        changes.append([a - b for a, b in zip(net.get_weights(), before, strict=True)])
    assert distance(*changes) <= 1e-5


def softmax(z: np.ndarray) -> np.ndarray:
    p = np.exp(z - z.max(axis=1, keepdims=True))
    return p / p.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("algorithm", ["fa", "dfa", "mem_dfa"])
def test_dense_net_equals_numpy(algorithm: str) -> None:
    """784-free version of the paper's example: two hidden tanh layers, plain NumPy beside it."""
    keras.utils.set_random_seed(0)
    dense = keras.layers.Dense
    net = keras.Sequential(
        [
            keras.Input((7,), dtype="float64"),
            dense(6, "tanh", dtype="float64"),
            dense(5, "tanh", dtype="float64"),
            dense(4, dtype="float64"),
        ]
    )
    net.dtype_policy = keras.DTypePolicy("float64")
    trainer = ALGORITHMS[algorithm](net, seed=2)
    compiled(trainer, keras.optimizers.SGD(0.5), run_eagerly=True)
    feedback = [v.numpy() for v in trainer.variables if v.name.startswith("feedback")]
    x = np.random.default_rng(0).normal(size=(8, 7))
    y = np.random.default_rng(1).integers(4, size=8)
    w1, b1, w2, b2, w3, b3 = net.get_weights()
    trainer.train_on_batch(x, y)
    a1 = np.tanh(x @ w1 + b1)
    a2 = np.tanh(a1 @ w2 + b2)
    error = (softmax(a2 @ w3 + b3) - np.eye(4)[y]) / 8
    if algorithm == "fa":
        kernel_2, kernel_3 = feedback
        d2 = (error @ kernel_3.T) * (1 - a2**2)
        d1 = (d2 @ kernel_2.T) * (1 - a1**2)
    else:
        matrix_1, matrix_2 = feedback
        d2 = (error @ matrix_2) * (1 - a2**2)
        d1 = (error @ matrix_1) * (1 - a1**2)
    gradients = [x.T @ d1, d1.sum(0), a1.T @ d2, d2.sum(0), a2.T @ error, error.sum(0)]
    expected = [w - 0.5 * g for w, g in zip((w1, b1, w2, b2, w3, b3), gradients, strict=True)]
    for got, want in zip(net.get_weights(), expected, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-10, atol=1e-12)


def convolve(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """VALID cross-correlation by its definition: x (B,H,W,C), w (k,k,C,F)."""
    k, size = w.shape[0], x.shape[1] - w.shape[0] + 1
    out = np.zeros((len(x), size, size, w.shape[3]))
    for i in range(size):
        for j in range(size):
            out[:, i, j] = np.tensordot(x[:, i : i + k, j : j + k], w, 3)
    return out


def kernel_gradient(x: np.ndarray, d: np.ndarray, k: int) -> np.ndarray:
    gradient = np.zeros((k, k, x.shape[3], d.shape[3]))
    size = d.shape[1]
    for p in range(k):
        for q in range(k):
            window = x[:, p : p + size, q : q + size]
            gradient[p, q] = np.tensordot(window, d, ((0, 1, 2), (0, 1, 2)))
    return gradient


def input_gradient(d: np.ndarray, w: np.ndarray) -> np.ndarray:
    k = w.shape[0]
    padded = np.pad(d, ((0, 0), (k - 1, k - 1), (k - 1, k - 1), (0, 0)))
    return convolve(padded, w[::-1, ::-1].transpose(0, 1, 3, 2))


@pytest.mark.parametrize("algorithm", ["fa", "dfa", "mem_dfa"])
def test_convolutional_net_equals_numpy(algorithm: str) -> None:
    keras.utils.set_random_seed(0)
    conv, kind = keras.layers.Conv2D, {"dtype": "float64"}
    net = keras.Sequential(
        [
            keras.Input((7, 7, 2), dtype="float64"),
            conv(3, 3, activation="tanh", use_bias=False, **kind),
            conv(4, 3, activation="tanh", use_bias=False, **kind),
            keras.layers.Flatten(**kind),
            keras.layers.Dense(3, use_bias=False, **kind),
        ]
    )
    net.dtype_policy = keras.DTypePolicy("float64")
    trainer = ALGORITHMS[algorithm](net, seed=2)
    compiled(trainer, keras.optimizers.SGD(0.5), run_eagerly=True)
    feedback = [v.numpy() for v in trainer.variables if v.name.startswith("feedback")]
    x = np.random.default_rng(0).normal(size=(6, 7, 7, 2))
    y = np.random.default_rng(1).integers(3, size=6)
    w1, w2, w3 = net.get_weights()
    trainer.train_on_batch(x, y)
    a1 = np.tanh(convolve(x, w1))
    a2 = np.tanh(convolve(a1, w2))
    error = (softmax(a2.reshape(6, -1) @ w3) - np.eye(3)[y]) / 6
    if algorithm == "fa":
        kernel_2, kernel_3 = feedback
        d2 = (error @ kernel_3.T).reshape(a2.shape) * (1 - a2**2)
        d1 = input_gradient(d2, kernel_2) * (1 - a1**2)
    else:
        matrix_1, matrix_2 = feedback
        d2 = (error @ matrix_2).reshape(a2.shape) * (1 - a2**2)
        d1 = (error @ matrix_1).reshape(a1.shape) * (1 - a1**2)
    gradients = [kernel_gradient(x, d1, 3), kernel_gradient(a1, d2, 3), a2.reshape(6, -1).T @ error]
    for got, old, gradient in zip(net.get_weights(), (w1, w2, w3), gradients, strict=True):
        np.testing.assert_allclose(got, old - 0.5 * gradient, rtol=1e-9, atol=1e-12)


LINEAR_LAYERS: dict[str, tuple[tuple[int, ...], Callable[[], keras.layers.Layer]]] = {
    "dense": ((6,), lambda: keras.layers.Dense(4)),
    "conv1d": ((9, 4), lambda: keras.layers.Conv1D(6, 3, dilation_rate=2, groups=2)),
    "conv2d": ((7, 7, 2), lambda: keras.layers.Conv2D(4, 3, strides=2, padding="same")),
    "conv3d": ((4, 4, 4, 2), lambda: keras.layers.Conv3D(3, 2)),
    "depthwise": ((6, 6, 3), lambda: keras.layers.DepthwiseConv2D(3, depth_multiplier=2)),
    "separable": ((6, 6, 3), lambda: keras.layers.SeparableConv2D(5, 3)),
    "transpose": ((5, 5, 2), lambda: keras.layers.Conv2DTranspose(3, 3, strides=2)),
    "einsum": ((3, 4), lambda: keras.layers.EinsumDense("abc,cd->abd", (3, 5))),
}


def other_kernel(
    way_back: str, own: keras.Variable, feedback: Any, seeds: Sequence[int]
) -> np.ndarray:
    """What the first step passes an error through, from the layer's kernel and what is held."""
    if way_back in ("random", "learned"):
        return feedback.numpy().copy()
    if way_back == "brsf":
        size = own.numpy().size
        feedback = feedback.distribution.matrix((seeds[feedback.number], 0), 1, size)
        feedback = np.abs(feedback.numpy().reshape(own.shape))
    return np.asarray(feedback) * np.sign(own.numpy())


@pytest.mark.parametrize("way_back", ["random", "usf", "brsf", "frsf", "learned"])
@pytest.mark.parametrize("kind", LINEAR_LAYERS)
def test_the_error_goes_back_through_the_other_kernel(kind: str, way_back: str) -> None:
    """Oracle: the same layer holding the other kernels as its own, differentiated by Keras."""
    shape, make = LINEAR_LAYERS[kind]
    keras.utils.set_random_seed(0)
    scale = keras.layers.PReLU(alpha_initializer="random_normal")  # a weight before the layer
    layer = make()
    inputs = keras.Input(shape)
    hidden = layer(scale(inputs))
    network = keras.Model(inputs, keras.layers.Flatten()(hidden))
    trainer = FA(network, seed=4, way_back=way_back)
    trainer.compile(keras.optimizers.SGD(1.0), keras.losses.MeanSquaredError(), run_eagerly=True)
    x = np.random.default_rng(0).normal(size=(3, *shape)).astype("float32")
    y = np.zeros((3, *network.output_shape[1:]), "float32")

    alpha = tf.constant(scale.get_weights()[0])
    seeds = [n for v in trainer.variables if v.name == "feedback_seeds" for n in v.numpy()]
    random = [other_kernel(way_back, *pair, seeds) for pair in trainer.signal.pairs]
    assert len(random) == (2 if kind == "separable" else 1)
    with tf.GradientTape() as tape:
        outputs = network(x)
        loss = keras.losses.MeanSquaredError()(y, outputs)
    error = tf.reshape(tape.gradient(loss, outputs), [3, *hidden.shape[1:]])
    own = layer.get_weights()
    layer.set_weights(random + own[len(random) :])
    with tf.GradientTape() as tape:
        tape.watch(alpha)
        activation = tf.maximum(x, 0) + alpha * tf.minimum(x, 0)
        back = layer(activation)
    expected = tape.gradient(back, alpha, output_gradients=error)
    layer.set_weights(own)

    trainer.train_on_batch(x, y)
    np.testing.assert_allclose(
        alpha.numpy() - scale.get_weights()[0], expected, rtol=1e-4, atol=1e-7
    )
    assert "call" not in vars(layer)  # the user's layer is as it was
