"""Batches that are no dense numbers: strings, and sparse tensors."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.mem_dfa.comparison import blobs, distance
from tests.mem_dfa.table import ANY_BLOCKS, TABLE, reversible, trainer_by

LOSS = "sparse_categorical_crossentropy"
POINTS, LABELS = blobs(13)  # which three slices cut unequally
POSITIVE = np.maximum(POINTS, 0)
WORDS = np.array(["nought", "one", "two", "three"])[(3 * np.abs(POINTS)).astype(int) % 4]


def network(algorithm: str, inputs: keras.KerasTensor, *first: keras.layers.Layer) -> keras.Model:
    keras.utils.set_random_seed(0)
    hidden = inputs
    middle = [keras.layers.Dense(8, activation="tanh"), *reversible(algorithm, 8)]
    for layer in [*first, *middle, keras.layers.Dense(3, activation="softmax")]:
        hidden = layer(hidden)
    return keras.Model(inputs, hidden)


def of_words(algorithm: str) -> tuple[keras.Model, object]:
    lookup = keras.layers.StringLookup(vocabulary=["one", "two", "three"])
    embedding = keras.layers.Embedding(4, 2, embeddings_initializer="ones")
    rest = [embedding, keras.layers.Flatten()]
    return network(algorithm, keras.Input((6,), dtype="string"), lookup, *rest), tf.constant(WORDS)


def of_numbers(algorithm: str) -> tuple[keras.Model, object]:
    numbers = keras.layers.StringLookup(vocabulary=["one", "two", "three"])(WORDS).numpy()
    embedding = keras.layers.Embedding(4, 2, embeddings_initializer="ones")
    rest = [embedding, keras.layers.Flatten()]
    return network(algorithm, keras.Input((6,), dtype="int32"), *rest), numbers


def of_sparse(algorithm: str) -> tuple[keras.Model, object]:
    return network(algorithm, keras.Input((6,), sparse=True)), tf.sparse.from_dense(POSITIVE)


def of_sparse_made_dense(algorithm: str) -> tuple[keras.Model, object]:
    return network(algorithm, keras.Input((6,))), tf.sparse.from_dense(POSITIVE)


def of_dense(algorithm: str) -> tuple[keras.Model, object]:
    return network(algorithm, keras.Input((6,))), POSITIVE


CASES = [
    pytest.param((of_words, of_numbers), True, id="words-eager"),
    pytest.param((of_sparse, of_dense), False, id="sparse-graph"),
    pytest.param((of_sparse_made_dense, of_dense), True, id="made dense-eager"),
]


@pytest.mark.parametrize(("makes", "run_eagerly"), CASES)
@pytest.mark.parametrize("name", ANY_BLOCKS)
def test_they_train_as_the_numbers_they_stand_for(name, makes, run_eagerly) -> None:  # noqa: ANN001
    changes = []
    for make, eager in zip(makes, (run_eagerly, True), strict=True):
        net, batch = make(name)
        trainer = trainer_by(name, net, **TABLE[name].again)
        trainer.compile(keras.optimizers.SGD(0.1), LOSS, run_eagerly=eager, jit_compile=False)
        before = net.get_weights()
        trainer.train_on_batch(batch, LABELS)
        changes.append([w - b for w, b in zip(net.get_weights(), before, strict=True)])
    assert distance(*changes) < 1e-5
