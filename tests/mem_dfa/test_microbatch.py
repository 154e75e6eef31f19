"""Slices of a batch add up to BP's own step."""

import re

import keras
import numpy as np
import pytest
import tensorflow as tf

from mem_dfa import ALGORITHMS, BP, MODELS, Microbatch, UnsupportedError
from mem_dfa.layers.reversible import ReversibleBlock
from mem_dfa.planning import ALLOCATOR_MARGIN
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


# 3 and 7 do not divide the ten examples; 14 are more slices than examples.
@pytest.mark.parametrize(
    ("slices", "weighted"), [(1, False), (3, False), (7, True), (EXAMPLES, False), (14, True)]
)
@pytest.mark.usefixtures("float64")
def test_the_sum_of_the_slices_is_bps_step(slices: int, weighted: bool) -> None:
    ours, logs = trained(compiled(Microbatch(plain_net(), slices), sgd()), weighted)
    expected, expected_logs = trained(compiled(BP(plain_net()), sgd()), weighted)
    assert all(np.any(weight != 0) for weight in expected)
    assert distance(ours, expected) <= 1e-10
    assert logs.keys() == expected_logs.keys() == {"loss", "accuracy"}
    for name, value in expected_logs.items():
        assert float(logs[name]) == pytest.approx(float(value), rel=1e-6)


def test_eager_slices_are_bps_step_in_float32() -> None:
    trainer = compiled(Microbatch(plain_net(), 3), sgd(), run_eagerly=True)
    ours, expected = trained(trainer), trained(compiled(BP(plain_net()), sgd()))
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


def test_losses_that_are_no_mean_are_refused() -> None:
    for reduction in ("sum", "mean_with_sample_weight"):
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction=reduction)
        with pytest.raises(UnsupportedError, match=f"reduction='{reduction}'"):
            Microbatch(plain_net()).compile("sgd", loss)


def whole_batch_loss(y: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(tf.square(y - outputs))


@pytest.mark.parametrize("eager", [False, True])
@pytest.mark.parametrize("loss", [keras.losses.Dice(), keras.losses.Tversky(), whole_batch_loss])
def test_losses_of_a_whole_batch_are_refused(loss: object, eager: bool) -> None:
    trainer = Microbatch(plain_net(), slices=2)
    trainer.compile(sgd(), loss, run_eagerly=eager)
    x, y, _ = examples()
    with pytest.raises(UnsupportedError, match="loss of 2 slices, weighted by their shares, is"):
        trainer.train_on_batch(x, np.eye(3, dtype="float32")[y])
    trainer.compile(sgd(), keras.losses.Dice(axis=-1), run_eagerly=eager)
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
        trainer.compile(sgd(), "mse")
        trainer.train_on_batch(x, [y.astype("float32")])
        trained.append(trainer.network.get_weights())
    for expected, got in zip(*trained, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-6)
    trainer = Microbatch(plain_net(), slices=2)
    trainer.compile(sgd(), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
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
        budget = int(predicted[slices] * (1 + ALLOCATOR_MARGIN)) + 1
        found = Microbatch(net, budget=budget, batch_size=16).count_slices(16)
        assert predicted[found] * (1 + ALLOCATOR_MARGIN) <= budget
        assert all(predicted[n] * (1 + ALLOCATOR_MARGIN) > budget for n in range(1, found))
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
