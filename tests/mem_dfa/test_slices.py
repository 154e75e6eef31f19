"""Blocks in slices of the batch: the same step, of less."""

import itertools
from collections.abc import Callable
from functools import cache

import keras
import numpy as np
import pytest
import tensorflow as tf

from mem_dfa import DFA, MemDFA, UnsupportedError
from mem_dfa.chain.chain import Chain
from mem_dfa.chain.rehearsal import Rehearsal
from mem_dfa.memory.batch_parts import cut, cut_errors
from mem_dfa.memory.batch_slices import (
    chain_peak_bytes,
    first_pass_counts,
    peak_bytes,
    slice_counts,
)
from tests.mem_dfa.comparison import EXECUTIONS, batch, change, compiled, distance


def net(between: keras.layers.Layer | None = None, regularizer: str | None = None) -> keras.Model:
    """Wide convolutions, `between` after the second, and a narrow classifier."""
    keras.utils.set_random_seed(0)
    layers = [keras.Input((8, 8, 3))]
    for _ in range(2):
        layers += [keras.layers.Conv2D(8, 3, padding="same", kernel_regularizer=regularizer)]
        layers += [keras.layers.Activation("tanh")]
    layers += [between] if between else []
    layers += [keras.layers.Conv2D(8, 3, padding="same", activation="tanh")]
    return keras.Sequential([*layers, keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(3)])


BETWEEN = {
    "nothing": lambda: None,
    "pooling": lambda: keras.layers.MaxPooling2D(),
    "normalisation": lambda: keras.layers.BatchNormalization(),
    "groups": lambda: keras.layers.GroupNormalization(2),
    "whole": lambda: keras.Sequential(
        [
            keras.layers.MaxPooling2D(4),
            keras.layers.Conv2D(4, 3, padding="same"),
            keras.layers.BatchNormalization(),
        ]
    ),
    "dropout": lambda: keras.layers.Dropout(0.5, seed=1),
}


@cache
def changed(slices: int, execution: str) -> list[np.ndarray]:
    """By three steps of a net with penalties."""
    trainer = MemDFA(net(regularizer="l2"), slices=slices)
    compiled(trainer, keras.optimizers.Adam(0.01), **EXECUTIONS[execution])
    return change(trainer, steps=3, dtype="float64")


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(
    ("slices", "execution"), [(3, "graph"), (100, "eager"), (3, "eager"), (3, "xla")]
)
def test_slices_do_not_change_the_step(slices: int, execution: str) -> None:
    assert distance(changed(slices, execution), changed(1, "eager")) <= 1e-7


@pytest.mark.parametrize("between", BETWEEN)
def test_slices_do_not_change_the_step_in_float32(between: str) -> None:
    momentum = {"learning_rate": 0.1, "momentum": 0.9}
    changes = [
        change(
            compiled(
                MemDFA(net(BETWEEN[between]()), slices=slices),
                keras.optimizers.SGD(**momentum),
                run_eagerly=True,
            ),
            steps=3,
        )
        for slices in (4, 1)
    ]
    assert distance(*changes) <= 1e-5


def with_an_embedding(make: Callable, execution: str) -> list[np.ndarray]:
    words = np.random.default_rng(0).integers(50, size=(64, 200))
    keras.utils.set_random_seed(0)
    layers = keras.layers
    body = [layers.Embedding(50, 48), layers.Conv1D(32, 5, activation="relu")]
    body += [layers.GlobalMaxPooling1D(), layers.Dense(10)]
    trainer = make(keras.Sequential([keras.Input((200,)), *body]))
    compiled(trainer, keras.optimizers.SGD(0.1), **EXECUTIONS[execution])
    trainer.train_on_batch(words, np.arange(64) % 10)
    return trainer.network.get_weights()


@cache
def of_dfa_with_an_embedding() -> list[np.ndarray]:
    return with_an_embedding(DFA, "graph")


@pytest.mark.parametrize(
    ("slices", "execution"), [*itertools.product([None, 1, 3], ["graph", "eager"]), (3, "xla")]
)
def test_the_rows_of_an_embedding_add_up(slices: int | None, execution: str) -> None:
    """Each slice's gradient has the rows of its own words."""
    got = with_an_embedding(lambda network: MemDFA(network, slices=slices), execution)
    for expected, ours in zip(of_dfa_with_an_embedding(), got, strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.usefixtures("float64")
def test_a_last_batch_smaller_than_the_slices_counts_in_full() -> None:
    """Its size is unknown when the step is traced: some slices are empty."""
    x, y = batch("float64")
    data = tf.data.Dataset.from_tensor_slices((x, y)).batch(13)  # 13 and 3
    weights = []
    for slices in (5, 1):
        trainer = compiled(MemDFA(net(), slices=slices), keras.optimizers.SGD(0.1))
        trainer.fit(data, epochs=2, verbose=0)
        weights.append(trainer.network.get_weights())
    start = net().get_weights()
    changes = [[w - s for w, s in zip(one, start, strict=True)] for one in weights]
    assert np.isfinite(changes[0][0]).all()
    assert distance(*changes) <= 1e-10


@pytest.mark.parametrize("between", ["groups", "whole"])
def test_a_last_batch_of_one_two_or_three_images(between: str) -> None:
    """Some operations take no empty batch, and statistics are of the examples there are."""
    x, y = batch()
    steps = [(x[:13], y[:13]), *((x[-size:], y[-size:]) for size in (1, 2, 3))]
    kinds = tf.TensorSpec((None, 8, 8, 3)), tf.TensorSpec((None,), tf.int64)
    data = tf.data.Dataset.from_generator(lambda: iter(steps), output_signature=kinds)
    changes = []
    for slices in (4, 1):
        network = net(BETWEEN[between]())
        before = network.get_weights()
        trainer = compiled(MemDFA(network, slices=slices), keras.optimizers.SGD(0.1))
        trainer.fit(data, verbose=0)
        changes.append([w - b for w, b in zip(network.get_weights(), before, strict=True)])
    assert distance(*changes) <= 1e-5


@pytest.mark.parametrize(
    ("between", "expected"),
    [
        ("nothing", [4, 4, 4, 1]),
        ("normalisation", [1, 1, 1, 1]),
        ("dropout", [1, 1, 1, 1]),
    ],
)
def test_only_blocks_that_set_the_peak_and_may_be_sliced(between: str, expected: list) -> None:
    blocks = Chain.from_model(net(BETWEEN[between]())).blocks
    assert slice_counts(blocks, 4096) == expected
    assert slice_counts(blocks, 4096, 1) == [1] * len(blocks)


def test_the_first_pass_is_whole_where_that_takes_no_more() -> None:
    """Of two slices the second pass holds as much as a whole first one, of four less."""
    blocks = Chain.from_model(net()).blocks
    for slices, expected in ((2, [1, 1, 1, 1]), (4, [4, 4, 4, 1]), (1, [1, 1, 1, 1])):
        counts = slice_counts(blocks, 4096, slices)
        assert first_pass_counts(blocks, counts, 4096) == expected


def test_a_first_pass_with_branches_holds_what_they_made() -> None:
    """X and three outputs at once, where a chain would hold two."""
    inputs = keras.Input((8, 8, 8))
    x = keras.layers.Conv2D(8, 3, padding="same")(inputs)
    branches = [keras.layers.Conv2D(8, 3, padding="same")(x) for _ in range(3)]
    outputs = keras.layers.GlobalAveragePooling2D()(keras.layers.Concatenate()(branches))
    blocks = Chain.from_model(keras.Model(inputs, outputs)).blocks
    activation = blocks[0].bytes(64).output
    assert blocks[0].bytes(64).forward_peak == 2 * activation
    assert blocks[1].bytes(64).forward_peak >= 4 * activation


def test_what_a_sliced_block_takes_is_made_in_slices() -> None:
    """Alone the first block would set no peak; slices of its whole output are freed together."""
    layers = [keras.Input((8, 8, 3))]
    layers += [keras.layers.Conv2D(8, 3, padding="same", activation="tanh") for _ in range(4)]
    network = keras.Sequential([*layers, keras.layers.GlobalAveragePooling2D()])
    blocks = Chain.from_model(network).blocks
    assert peak_bytes(blocks, 0, 4096, 1) < chain_peak_bytes(blocks, [3] * 4, 4096)
    assert slice_counts(blocks, 4096, 3)[:3] == [3, 3, 3]
    whole_first = chain_peak_bytes(blocks, [1, 3, 3, 3], 4096)
    assert whole_first > chain_peak_bytes(blocks, [3, 3, 3, 3], 4096)


def test_no_slice_is_smaller_than_it_is_worth() -> None:
    """The widest output takes 2 KiB an example."""
    blocks = Chain.from_model(net()).blocks
    counts = [max(slice_counts(blocks, batch_size)) for batch_size in (512, 1024, 1536, 65536)]
    assert counts == [1, 2, 3, 4]
    assert max(slice_counts(blocks, 16, 4)) == 4


class CentreOverBatch(keras.layers.Layer):
    def call(self, x: tf.Tensor) -> tf.Tensor:
        return x - tf.reduce_mean(x, axis=0, keepdims=True)

    def compute_output_shape(self, shape: tuple) -> tuple:
        return shape


@pytest.mark.parametrize(
    "between",
    [
        CentreOverBatch,
        lambda: keras.layers.TimeDistributed(CentreOverBatch()),
        lambda: keras.layers.Activation(lambda x: x - tf.reduce_mean(x, 0)),
        lambda: keras.layers.Conv2D(8, 3, activation=lambda x: x - tf.reduce_mean(x, 0)),
        lambda: keras.layers.Softmax(axis=0),
        lambda: keras.layers.UnitNormalization(axis=-4),
    ],
)
def test_layers_in_which_examples_may_meet_are_not_sliced(between: Callable) -> None:
    """Of the user's own, with such functions, or along the batch's axis."""
    trainers = (MemDFA(net(between()), slices=number) for number in (3, 1))
    changes = [
        change(compiled(trainer, keras.optimizers.SGD(0.1), run_eagerly=True), steps=1)
        for trainer in trainers
    ]
    assert distance(*changes) <= 1e-5


def test_cut_and_join() -> None:
    whole = tf.reshape(tf.range(14), (7, 2))
    parts = cut([whole], 3, 7)
    assert [part.shape[0] for part in parts] == [2, 2, 3]
    assert cut(parts, 3, 7) is parts
    np.testing.assert_array_equal(cut(parts, 1, 7)[0], whole)


def test_an_example_stands_in_for_an_empty_slice() -> None:
    """No kernel has to take an empty batch, and nothing counts twice."""
    whole = tf.constant([[1.0, 2.0], [3.0, 4.0]])
    size = tf.shape(whole)[0]
    parts = cut([whole], 5, size)
    assert [part.shape[0] for part in parts] == [1] * 5
    np.testing.assert_array_equal(cut(parts, 1, size)[0], whole)
    np.testing.assert_array_equal(sum(cut_errors(whole, 5, size)), [[4.0, 6.0]])


@pytest.mark.parametrize("slices", [0, -1, 1.5, True, "2"])
def test_what_is_no_number_of_slices_is_refused(slices) -> None:  # noqa: ANN001
    with pytest.raises(UnsupportedError, match="slices"):
        MemDFA(net(), slices=slices)


def test_slices_are_saved_with_the_trainer(tmp_path) -> None:  # noqa: ANN001
    trainer = compiled(MemDFA(net(), slices=2), keras.optimizers.SGD(0.1))
    trainer.save(tmp_path / "trainer.keras")
    assert keras.saving.load_model(tmp_path / "trainer.keras").slices == 2


@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
def test_an_output_does_not_hold_its_activations_input(activation: str) -> None:
    """Keras keeps it there for losses; eagerly each slice would take twice its bytes."""
    layers = [keras.layers.Dense(4, activation=activation), keras.layers.Dense(3)]
    x = tf.ones((2, 5))
    assert hasattr(layers[0](x), "_keras_logits")
    layers.append(keras.layers.Activation("softmax"))
    chain = Chain.from_model(keras.Sequential([keras.Input((5,)), *layers]))
    first = chain.blocks[0]
    for outputs in (first.run(x, "forward"), Rehearsal().run(first, x, "forward")):
        assert not hasattr(outputs, "_keras_logits")
    logits = chain.blocks[1].run(outputs, "forward")
    assert hasattr(chain.head.run(logits, "forward"), "_keras_logits")
