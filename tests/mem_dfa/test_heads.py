"""Heads trained beside each block: local losses, and forward gradients of them.

What a step computes is compared with plain NumPy, or with TensorFlow's tape over losses that are
written out here, in float64 and for three steps one after another, so that what the heads learned
counts.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from mem_dfa import ALGORITHMS, Algorithm, UnsupportedError
from mem_dfa.feedback.similarity import similarities
from mem_dfa.graph.exact_random import normal
from mem_dfa.shapes.layer_bytes import variable_bytes
from tests.mem_dfa.comparison import EXECUTIONS, LOSS, change, compiled, recorded
from tests.mem_dfa.test_groups import DECAY, data, network, softmax

RATE, STEPS, GROUPS = 0.5, 3, 3
WEIGHTS = np.linspace(0.5, 1.5, 8)
SHARES = {"prediction": (1, 0), "similarity": (0, 1), "both": (1 - 0.99, 0.99)}
"""Of the classifier's loss and of that of similarities."""
CASES: list[tuple[str, Mapping[str, Any]]] = [
    *(("local_loss", {"local_loss": kind}) for kind in SHARES),
    ("forward_gradient", {"perturbation_groups": GROUPS}),
]


def heads_of(trainer: Algorithm) -> dict[str, np.ndarray]:
    """The heads' variables, by block and what they are."""
    return {variable.name: variable.numpy().copy() for variable in trainer.signal.held}


def noise_of(trainer: Algorithm, number: int, step: int, shape: tuple[int, ...]) -> np.ndarray:
    """Noise of a block, from the number that the trainer holds, by groups."""
    (seeds,) = [v.numpy() for v in trainer.variables if v.name == "feedback_seeds"]
    rows = int(np.prod(shape[:-1]))
    return normal(tf.constant([seeds[number], step]), rows, shape[-1]).numpy().reshape(shape)


def cosines(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows without their mean, of length 1, that length, and all cosines."""
    centred = rows - rows.mean(axis=1, keepdims=True)
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    unit = centred / length
    return unit, length, unit @ unit.T


def by_local_loss(
    kind: str, a: np.ndarray, labels: np.ndarray, head: Mapping[str, np.ndarray]
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """δ and the gradients of a dense block's head."""
    signal, gradients, count = np.zeros_like(a), {}, len(a)
    prediction, similarity = SHARES[kind]
    if prediction:
        error = softmax(a @ head["classifier_kernel"] + head["classifier_bias"]) - labels
        error *= prediction * WEIGHTS[:, None] / count
        signal += error @ head["classifier_kernel"].T
        gradients |= {"classifier_kernel": a.T @ error, "classifier_bias": error.sum(0)}
    if similarity:
        unit, length, found = cosines(a @ head["projection"])
        slope = 2 * np.outer(WEIGHTS, WEIGHTS) * (found - cosines(labels)[2]) / count**2
        of_unit = 2 * slope @ unit
        of_rows = (of_unit - unit * (unit * of_unit).sum(1, keepdims=True)) / length
        of_rows = similarity * (of_rows - of_rows.mean(1, keepdims=True))
        signal += of_rows @ head["projection"].T
        gradients["projection"] = a.T @ of_rows
    return signal, gradients


def by_forward_gradient(
    a: np.ndarray, labels: np.ndarray, head: Mapping[str, np.ndarray], noise: np.ndarray
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """δ̂ and the gradients of a dense block's classifier, unit by unit."""
    own = np.arange(a.shape[1]) % GROUPS  # the group of each unit
    at = own, np.arange(a.shape[1]) // GROUPS  # its row of the kernel
    kernel = head["classifier_kernel"][at]
    error = softmax(a @ kernel + head["classifier_bias"]) - labels
    error *= WEIGHTS[:, None] / len(a)
    exact, u = error @ kernel.T, noise[own, :, at[1]].T
    signal = np.zeros_like(a)
    for group in range(GROUPS):
        inside = own == group
        slope = (exact * u)[:, inside].sum(1, keepdims=True)
        signal[:, inside] = slope * u[:, inside]
    gradient = np.zeros_like(head["classifier_kernel"])
    gradient[at] = a.T @ error
    return signal, {"classifier_kernel": gradient, "classifier_bias": error.sum(0)}


def by_numpy(
    trainer: Algorithm, options: Mapping[str, Any]
) -> tuple[list[np.ndarray], dict[str, np.ndarray]]:
    """The net's weights and the heads after the steps."""
    weights, heads = [w.copy() for w in trainer.network.get_weights()], heads_of(trainer)
    x, y = data("float64")
    labels = np.eye(3)[y]
    for step in range(STEPS):
        a = x
        for number in range(5):
            before, kernel, bias = a, weights[2 * number], weights[2 * number + 1]
            a, decay = before @ kernel + bias, 0.0
            name = f"block_{number + 1:03d}_"
            head = {k.removeprefix(name): v for k, v in heads.items() if k.startswith(name)}
            if number == 4:
                signal, gradients = (softmax(a) - labels) * WEIGHTS[:, None] / len(x), {}
            else:
                a, decay = np.tanh(a), 2 * DECAY * kernel
                if "local_loss" in options:
                    signal, gradients = by_local_loss(options["local_loss"], a, labels, head)
                else:
                    groups, size, _ = head["classifier_kernel"].shape
                    noise = noise_of(trainer, number, step, (groups, len(x), size))
                    signal, gradients = by_forward_gradient(a, labels, head, noise)
                signal = signal * (1 - a**2)
            weights[2 * number] = kernel - RATE * (before.T @ signal + decay)
            weights[2 * number + 1] = bias - RATE * signal.sum(0)
            for key, gradient in gradients.items():
                heads[name + key] = heads[name + key] - RATE * gradient
    return weights, heads


@pytest.mark.parametrize("execution", ["eager", "graph"])
@pytest.mark.parametrize(("algorithm", "options"), CASES)
@pytest.mark.usefixtures("float64")
def test_dense_net_equals_numpy(algorithm: str, options: Mapping[str, Any], execution: str) -> None:
    trainer = ALGORITHMS[algorithm](network("float64"), seed=2, **options)
    compiled(trainer, keras.optimizers.SGD(RATE), **EXECUTIONS[execution])
    expected, heads = by_numpy(trainer, options)
    x, y = data("float64")
    for _ in range(STEPS):
        trainer.train_on_batch(x, y, WEIGHTS)
    for got, want in zip(trainer.network.get_weights(), expected, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-10, atol=1e-12)
    for name, got in heads_of(trainer).items():
        np.testing.assert_allclose(got, heads[name], rtol=1e-10, atol=1e-12)


SIZES, CHANNELS = (23, 20), (5, 3)
"""More values than a classifier takes, in windows that do not divide them; few channels."""


def conv_net() -> keras.Model:
    keras.utils.set_random_seed(0)
    layers = keras.layers
    body = [layers.Conv2D(channels, 3, padding="same", activation="tanh") for channels in CHANNELS]
    return keras.Sequential(
        [keras.Input((*SIZES, 2)), *body, layers.Flatten(), layers.Dense(3, "softmax")]
    )


def averages(image: tf.Tensor) -> tf.Tensor:
    """Over windows of two rows, and of two columns where there are still too many values."""
    step = 2 if image.shape[-1] == 5 else 1
    rows, columns = range(0, SIZES[0], 2), range(0, SIZES[1], step)
    windows = [
        image[:, row : row + 2, column : column + step] for row in rows for column in columns
    ]
    return tf.stack([tf.reduce_mean(window, [1, 2]) for window in windows], axis=1)


def cross_entropy(logits: tf.Tensor, y: np.ndarray) -> tf.Tensor:
    return tf.reduce_mean(
        tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y[:, 0], logits=logits)
    )


def alike(rows: tf.Tensor) -> tf.Tensor:
    unit, _ = tf.linalg.normalize(rows - tf.reduce_mean(rows, 1, keepdims=True), axis=1)
    return unit @ tf.transpose(unit)


def both_losses(image: tf.Tensor, y: np.ndarray, head: Mapping[str, tf.Tensor]) -> tf.Tensor:
    logits = tf.reshape(averages(image), [len(y), -1]) @ head["classifier_kernel"]
    u = tf.nn.conv2d(image, head["projection"], 1, "SAME")
    rows = tf.reshape(u, [len(y), -1]) if u.shape[-1] == 3 else tf.math.reduce_std(u, [1, 2])
    apart = alike(rows) - alike(tf.one_hot(y[:, 0], 3, dtype="float64"))
    prediction = cross_entropy(logits + head["classifier_bias"], y)
    return (1 - 0.99) * prediction + 0.99 * tf.reduce_mean(tf.square(apart))


def guessed_loss(
    image: tf.Tensor, y: np.ndarray, head: Mapping[str, tf.Tensor], noise: np.ndarray
) -> tf.Tensor:
    """Its gradient by the head is the loss's, that by the image δ̂: (∇·u)·u of each group."""
    seen, channels = averages(image), image.shape[-1]
    own, row = np.arange(channels) % GROUPS, np.arange(channels) // GROUPS
    kernel = tf.reshape(head["classifier_kernel"], [GROUPS, seen.shape[1], -1, 3])
    kernel = tf.stack([kernel[own[c], :, row[c]] for c in range(channels)], axis=1)
    u = noise.reshape(GROUPS, len(y), seen.shape[1], -1)
    u = np.stack([u[own[c], ..., row[c]] for c in range(channels)], axis=-1)
    fixed = tf.stop_gradient(seen)
    with tf.GradientTape() as tape:
        tape.watch(fixed)
        logits = tf.einsum("bpc,pck->bk", fixed, kernel) + head["classifier_bias"]
        loss = cross_entropy(logits, y)
    slopes = tf.reduce_sum(tape.gradient(loss, fixed) * u, 1)
    of_groups = np.equal.outer(own, own).astype(float)
    guessed = (slopes @ of_groups)[:, tf.newaxis] * u
    return loss + tf.reduce_sum(seen * tf.stop_gradient(guessed))


@pytest.mark.parametrize("algorithm", ["local_loss", "forward_gradient"])
@pytest.mark.usefixtures("float64")
def test_convolutional_net_equals_the_tape(algorithm: str) -> None:
    options = {} if algorithm == "local_loss" else {"perturbation_groups": GROUPS}
    trainer = ALGORITHMS[algorithm](conv_net(), seed=2, **options)
    loss = keras.losses.SparseCategoricalCrossentropy(dtype="float64")
    trainer.compile(keras.optimizers.SGD(RATE), loss, run_eagerly=True)
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(6, *SIZES, 2)), generator.integers(3, size=(6, 1))
    weights = [tf.constant(w) for w in trainer.network.get_weights()]
    heads = {name: tf.constant(value) for name, value in heads_of(trainer).items()}
    for step in range(STEPS):
        trainer.train_on_batch(x, y)
        a = tf.constant(x)
        for number in range(3):
            name = f"block_{number + 1:03d}_"
            head = {k.removeprefix(name): v for k, v in heads.items() if k.startswith(name)}
            values = [weights[2 * number], weights[2 * number + 1], *head.values()]
            with tf.GradientTape() as tape:
                tape.watch(values)
                if number == 2:
                    flat = tf.reshape(a, [len(y), -1])
                    total = cross_entropy(flat @ values[0] + values[1], y)
                else:
                    a = tf.tanh(tf.nn.conv2d(a, values[0], 1, "SAME") + values[1])
                    if algorithm == "local_loss":
                        total = both_losses(a, y, head)
                    else:
                        groups, size, _ = head["classifier_kernel"].shape
                        noise = noise_of(trainer, number, step, (groups, len(y), size))
                        total = guessed_loss(a, y, head, noise)
            slopes = tape.gradient(total, values)
            new = [value - RATE * slope for value, slope in zip(values, slopes, strict=True)]
            weights[2 * number : 2 * number + 2] = new[:2]
            heads |= {name + key: value for key, value in zip(head, new[2:], strict=True)}
            a = tf.stop_gradient(a)
    for got, want in zip(trainer.network.get_weights(), weights, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-10, atol=1e-12)
    for name, got in heads_of(trainer).items():
        np.testing.assert_allclose(got, heads[name], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("algorithm", "options"), CASES[2:])
def test_they_train_alike_in_every_execution(algorithm: str, options: Mapping[str, Any]) -> None:
    def trained(execution: str) -> list[np.ndarray]:
        trainer = ALGORITHMS[algorithm](network(), seed=2, **options)
        compiled(trainer, keras.optimizers.SGD(0.1, 0.9), **EXECUTIONS[execution])
        return [*change(trainer, 3, data=data()), *heads_of(trainer).values()]

    eager = trained("eager")
    for execution in ("graph", "xla"):
        for one, other in zip(trained(execution), eager, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("algorithm", ["local_loss", "forward_gradient"])
def test_classifiers_start_at_zero_so_that_the_first_step_moves_no_other_weight(
    algorithm: str,
) -> None:
    net = network()
    for layer in net.layers:
        layer.kernel.regularizer = None
    options = {"local_loss": "prediction"} if algorithm == "local_loss" else {}
    trainer = ALGORITHMS[algorithm](net, **options)
    compiled(trainer, keras.optimizers.SGD(RATE), run_eagerly=True)
    assert not any(np.any(head) for head in heads_of(trainer).values())
    moved = change(trainer, 1, data=data())
    assert not any(map(np.any, moved[:-2]))
    assert all(map(np.any, [*moved[-2:], *heads_of(trainer).values()]))


DRAWS, UNITS = 4000, 16


def guesses(groups: int, activation: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """a_1, δ_1 of its loss and many δ̂_1, of one example, whose copies have noise of their own."""
    keras.utils.set_random_seed(0)
    dense = keras.layers.Dense
    net = keras.Sequential([keras.Input((6,)), dense(UNITS, activation), dense(3)])
    trainer = ALGORITHMS["forward_gradient"](net, perturbation_groups=groups)
    trainer.compile("sgd", keras.losses.SparseCategoricalCrossentropy(True, reduction="sum"))
    kernel = np.random.default_rng(0).normal(size=(UNITS, 3)).astype("float32")
    (block, _), (head, _) = trainer.chain.blocks, trainer.signal.held
    head.assign(np.swapaxes(kernel.reshape(-1, groups, 3), 0, 1))
    outputs = tf.repeat(block.run(tf.ones((1, 6)), "forward"), DRAWS, axis=0)
    with trainer.signal.way_back(trainer):
        found, _ = trainer.signal.signal(block, outputs, tf.ones(DRAWS), None)
    a = outputs[0].numpy()
    exact = (softmax((a @ kernel)[None]) - np.eye(3)[1:2]) @ kernel.T
    return a, exact[0], found.numpy()


@pytest.mark.parametrize("groups", [4, 1])
def test_forward_gradients_are_right_on_average_and_as_noisy_as_groups_are_large(
    groups: int,
) -> None:
    _, exact, found = guesses(groups, "tanh")
    expected = UNITS // groups + 1  # q + 1
    for count in (1, 10, 100):
        means = found.reshape(-1, count, UNITS).mean(axis=1)
        noise = np.square(means - exact).sum(axis=1).mean() / np.square(exact).sum()
        # E‖δ̂ − δ‖² = (q + 1)·‖δ‖², and 1/N of it for a mean of N
        assert noise * count == pytest.approx(expected, rel=0.3 if count == 100 else 0.1)


def test_what_is_off_gets_no_noise() -> None:
    a, exact, found = guesses(1, "relu")
    on = a > 0
    assert 2 < on.sum() < UNITS - 2
    assert not found[:, ~on].any()
    noise = np.square(found - exact)[:, on].sum(axis=1).mean() / np.square(exact[on]).sum()
    assert noise == pytest.approx(on.sum() + 1, rel=0.1)


@pytest.mark.parametrize(
    "loss",
    [
        keras.losses.MeanSquaredError(reduction="sum"),
        lambda y, p: tf.reduce_mean(tf.abs(y - p) ** 3, axis=-1),
    ],
    ids=["instance", "function"],
)
@pytest.mark.parametrize("algorithm", ["local_loss", "forward_gradient"])
def test_the_loss_of_a_classifier_is_the_nets_own(algorithm: str, loss: Any) -> None:
    """With its last activation and the examples' weights; seen by what the classifier learns."""
    keras.utils.set_random_seed(0)
    dense = keras.layers.Dense
    net = keras.Sequential([keras.Input((6,)), dense(5, "tanh"), dense(2, "sigmoid")])
    options = {"local_loss": "prediction"} if algorithm == "local_loss" else {}
    trainer = ALGORITHMS[algorithm](net, **options)
    trainer.compile(keras.optimizers.SGD(1.0), loss, run_eagerly=True)
    x, y = data()[0], np.linspace(0, 1, 16, dtype="float32").reshape(8, 2)
    bias = tf.zeros(2)
    with tf.GradientTape() as tape:
        tape.watch(bias)
        p = tf.sigmoid(tf.tile(bias[tf.newaxis], [8, 1]))
        if isinstance(loss, keras.losses.Loss):
            total = tf.reduce_sum(tf.reduce_mean((y - p) ** 2, axis=-1) * WEIGHTS)
        else:
            total = tf.reduce_mean(loss(y, p) * WEIGHTS)
    trainer.train_on_batch(x, y, WEIGHTS)
    found = heads_of(trainer)["block_001_classifier_bias"]
    np.testing.assert_allclose(found, -tape.gradient(total, bias), rtol=1e-5)


@pytest.mark.parametrize("compiled_by_xla", [False, True])
def test_rows_that_say_nothing_are_like_no_other(compiled_by_xla: bool) -> None:
    @tf.function(jit_compile=compiled_by_xla)
    def both(rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(rows)
            found = similarities(rows)
        return found, tape.gradient(found, rows)

    found, slopes = both(tf.constant([[1.0, 1.0], [0.0, 2.0], [0.0, 0.0]]))
    np.testing.assert_allclose(found, np.diag([0.0, 1.0, 0.0]), atol=1e-6)
    assert np.isfinite(slopes).all()


@pytest.mark.parametrize(("algorithm", "options"), CASES[2:])
def test_a_resumed_training_goes_on_as_if_it_had_not_stopped(
    algorithm: str, options: Mapping[str, Any], tmp_path: Path
) -> None:
    trainer = ALGORITHMS[algorithm](network(), seed=3, **options)
    compiled(trainer, keras.optimizers.Adam(0.01), run_eagerly=True)
    for _ in range(2):
        trainer.train_on_batch(*data())
    trainer.save(tmp_path / "trainer.keras")
    resumed = keras.saving.load_model(tmp_path / "trainer.keras")
    resumed.run_eagerly = True
    for one in (trainer, resumed):
        for _ in range(2):
            one.train_on_batch(*data())
    for one, other in zip(trainer.get_weights(), resumed.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_heads_are_weights_of_the_trainer() -> None:
    trainer = ALGORITHMS["local_loss"](network())
    assert trainer.feedback_bytes == variable_bytes(trainer.signal.held) > 0
    own = {id(v) for v in trainer.trainable_variables}
    assert own == {id(v) for v in (*trainer.network.trainable_variables, *trainer.signal.held)}


def test_frozen_blocks_have_no_head() -> None:
    net = network()
    net.layers[0].trainable = False
    trainer = ALGORITHMS["local_loss"](net)
    assert {name[:9] for name in heads_of(trainer)} == {"block_002", "block_003", "block_004"}
    net.layers[0].trainable = True
    again = type(trainer).from_config(trainer.get_config())
    assert heads_of(again).keys() == heads_of(trainer).keys()
    with pytest.raises(UnsupportedError, match=r"block_001 \(dense.*\) was frozen.*has no head"):
        trainer.compile("sgd", LOSS)


@pytest.mark.parametrize(
    ("algorithm", "options"),
    [("local_loss", {"local_loss": "both"}), ("forward_gradient", {"perturbation_groups": 8})],
)
def test_bytes_of_a_step_are_predicted(algorithm: str, options: Mapping[str, Any]) -> None:
    """Of wide layers, whose heads take more than they do; of images see the local sweep's."""
    hidden = [keras.layers.Dense(512, "relu") for _ in range(3)]
    net = keras.Sequential([keras.Input((64,)), *hidden, keras.layers.Dense(3)])
    trainer = ALGORITHMS[algorithm](net, **options)
    compiled(trainer, keras.optimizers.SGD(0.01))
    batch = np.ones((1024, 64), "float32"), np.arange(1024) % 3
    found = min(line.step_requested_bytes for line in recorded(trainer, *batch, steps=2))
    assert found == pytest.approx(trainer.predict_step_bytes(1024), rel=0.05)


@pytest.mark.parametrize(
    ("algorithm", "options", "says"),
    [
        ("local_loss", {"local_loss": "pred"}, "'pred': use one of prediction, similarity, both"),
        ("local_loss", {"local_loss": ["both"]}, r"\['both'\]: use one of prediction"),
        ("forward_gradient", {"perturbation_groups": 0}, "=0: give 1, 2, … or None"),
        ("forward_gradient", {"perturbation_groups": True}, "=True: give 1, 2, … or None"),
        ("forward_gradient", {"perturbation_groups": 2.0}, "=2.0: give 1, 2, … or None"),
        (
            "forward_gradient",
            {"perturbation_groups": 6},
            r"=6, but block_003 \(dense.*\) has 5 units: give that many or fewer",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(
    algorithm: str, options: Mapping[str, Any], says: str
) -> None:
    with pytest.raises(UnsupportedError, match=says):
        ALGORITHMS[algorithm](network(), **options)


@pytest.mark.parametrize("shape", [(8, 2), (8, 3, 1)])
def test_labels_that_cannot_be_compared_are_refused(shape: tuple[int, ...]) -> None:
    trainer = ALGORITHMS["local_loss"](network())
    trainer.compile("sgd", lambda y, z: tf.reduce_mean(z, -1), run_eagerly=True)
    with pytest.raises(UnsupportedError, match=r"LocalLoss received labels of shape .*one-hot"):
        trainer.train_on_batch(data()[0], np.zeros(shape))


def test_nets_that_no_head_fits_are_refused() -> None:
    layers = keras.layers
    one = keras.Sequential([keras.Input((4,)), layers.Dense(3), layers.Dense(1)])
    with pytest.raises(UnsupportedError, match=r"one logit.*local_loss='prediction'"):
        ALGORITHMS["local_loss"](one)
    ALGORITHMS["local_loss"](one, local_loss="prediction")
    conv = layers.Conv2D(4, 3, data_format="channels_first", name="first")
    first = keras.Sequential([keras.Input((2, 8, 8)), conv, layers.Flatten(), layers.Dense(3)])
    with pytest.raises(UnsupportedError, match=r"layer 'first' with channels first.*'lel'"):
        ALGORITHMS["forward_gradient"](first)
    inputs = keras.Input((None, None, 2))
    pooled = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3)(layers.Conv2D(4, 3)(inputs)))
    sizes = keras.Model(inputs, layers.Dense(3)(pooled))
    with pytest.raises(UnsupportedError, match=r"block_001 ends in shape .* needs a fixed shape"):
        ALGORITHMS["local_loss"](sizes)
