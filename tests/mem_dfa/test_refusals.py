"""What an algorithm cannot train it refuses, by name."""

from collections.abc import Callable

import keras
import numpy as np
import pytest
import tensorflow as tf

from mem_dfa import ALGORITHMS, DFA, FA, Checkpoint, MemDFA, UnsupportedError
from tests.mem_dfa.comparison import LOSS, blobs, small_network
from tests.mem_dfa.table import ANY_BLOCKS, BLOCK_BY_BLOCK, REPLAYING, reversible, trainer_by

REFUSED_BY_FA = {
    "lstm": lambda: keras.layers.LSTM(4),
    "attention": lambda: keras.layers.MultiHeadAttention(2, 3),
    "time_distributed": lambda: keras.layers.TimeDistributed(keras.layers.Dense(3)),
}


@pytest.mark.parametrize("kind", REFUSED_BY_FA)
def test_fa_refuses_by_name_what_has_no_kernel_to_replace(kind: str) -> None:
    inputs = keras.Input((5, 4))
    layer = REFUSED_BY_FA[kind]()
    hidden = layer(inputs, inputs) if kind == "attention" else layer(inputs)
    net = keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Flatten()(hidden)))
    with pytest.raises(UnsupportedError, match=f"'{layer.name}'"):
        FA(net)


@pytest.mark.parametrize("name", BLOCK_BY_BLOCK)
def test_unsupported_losses_are_refused_at_compile(name: str) -> None:
    trainer = trainer_by(name, small_network(name))
    for loss in (None, ["mse", "mse"], {"a": "mse", "b": "mse"}):
        with pytest.raises(UnsupportedError, match="exactly one Keras loss"):
            trainer.compile("sgd", loss)
    trainer.compile("sgd", lambda y, p: keras.ops.stop_gradient(p), jit_compile=False)
    with pytest.raises(UnsupportedError, match="no gradient"):
        trainer.train_on_batch(*blobs(8))


class EndsInSoftmax(keras.layers.Dense):
    def call(self, inputs, training=None):  # noqa: ANN001, ANN201
        return keras.ops.softmax(super().call(inputs))


def net_that_ends_in(*layers: keras.layers.Layer) -> keras.Model:
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input((6,)), keras.layers.Dense(4, "tanh"), *layers])


@pytest.mark.parametrize("name", ["dfa", "mem_dfa"])
@pytest.mark.parametrize(
    "loss",
    ["sparse_categorical_crossentropy", "ce", keras.losses.SparseCategoricalCrossentropy()],
    ids=["function", "ce", "instance"],
)
def test_probabilities_from_a_head_that_is_not_seen_are_refused(name: str, loss: object) -> None:
    tails = [[EndsInSoftmax(3, name="last")], [keras.layers.Dense(3), keras.layers.Dropout(0.1)]]
    for tail in tails:
        trainer = ALGORITHMS[name](net_that_ends_in(*tail))
        with pytest.raises(UnsupportedError, match=f"ends in '{tail[-1].name}'.*from_logits=True"):
            trainer.compile("sgd", loss)
        trainer.compile("sgd", LOSS)


def test_a_softmax_behind_which_the_loss_looks_is_named() -> None:
    trainer = Checkpoint(net_that_ends_in(EndsInSoftmax(3, name="last")))
    trainer.compile("sgd", "sparse_categorical_crossentropy", jit_compile=False)
    with pytest.raises(UnsupportedError, match=r"output of 'last'.*ends in a softmax"):
        trainer.train_on_batch(*blobs(8))


@pytest.mark.parametrize("run_eagerly", [True, False])
@pytest.mark.parametrize("name", ["checkpoint", "dfa", "mem_dfa"])
def test_a_softmax_in_a_lambda_trains_as_the_layer(name: str, run_eagerly: bool) -> None:
    weights = []
    for softmax in (keras.layers.Softmax(), keras.layers.Lambda(keras.ops.softmax)):
        net = net_that_ends_in(keras.layers.Dense(3), softmax)
        trainer = ALGORITHMS[name](net)
        loss = "sparse_categorical_crossentropy"
        trainer.compile("sgd", loss, run_eagerly=run_eagerly, jit_compile=False)
        trainer.train_on_batch(*blobs(8))
        weights.append(net.get_weights())
    for one, other in zip(*weights, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("run_eagerly", [True, False])
@pytest.mark.parametrize("name", BLOCK_BY_BLOCK)
def test_a_loss_that_reads_weights_is_refused(name: str, run_eagerly: bool) -> None:
    net = small_network(name)
    kernel = net.get_layer("first").kernel
    trainer = trainer_by(name, net)
    plain = keras.losses.sparse_categorical_crossentropy
    trainer.compile(
        "sgd", lambda y, p: plain(y, p) + keras.ops.sum(kernel**2), run_eagerly=run_eagerly
    )
    with pytest.raises(UnsupportedError, match="first/kernel' itself"):
        trainer.train_on_batch(*blobs(8))


@pytest.mark.parametrize("name", BLOCK_BY_BLOCK)
def test_regularised_weights_of_no_block_are_refused(name: str) -> None:
    sequential = small_network(name)
    net = keras.Model(sequential.inputs[0], sequential.outputs[0])
    net.extra = keras.layers.Dense(2, kernel_regularizer="l2", name="extra")
    trainer = ALGORITHMS[name](net)
    trainer.compile("sgd", LOSS)  # which has nothing to regularise yet
    net.extra.build((None, 2))
    with pytest.raises(UnsupportedError, match=r"'extra/kernel' is regularised"):
        trainer.compile("sgd", LOSS)
    net.extra.trainable = False
    trainer.compile("sgd", LOSS)


class DrawsItself(keras.layers.Layer):
    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        return tf.nn.dropout(inputs, 0.5)


class DrawsGamma(keras.layers.Layer):
    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        return inputs + tf.random.gamma(tf.shape(inputs), 1.0)


class DrawsByGenerator(keras.layers.Layer):
    def build(self, shape: tuple) -> None:
        self.generator = tf.random.Generator.from_seed(1)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        return inputs + self.generator.normal(tf.shape(inputs))


class DrawsInALoop(keras.layers.Layer):
    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        return tf.map_fn(lambda row: tf.nn.dropout(row, 0.5), inputs)


DRAWS = (DrawsItself, DrawsGamma, DrawsByGenerator, DrawsInALoop)


class ChangesItself(keras.layers.Dense):
    def call(self, inputs, training=None):  # noqa: ANN001, ANN201
        self.kernel.assign(self.kernel * 0.5)
        return super().call(inputs)


def net_with(layer: keras.layers.Layer, algorithm: str = "") -> keras.Model:
    layers = keras.layers
    body = [layers.Dense(6), layer, layers.Dense(6), *reversible(algorithm, 6), layers.Dense(6)]
    return keras.Sequential([keras.Input((6,)), *body, layers.Dense(3)])


@pytest.mark.parametrize("draws", DRAWS)
# FA refuses layers of the user's own.
@pytest.mark.parametrize(
    "name", [name for name in REPLAYING if name in ANY_BLOCKS and name != "checkpoint_fa"]
)
def test_draws_that_cannot_be_repeated_are_refused(name: str, draws: type) -> None:
    trainer = ALGORITHMS[name](
        net_with(draws(), name), **({"every": 3} if name == "checkpoint" else {})
    )
    trainer.compile("sgd", LOSS)
    with pytest.raises(UnsupportedError, match=r"draws random numbers by tf\.random"):
        trainer.train_on_batch(*blobs(8))


def test_a_block_that_is_kept_may_draw_as_it_likes() -> None:
    trainer = Checkpoint(net_with(DrawsItself()), budget="1 GiB")
    trainer.compile("sgd", LOSS, jit_compile=False)
    trainer.train_on_batch(*blobs(8))


def spectral_normalisation() -> keras.layers.Layer:
    return keras.layers.SpectralNormalization(keras.layers.Dense(6))


@pytest.mark.parametrize("make", [lambda: ChangesItself(6), spectral_normalisation])
@pytest.mark.parametrize("name", ["mem_dfa", "microbatch"])
def test_layers_that_change_their_weights_are_refused(name: str, make: Callable) -> None:
    with pytest.raises(UnsupportedError, match="changes its own weights"):
        trainer = ALGORITHMS[name](net_with(make()))
        trainer.compile("sgd", LOSS)
        trainer.train_on_batch(*blobs(8))


def test_unbuilt_networks_and_unknown_initializers_are_refused() -> None:
    with pytest.raises(UnsupportedError, match="not built"):
        MemDFA(keras.Sequential([keras.layers.Dense(2)]))
    for make in (FA, DFA, MemDFA):
        with pytest.raises(UnsupportedError, match=r"'glorot'.*uniform, signs"):
            make(small_network(), feedback_initializer="glorot")
