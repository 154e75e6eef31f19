"""Synthetic gradients: predictors that are trained while their blocks are updated by them."""

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from mem_dfa import ALGORITHMS, MODELS, UnsupportedError, profiling
from mem_dfa.feedback import predicting_nets, predictors
from tests.mem_dfa.comparison import (
    EXECUTIONS,
    LOSS,
    LOSS_FLOAT64,
    blobs,
    compiled,
    distance,
    recorded,
)
from tests.mem_dfa.predicted import RATE, WEIGHTS, Oracle, dense_data, dense_net, weights_of

NAMES = ("dni", "cdni", "unlock")
CASES = [(name, layers, "eager") for name in NAMES for layers in (0, 1)]
CASES += [("unlock", 1, "graph")]


@pytest.mark.parametrize(("name", "layers", "execution"), CASES)
@pytest.mark.usefixtures("float64")
def test_three_steps_equal_numpy(name: str, layers: int, execution: str) -> None:
    """Weights, predictors and their statistics; the first step trains but the top one."""
    trainer = ALGORITHMS[name](dense_net(), predictor_layers=layers, seed=3)
    trainer.compile(
        keras.optimizers.SGD(RATE), LOSS_FLOAT64, **{"jit_compile": False, **EXECUTIONS[execution]}
    )
    oracle = Oracle(trainer, name == "cdni")
    x, y = dense_data()
    for _ in range(3):
        trainer.train_on_batch(x, y, WEIGHTS)
        oracle.step(x, y)
        for got, want in zip(weights_of(trainer), oracle.weights(), strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-10, atol=1e-12)
    assert int(trainer.optimizer.iterations) == 3


@pytest.mark.parametrize("name", ["dni", "cdni"])
def test_the_first_step_moves_the_last_block_and_the_top_predictor_alone(name: str) -> None:
    keras.utils.set_random_seed(0)
    dense = keras.layers.Dense
    net = keras.Sequential([keras.Input((6,)), dense(5, "tanh"), dense(4, "tanh"), dense(3)])
    trainer = ALGORITHMS[name](net)
    trainer.compile("adam", LOSS, run_eagerly=True)
    for moved in ({5, 6, 9, 10}, {3, 4, 5, 6, 7, 8, 9, 10}, set(range(1, 11))):
        before = weights_of(trainer)
        trainer.train_on_batch(*blobs(16))
        pairs = enumerate(zip(weights_of(trainer), before, strict=True), start=1)
        assert {number for number, (one, old) in pairs if not np.array_equal(one, old)} == moved


CONV_RATE = 0.02
"""Of units there are many more."""


def conv_net() -> keras.Model:
    keras.utils.set_random_seed(0)
    conv = keras.layers.Conv2D
    body = [
        conv(4, 3, activation="tanh", padding="same"),
        keras.layers.AveragePooling2D(2),
        conv(3, 3, activation="tanh"),
        keras.layers.Flatten(),
    ]
    return keras.Sequential([keras.Input((10, 10, 2)), *body, keras.layers.Dense(3)])


def conv_predictor(weights: list[tf.Tensor], images: tf.Tensor, y: np.ndarray) -> tf.Tensor:
    """One hidden layer, of labels as maps."""
    first, gamma, beta, kernel, bias = weights
    maps = tf.one_hot(y, 3, dtype=images.dtype)[:, None, None, :]
    maps = tf.tile(maps, [1, images.shape[1], images.shape[2], 1])
    z = tf.nn.conv2d(tf.concat([images, maps], -1), first, 1, "SAME")
    mean, variance = tf.nn.moments(z, [0, 1, 2])
    z = tf.nn.relu(tf.nn.batch_normalization(z, mean, variance, beta, gamma, 1e-3))
    return tf.nn.conv2d(z, kernel, 1, "SAME") + bias


@pytest.mark.usefixtures("float64")
def test_convolutional_predictors_equal_an_oracle_by_tapes() -> None:
    """The last hidden block flattens an image, which is predicted for as an image."""
    trainer = ALGORITHMS["cdni"](conv_net(), predictor_layers=1, seed=3)
    trainer.compile(keras.optimizers.SGD(CONV_RATE), LOSS_FLOAT64, run_eagerly=True)
    x = np.random.default_rng(0).normal(size=(6, 10, 10, 2))
    y = np.random.default_rng(1).integers(3, size=6)
    blocks = [
        lambda a, w, b: tf.nn.avg_pool2d(tf.tanh(tf.nn.conv2d(a, w, 1, "SAME") + b), 2, 2, "VALID"),
        lambda a, w, b: tf.tanh(tf.nn.conv2d(a, w, 1, "VALID") + b),
        lambda a, w, b: tf.reshape(a, [6, -1]) @ w + b,
    ]
    flat = [tf.constant(w) for w in trainer.network.get_weights()]
    own = [flat[0:2], flat[2:4], flat[4:6]]
    theta = [[tf.constant(v.value) for v in p.trainable_variables] for p in trainer.predictors]
    assert [p.output_shape for p in trainer.predictors] == [(None, 5, 5, 4), (None, 3, 3, 3)]

    def moved(weights: list[tf.Tensor], gradients: list[tf.Tensor]) -> list[tf.Tensor]:
        return [w - CONV_RATE * g for w, g in zip(weights, gradients, strict=True)]

    for _ in range(3):
        trainer.train_on_batch(x, y)
        a = tf.constant(x)
        for i, run in enumerate(blocks):
            with tf.GradientTape() as tape:
                tape.watch([a, *own[i]])
                after = run(a, *own[i])
                if i < 2:
                    # Of which the gradient by a_i is δ̂_i.
                    signal = tf.stop_gradient(conv_predictor(theta[i], after, y)) / 6
                    loss = tf.reduce_sum(signal * after)
                else:
                    of_each = tf.nn.sparse_softmax_cross_entropy_with_logits(y, after)
                    loss = tf.reduce_mean(of_each)
            arriving, *gradients = tape.gradient(loss, [a, *own[i]])
            own[i] = moved(own[i], gradients)
            if i:
                with tf.GradientTape() as tape:
                    tape.watch(theta[i - 1])
                    off = conv_predictor(theta[i - 1], a, y) - 6 * arriving
                    loss = tf.reduce_sum(off**2) / 2 / 6
                theta[i - 1] = moved(theta[i - 1], tape.gradient(loss, theta[i - 1]))
            a = after
    expected = [w for weights in (*own, *theta) for w in weights]
    learned = [v.numpy() for p in trainer.predictors for v in p.trainable_variables]
    for got, want in zip([*trainer.network.get_weights(), *learned], expected, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("name", "layers"), [("cdni", 0), ("unlock", 1)])
def test_xla_trains_predictors_alike(name: str, layers: int) -> None:
    def trained(execution: str) -> list[np.ndarray]:
        trainer = ALGORITHMS[name](conv_net(), predictor_layers=layers, seed=3)
        compiled(trainer, keras.optimizers.SGD(CONV_RATE), **EXECUTIONS[execution])
        x = np.random.default_rng(0).normal(size=(6, 10, 10, 2)).astype("float32")
        before = weights_of(trainer)
        for _ in range(3):
            trainer.train_on_batch(x, np.arange(6) % 3)
        return [w - b for w, b in zip(weights_of(trainer), before, strict=True)]

    assert distance(trained("xla"), trained("eager")) <= 1e-5


BATCH = 16
ACTIVATION_BYTES = BATCH * 32 * 32 * 16 * 4


def timeline_of(name: str, layers: int, **options: Any) -> tuple[profiling.Timeline, int]:
    """A step of the conv net, and the bytes predicted for it."""
    trainer = ALGORITHMS[name](MODELS["conv20"](layers=layers, seed=0), **options)
    # Adam's step on the classifier takes more than a small batch's activations.
    compiled(trainer, keras.optimizers.SGD(0.001, 0.9))
    batch = tf.fill((BATCH, 32, 32, 3), 0.5), tf.zeros((BATCH,), tf.int32)
    return recorded(trainer, *batch, steps=1)[0], trainer.predict_step_bytes(BATCH)


def blocks_alive(timeline: profiling.Timeline, least_bytes: int) -> list[set[int]]:
    """Numbers of the blocks that have tensors of that size, whenever one more is made."""
    tensors = timeline.tensors[timeline.tensors["requested_bytes"] >= least_bytes]
    tensors = tensors[tensors["start_ns"] >= 0]
    numbers = tensors["block"].str.removeprefix("block_").astype(int)
    return [
        set(numbers[(tensors["start_ns"] <= time) & (time < tensors["end_ns"])])
        for time in tensors["start_ns"]
    ]


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_kept_but_two_blocks(name: str) -> None:
    """Of block i nothing is left when block i + 2 runs, and a step is as large at any depth."""
    few, predicted = timeline_of(name, 2, predictor_layers=0)
    timeline, _ = timeline_of(name, 5, predictor_layers=0)
    assert timeline.step_requested_bytes <= 1.03 * few.step_requested_bytes
    assert few.step_requested_bytes == pytest.approx(predicted, rel=0.05)
    alive = blocks_alive(timeline, ACTIVATION_BYTES)
    assert set().union(*alive) >= {1, 2, 3, 4, 5}
    assert all(max(blocks) - min(blocks) <= 1 for blocks in alive)


def test_without_order_labels_are_held_from_block_to_block(monkeypatch: pytest.MonkeyPatch) -> None:
    ordered, _ = timeline_of("cdni", 2)
    monkeypatch.setattr(predictors, "after", lambda tensor, earlier: tensor)
    unordered, _ = timeline_of("cdni", 2)
    maps = BATCH * 32 * 32 * 10 * 4
    assert unordered.step_requested_bytes >= ordered.step_requested_bytes + maps


def test_hidden_layers_are_there_for_one_predictor_at_a_time() -> None:
    timeline, predicted = timeline_of("dni", 2, predictor_layers=1)
    # Shapes count a tensor more in the gradient of BatchNormalization than there is here.
    assert 0.8 * predicted <= timeline.step_requested_bytes <= predicted
    # 64 channels
    assert all(len(blocks) == 1 for blocks in blocks_alive(timeline, 4 * ACTIVATION_BYTES))


def test_predictors_and_their_slots_are_counted() -> None:
    trainer = ALGORITHMS["dni"](dense_net(), predictor_layers=1)
    compiled(trainer, keras.optimizers.Adam(0.001))
    trainer.optimizer.build(trainer.trainable_variables)
    # A kernel to 4 n units, four vectors of BatchNormalization's, and a linear layer of zeros.
    sizes = [n * 4 * n + 4 * 4 * n + 4 * n * n + n for n in (6, 5, 4)]
    assert trainer.feedback_bytes == 4 * sum(sizes)
    for net in trainer.predictors:
        assert not any(w.any() for w in net.get_weights()[-2:])
        assert all("feedback_block_" in v.path for v in net.variables)
    learned = sum(np.prod(v.shape) for net in trainer.predictors for v in net.trainable_variables)
    slots = sum(np.prod(v.shape) for v in trainer.optimizer.variables[2:])
    assert slots == 2 * (trainer.network.count_params() + learned)


def test_wide_blocks_have_hidden_layers_of_1024_units_and_images_of_64_channels() -> None:
    net = keras.Sequential([keras.Input((4,)), keras.layers.Dense(300), keras.layers.Dense(2)])
    (dense,) = ALGORITHMS["dni"](net, predictor_layers=3).predictors
    shapes = [layer.kernel.shape for layer in dense.layers if hasattr(layer, "kernel")]
    assert shapes == [(300, 1024), (1024, 1024), (1024, 1024), (1024, 300)]
    convolutional, _ = ALGORITHMS["cdni"](conv_net(), predictor_layers=2).predictors
    shapes = [layer.kernel.shape for layer in convolutional.layers if hasattr(layer, "kernel")]
    assert shapes == [(5, 5, 4 + 3, 64), (5, 5, 64, 64), (5, 5, 64, 4)]


@pytest.mark.parametrize("name", ["dni", "unlock"])
def test_what_lies_before_frozen_blocks_alone_only_runs(name: str) -> None:
    net = dense_net()
    net.layers[0].trainable = False
    trainer = ALGORITHMS[name](net, predictor_layers=0)
    trainer.compile("adam", LOSS, run_eagerly=True)
    for _ in range(3):
        trainer.train_on_batch(*dense_data())
    first, second, third = (predictor.get_weights()[1] for predictor in trainer.predictors)
    assert not first.any()
    assert second.any()
    assert third.any()
    # A frozen block between others passes on what the predictor after it says.
    net.layers[0].trainable, net.layers[1].trainable = True, False
    frozen = net.layers[1].get_weights()
    trainer.compile("adam", LOSS, run_eagerly=True)
    for _ in range(3):
        trainer.train_on_batch(*dense_data())
    assert trainer.predictors[0].get_weights()[1].any()
    np.testing.assert_array_equal(frozen[0], net.layers[1].get_weights()[0])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("layers", [-1, 4, True, 1.0, "1", None])
def test_other_numbers_of_layers_are_refused(name: str, layers: Any) -> None:
    kind = ALGORITHMS[name]
    says = f"{kind.__name__} received predictor_layers={layers!r}: .* from 0 to 3"
    with pytest.raises(UnsupportedError, match=says):
        kind(dense_net(), predictor_layers=layers)


@pytest.mark.parametrize("name", NAMES)
def test_blocks_of_no_fixed_shape_are_refused_by_name(name: str) -> None:
    layers = keras.layers
    net = keras.Sequential(
        [
            keras.Input((None, None, 3)),
            layers.Conv2D(4, 3, name="free"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(5),
            layers.Dense(3),
        ]
    )
    # Pooled there is a fixed shape.
    ALGORITHMS["dni"](net)
    inputs = keras.Input((None, None, 3))
    x = layers.Conv2D(4, 3, name="second")(layers.Conv2D(4, 3, name="first")(inputs))
    net = keras.Model(inputs, layers.Dense(3)(layers.GlobalAveragePooling2D()(x)))
    with pytest.raises(UnsupportedError, match=r"block_001 \(first\) ends in shape \(None, None"):
        ALGORITHMS[name](net)


def test_predictors_that_no_memory_holds_are_refused_before_they_are_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(predicting_nets, "memory_limit_bytes", lambda: 2**20)
    net = keras.Sequential([keras.Input((4,)), keras.layers.Dense(600), keras.layers.Dense(2)])
    says = "'feedback_block_001' from 600 to 600 units takes 1.4 MiB, more than the 1.0 MiB"
    with pytest.raises(UnsupportedError, match=says):
        ALGORITHMS["dni"](net)


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        (np.zeros((8, 2)), r"labels of shape \(8, 2\)"),
        (np.zeros(8, "float32"), r"labels of shape \(8,\) and type float32.*such as int32"),
        (np.zeros((8, 3, 1)), r"labels of shape \(8, 3, 1\)"),
    ],
)
def test_labels_that_cannot_be_encoded_are_refused(labels: np.ndarray, says: str) -> None:
    trainer = ALGORITHMS["cdni"](dense_net())
    trainer.compile("adam", lambda y, z: tf.reduce_mean(z, -1), run_eagerly=True)
    with pytest.raises(UnsupportedError, match=f"CDNI received {says}.*train with 'dni'"):
        trainer.train_on_batch(dense_data()[0], labels)


def test_numbers_and_one_hot_labels_train_alike() -> None:
    x, y = dense_data()
    weights = []
    for labels, loss in ((y, LOSS), (np.eye(3)[y], keras.losses.CategoricalCrossentropy(True))):
        trainer = ALGORITHMS["cdni"](dense_net())
        trainer.compile("adam", loss, run_eagerly=True)
        for _ in range(3):
            trainer.train_on_batch(x, labels)
        weights.append(weights_of(trainer))
    for one, other in zip(*weights, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)


def test_labels_of_each_position_are_refused() -> None:
    dense = keras.layers.Dense
    net = keras.Sequential([keras.Input((5, 4)), dense(6), dense(3)])
    with pytest.raises(UnsupportedError, match=r"logits have the shape \(None, 5, 3\).*'dni'"):
        ALGORITHMS["cdni"](net)
    # Without labels predictors of sequences are convolutions over the positions.
    (predictor,) = ALGORITHMS["dni"](net).predictors
    assert predictor.layers[-1].kernel.shape == (5, 6, 6)


@pytest.mark.parametrize("name", NAMES)
def test_where_no_gradient_passes_it_is_said(name: str) -> None:
    layers = keras.layers
    stop = layers.Lambda(keras.ops.stop_gradient, name="stop")
    # The stop belongs to the block before, which has a true output; behind it nothing passes.
    inputs = keras.Input((7,))
    x = layers.Dense(5)(inputs)
    x = layers.Add()([layers.Dense(5, name="cut")(stop(x)), layers.Dense(5)(stop(x))])
    net = keras.Model(inputs, layers.Dense(3)(x))
    trainer = ALGORITHMS[name](net)
    trainer.compile("adam", LOSS, run_eagerly=True)
    with pytest.raises(UnsupportedError, match="no gradient passes back through block_002"):
        trainer.train_on_batch(*dense_data())


@pytest.mark.parametrize("optimizer", ["sgd", keras.optimizers.SGD(0.1, momentum=0.9)])
@pytest.mark.parametrize("name", NAMES)
def test_sgd_is_warned_of_by_name(name: str, optimizer: Any) -> None:
    trainer = ALGORITHMS[name](dense_net())
    says = f"{type(trainer).__name__} received SGD, with which predictors hardly learn"
    with pytest.warns(UserWarning, match=says):
        trainer.compile(optimizer, LOSS)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"shape": (7,), "dtype": "int32"}, "the type int32"),
        ({"shape": (7,), "sparse": True}, "the type sparse float32"),
    ],
)
def test_inputs_that_nothing_is_predicted_from_are_refused(given: dict, says: str) -> None:
    inputs = keras.Input(**given)
    x = inputs if given.get("sparse") else keras.layers.Embedding(5, 2)(inputs)
    x = keras.layers.Dense(4)(x if given.get("sparse") else keras.layers.Flatten()(x))
    with pytest.raises(UnsupportedError, match=f"Unlock received .*{says}.*train with 'dni'"):
        ALGORITHMS["unlock"](keras.Model(inputs, keras.layers.Dense(3)(x)))


def test_images_of_another_size_are_predicted_from_the_input_in_that_size() -> None:
    trainer = ALGORITHMS["unlock"](conv_net(), predictor_layers=0)
    shapes = [(net.input_shape, net.output_shape) for net in trainer.synthetic_inputs]
    assert shapes == [
        ((None, 5, 5, 2), (None, 5, 5, 4)),
        ((None, 3, 3, 2), (None, 3, 3, 3)),
    ]
