"""Slices of a batch add up to BP's own step."""

import re
from functools import cache

import keras
import numpy as np
import pytest
import tensorflow as tf

from mem_dfa import ALGORITHMS, BP, MODELS, Microbatch, UnsupportedError
from mem_dfa.layers.reversible import ReversibleBlock
from mem_dfa.memory.checkpoint_plan import PREDICTION_MARGIN
from tests.mem_dfa.comparison import compiled, distance, recorded

EXAMPLES = 10


def plain_net() -> keras.Model:
    """A regulariser, but nothing in which examples meet."""
    keras.utils.set_random_seed(1)
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((6, 6, 2)),
            layers.Conv2D(4, 3, activation="relu", kernel_regularizer="l2"),
            layers.GroupNormalization(2),
            layers.Flatten(),
            layers.Dense(5, activation="tanh", kernel_regularizer="l2"),
            layers.Dense(3),
        ]
    )


def examples(dtype: str = "float32") -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    x = generator.normal(size=(EXAMPLES, 6, 6, 2)).astype(dtype)
    return x, np.arange(EXAMPLES) % 3, generator.uniform(0.5, 2, size=EXAMPLES).astype(dtype)


def sgd() -> keras.optimizers.Optimizer:
    return keras.optimizers.SGD(0.1, momentum=0.9)


def trained(
    trainer: keras.Model, weighted: bool = False, dtype: str = "float64"
) -> tuple[list[np.ndarray], dict[str, float]]:
    """What two steps change, and what the second one logs."""
    x, y, weights = examples(dtype)
    before = trainer.network.get_weights()
    for _ in range(2):
        logs = trainer.train_on_batch(
            x, y, sample_weight=weights if weighted else None, return_dict=True
        )
    after = trainer.network.get_weights()
    return [a - b for a, b in zip(after, before, strict=True)], logs


@cache
def trained_by_bp(weighted: bool) -> tuple[list[np.ndarray], dict[str, float]]:
    return trained(compiled(BP(plain_net()), sgd(), run_eagerly=True), weighted)


# 3 and 7 do not divide the ten examples; 14 are more slices than examples.
@pytest.mark.parametrize(
    ("slices", "weighted", "eager"),
    [
        (1, False, True),
        (3, False, False),
        (7, True, False),
        (EXAMPLES, False, True),
        (14, True, True),
    ],
)
@pytest.mark.usefixtures("float64")
def test_the_sum_of_the_slices_is_bps_step(slices: int, weighted: bool, eager: bool) -> None:
    trainer = compiled(Microbatch(plain_net(), slices), sgd(), run_eagerly=eager)
    ours, logs = trained(trainer, weighted)
    expected, expected_logs = trained_by_bp(weighted)
    assert all(np.any(weight != 0) for weight in expected)
    assert distance(ours, expected) <= 1e-10
    assert logs.keys() == expected_logs.keys() == {"loss", "accuracy"}
    for name, value in expected_logs.items():
        assert float(logs[name]) == pytest.approx(float(value), rel=1e-6)


def test_eager_slices_are_bps_step_in_float32() -> None:
    ours, expected = (
        trained(compiled(trainer, sgd(), run_eagerly=True))
        for trainer in (Microbatch(plain_net(), 3), BP(plain_net()))
    )
    assert distance(ours[0], expected[0]) <= 1e-5


@pytest.mark.usefixtures("float64")
def test_a_last_batch_smaller_than_the_slices_counts_as_it_should() -> None:
    x, y, _ = examples("float64")
    weights = []
    for make in (lambda net: Microbatch(net, 4), BP):
        trainer = compiled(make(plain_net()), sgd())
        # Eight examples, then two: fewer than the four slices.
        history = trainer.fit(x, y, batch_size=8, epochs=2, shuffle=False, verbose=0).history
        assert np.all(np.isfinite(history["loss"]))
        weights.append(trainer.network.get_weights())
    for ours, expected in zip(*weights, strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-9, atol=1e-11)


def test_batch_normalization_is_refused_by_name() -> None:
    inner = keras.Sequential([keras.layers.BatchNormalization(name="whole_batch")])
    net = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4), inner])
    with pytest.raises(UnsupportedError, match=r"'whole_batch'.*'checkpoint'"):
        Microbatch(net)


def test_batch_normalization_inside_another_layer_is_refused_by_name() -> None:
    """A ReversibleBlock and Keras's wrappers hold layers that no model opens."""
    branches = [keras.layers.BatchNormalization(name=f"inner_{side}") for side in "fg"]
    block = ReversibleBlock(*branches)
    with pytest.raises(UnsupportedError, match=r"'inner_[fg]'"):
        Microbatch(keras.Sequential([keras.Input((4,)), block, keras.layers.Dense(3)]))


def test_a_frozen_batch_normalization_takes_its_moving_statistics() -> None:
    x, y, _ = examples()
    trained = []
    for make in (BP, lambda network: Microbatch(network, slices=3)):
        network = plain_net()
        network.layers[1].trainable = False
        keras.utils.set_random_seed(2)
        frozen = keras.layers.BatchNormalization(trainable=False, name="frozen")
        network = keras.Sequential([keras.Input((6, 6, 2)), frozen, *network.layers])
        frozen.moving_mean.assign([0.5, -0.5])
        trainer = compiled(make(network), sgd(), run_eagerly=True)
        trainer.train_on_batch(x, y)
        trained.append(network.get_weights())
    for expected, got in zip(*trained, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-6)
    frozen.trainable = True
    with pytest.raises(UnsupportedError, match="'frozen'"):
        compiled(trainer, sgd())


def test_layers_with_a_state_for_each_example_are_refused_by_name() -> None:
    layer = keras.layers.LSTM(3, stateful=True, name="remembers")
    network = keras.Sequential([keras.Input((4, 2), batch_size=8), layer])
    with pytest.raises(UnsupportedError, match=r"'remembers' \(LSTM\).*stateful=False"):
        Microbatch(network)


def test_the_rows_of_an_embedding_stay_rows() -> None:
    """Adam takes the words of a batch one by one, as it does a whole batch's."""
    words = np.random.default_rng(0).integers(20, size=(12, 5))
    trained = []
    for make in (BP, lambda network: Microbatch(network, slices=3)):
        keras.utils.set_random_seed(1)
        body = [keras.layers.Embedding(30, 4), keras.layers.Flatten(), keras.layers.Dense(3)]
        network = keras.Sequential([keras.Input((5,)), *body])
        trainer = compiled(make(network), keras.optimizers.Adam(0.01))
        before = network.get_weights()
        for _ in range(3):
            trainer.train_on_batch(words, np.arange(12) % 3)
        trained.append([w - b for w, b in zip(network.get_weights(), before, strict=True)])
    assert distance(*trained) <= 1e-4


class Noise(keras.layers.Layer):
    """Draws from a generator that is no layer's."""

    def __init__(self, generator: keras.random.SeedGenerator | None) -> None:
        super().__init__()
        self.draw = lambda shape: keras.random.normal(shape, seed=generator)

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return x + self.draw(keras.ops.shape(x))


class Watched(keras.layers.Layer):
    """Logs the mean of what passes."""

    def __init__(self) -> None:
        super().__init__()
        self.mean = keras.metrics.Mean(name="watched")

    def call(self, x: tf.Tensor) -> tf.Tensor:
        self.mean.update_state(x)
        return x


@pytest.mark.parametrize("how", [{}, {"run_eagerly": True}, {"jit_compile": True}])
@pytest.mark.parametrize("generator", [None, keras.random.SeedGenerator(1)])
def test_noise_is_drawn_anew_in_every_step(
    generator: keras.random.SeedGenerator | None, how: dict
) -> None:
    body = [Noise(generator), keras.layers.Dense(3)]
    trainer = Microbatch(keras.Sequential([keras.Input((4,)), *body]), slices=2)
    compiled(trainer, keras.optimizers.SGD(0.0), **how)
    x, y = np.ones((6, 4), "float32"), np.arange(6) % 3
    assert len({float(trainer.train_on_batch(x, y)[0]) for _ in range(3)}) == 3


@pytest.mark.parametrize("size", [EXAMPLES, 2])
def test_a_metric_inside_a_layer_is_logged(size: int) -> None:
    """Where some slices are empty, too."""
    x, y, _ = examples()
    data = tf.data.Dataset.from_tensor_slices((x, y)).batch(size - 1)
    logs = []
    for make in (BP, lambda network: Microbatch(network, slices=4)):
        network = keras.Sequential([keras.Input((6, 6, 2)), Watched(), *plain_net().layers])
        logs.append(compiled(make(network), sgd()).fit(data, verbose=0).history)
    assert logs[1]["watched"] == pytest.approx(logs[0]["watched"], rel=1e-5)


@pytest.mark.parametrize(("slices", "eager"), [(5, False), (5, True), (1, False), (1, True)])
def test_losses_of_single_outputs_are_logged_as_keras_does(slices: int, eager: bool) -> None:
    """Of unequal and of empty slices, by their shares."""
    x, y, _ = examples()
    data = tf.data.Dataset.from_tensor_slices((x, (y, x[:, 0, 0]))).batch(7)
    logs = []
    for make in (lambda network: network, lambda network: Microbatch(network, slices)):
        keras.utils.set_random_seed(0)
        inputs = keras.Input((6, 6, 2))
        hidden = keras.layers.Flatten()(inputs)
        outputs = [keras.layers.Dense(3)(hidden), keras.layers.Dense(2)(hidden)]
        trainer = make(keras.Model(inputs, outputs))
        cross_entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        trainer.compile(sgd(), [cross_entropy, "mse"], run_eagerly=eager, jit_compile=False)
        history = trainer.fit(data, epochs=2, verbose=0).history
        logs.append(np.array(sorted(history.values())))
    np.testing.assert_allclose(logs[1], logs[0], rtol=1e-5)


def test_the_loss_of_two_replicas_is_logged_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y, _ = examples()
    strategy = type(tf.distribute.get_strategy())
    monkeypatch.setattr(strategy, "num_replicas_in_sync", 2)
    logged = [
        compiled(make(plain_net()), sgd(), run_eagerly=True).train_on_batch(x, y)[0]
        for make in (BP, lambda network: Microbatch(network, slices=3))
    ]
    assert logged[1] == pytest.approx(logged[0], rel=1e-5)


def test_the_greatest_values_of_float8_are_not_added() -> None:
    x, y = np.random.default_rng(0).normal(size=(16, 50, 6)), np.arange(16) % 3
    found = []
    for slices in (1, 4):
        keras.utils.set_random_seed(1)
        wide = [keras.layers.Dense(32, activation="tanh") for _ in range(2)]
        head = [keras.layers.GlobalAveragePooling1D(), keras.layers.Dense(3)]
        network = keras.Sequential([keras.Input((50, 6)), *wide, *head])
        network.quantize("float8")
        trainer = compiled(Microbatch(network, slices=slices), sgd())
        for _ in range(3):
            trainer.train_on_batch(x, y)
        found.append([v.numpy() for v in network.variables if v.overwrite_with_gradient])
    assert len(found[0]) == 18
    for expected, got in zip(*found, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-3)


def test_losses_that_are_no_mean_are_refused() -> None:
    for reduction in ("sum", "mean_with_sample_weight"):
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction=reduction)
        with pytest.raises(UnsupportedError, match=f"reduction='{reduction}'"):
            Microbatch(plain_net()).compile("sgd", loss)


def whole_batch_loss(y: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(tf.square(y - outputs))


@pytest.mark.parametrize(
    ("loss", "eager"),
    [
        (keras.losses.Dice(), False),
        (keras.losses.Dice(), True),
        (keras.losses.Tversky(), True),
        (whole_batch_loss, True),
    ],
)
def test_losses_of_a_whole_batch_are_refused(loss: object, eager: bool) -> None:
    trainer = Microbatch(plain_net(), slices=2)
    trainer.compile(sgd(), loss, run_eagerly=eager, jit_compile=False)
    x, y, _ = examples()
    with pytest.raises(UnsupportedError, match="loss of 2 slices, weighted by their shares, is"):
        trainer.train_on_batch(x, np.eye(3, dtype="float32")[y])
    trainer.compile(sgd(), keras.losses.Dice(axis=-1), run_eagerly=eager, jit_compile=False)
    trainer.train_on_batch(x, np.eye(3, dtype="float32")[y])


def test_labels_may_come_in_a_list_and_outputs_be_numbers() -> None:
    """One number an example: its mean over the last axis is the batch's, which slices add up to."""
    x, y, _ = examples()
    trained = []
    for algorithm in (BP, lambda network: Microbatch(network, slices=2)):
        keras.utils.set_random_seed(0)
        layers = keras.layers
        body = [layers.Flatten(), layers.Dense(1), layers.Reshape(())]
        trainer = algorithm(keras.Sequential([keras.Input((6, 6, 2)), *body]))
        trainer.compile(sgd(), "mse", run_eagerly=True)
        trainer.train_on_batch(x, [y.astype("float32")])
        trained.append(trainer.network.get_weights())
    for expected, got in zip(*trained, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-6)
    trainer = Microbatch(plain_net(), slices=2)
    trainer.compile(
        sgd(), keras.losses.SparseCategoricalCrossentropy(from_logits=True), run_eagerly=True
    )
    trainer.train_on_batch(x, [y])


def test_masks_are_refused() -> None:
    """They make examples count differently, and slices with them."""
    layers = keras.layers
    embedding = layers.Embedding(9, 4, mask_zero=True)
    body = [embedding, layers.LSTM(3, return_sequences=True), layers.Dense(3)]
    trainer = Microbatch(keras.Sequential([keras.Input((5,)), *body]), slices=2)
    trainer.compile(sgd(), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    with pytest.raises(UnsupportedError, match="has a mask"):
        trainer.train_on_batch(np.ones((4, 5)), np.ones((4, 5)))


def test_added_losses_are_refused() -> None:
    layer = keras.layers.Dense(3, activity_regularizer="l2")
    trainer = compiled(Microbatch(keras.Sequential([keras.Input((4,)), layer])), sgd())
    with pytest.raises(UnsupportedError, match="add_loss"):
        trainer.train_on_batch(np.ones((8, 4), "float32"), np.zeros(8))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"slices": 0}, "slices=0: give a whole number, at least 1"),
        ({"slices": 1.5}, "slices=1.5"),
        ({"slices": 2, "budget": "1 MiB"}, "slices and budget"),
        ({"budget": "much"}, "64 MiB"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(arguments: dict, says: str) -> None:
    with pytest.raises(UnsupportedError, match=says):
        Microbatch(plain_net(), **arguments)


def test_a_budget_takes_as_few_slices_as_it_can() -> None:
    net = MODELS["conv20"](layers=4, seed=0)
    predicted = {n: Microbatch(net, n).predict_step_bytes(16) for n in range(1, 17)}
    assert predicted[1] > predicted[4] > predicted[16]
    chosen = set()
    for slices in (1, 2, 4, 8, 16):
        budget = int(predicted[slices] * (1 + PREDICTION_MARGIN)) + 1
        found = Microbatch(net, budget=budget, batch_size=16).count_slices(16)
        assert predicted[found] * (1 + PREDICTION_MARGIN) <= budget
        assert all(predicted[n] * (1 + PREDICTION_MARGIN) > budget for n in range(1, found))
        chosen.add(found)
    assert len(chosen) == 5
    trainer = Microbatch(net, budget=1000, batch_size=16)
    with pytest.raises(UnsupportedError, match="one example at a time takes") as refusal:
        trainer.count_slices(16)
    least = int(re.search(r"takes (\d+) bytes", str(refusal.value))[1])
    assert Microbatch(net, budget=least, batch_size=16).count_slices(16) == 16


def test_a_budget_needs_batches_of_a_known_size() -> None:
    x, y, _ = examples()
    trainer = compiled(Microbatch(plain_net(), budget="1 MiB"), sgd())
    data = tf.data.Dataset.from_tensor_slices((x, y)).batch(5)
    with pytest.raises(UnsupportedError, match=r"batch_size=\.\.\., or .* drop_remainder=True"):
        trainer.fit(data, verbose=0)


def test_slices_run_one_after_another() -> None:
    x, y = tf.fill((16, 32, 32, 3), 0.5), tf.zeros((16,), tf.int32)
    peaks = {}
    for name, how in (("bp", {}), ("microbatch", {"slices": 8})):
        network = MODELS["conv20"](layers=5, seed=0)
        trainer = compiled(ALGORITHMS[name](network, **how), keras.optimizers.SGD(0.01))
        (timeline,) = recorded(trainer, x, y, 1)
        peaks[name] = timeline.step_requested_bytes
    # An eighth of the activations, beside two copies of the gradients: 1.4 MiB of the 5 MiB.
    assert peaks["microbatch"] < 0.5 * peaks["bp"]


def test_what_is_made_of_weights_alone_is_made_for_one_slice() -> None:
    x, y = tf.fill((16, 256), 0.5), tf.zeros((16,), tf.int32)
    peaks = {}
    for name, how in (("bp", {}), ("microbatch", {"slices": 8})):
        dense = [keras.layers.Dense(256) for _ in range(4)]
        network = keras.Sequential([keras.Input((256,)), *dense])
        for layer in dense:
            layer.enable_lora(2)
        trainer = compiled(ALGORITHMS[name](network, **how), keras.optimizers.SGD(0.01))
        peaks[name] = min(one.step_requested_bytes for one in recorded(trainer, x, y, 4))
    # Those of all eight slices together would be eight times as much; bp's two gradients may race.
    assert peaks["microbatch"] <= 2 * peaks["bp"]


def test_a_net_for_which_it_saves_nothing_is_told_so_with_both_numbers() -> None:
    dense = [keras.layers.Dense(256) for _ in range(3)]
    trainer = Microbatch(keras.Sequential([keras.Input((256,)), *dense]))
    with pytest.warns(UserWarning, match=rf"{trainer.predict_step_bytes(32)} bytes, .* 'bp' \d+"):
        compiled(trainer, sgd())
