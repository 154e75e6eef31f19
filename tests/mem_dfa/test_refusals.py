"""What an algorithm cannot train it refuses, by name."""

import keras
import pytest
import tensorflow as tf

from mem_dfa import ALGORITHMS, DFA, FA, MemDFA, UnsupportedError
from tests.mem_dfa.comparison import blobs, small_network
from tests.mem_dfa.table import (
    BLOCK_BY_BLOCK,
)

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
    trainer = ALGORITHMS[name](small_network(name))
    for loss in (None, ["mse", "mse"], {"a": "mse"}):
        with pytest.raises(UnsupportedError, match="exactly one Keras loss"):
            trainer.compile("sgd", loss)
    trainer.compile("sgd", lambda y, p: keras.ops.stop_gradient(p), jit_compile=False)
    with pytest.raises(UnsupportedError, match="no gradient"):
        trainer.train_on_batch(*blobs(8))


class DrawsItself(keras.layers.Layer):
    def call(self, inputs):  # noqa: ANN001, ANN201
        return tf.nn.dropout(inputs, 0.5)


class ChangesItself(keras.layers.Dense):
    def call(self, inputs, training=None):  # noqa: ANN001, ANN201
        self.kernel.assign(self.kernel * 0.5)
        return super().call(inputs)


@pytest.mark.parametrize(("layer", "says"), [(DrawsItself, "tf.random"), (ChangesItself, "kernel")])
def test_mem_dfa_refuses_what_it_cannot_run_twice(layer: type, says: str) -> None:
    arguments = {"units": 6} if layer is ChangesItself else {}
    net = keras.Sequential(
        [keras.Input((6,)), keras.layers.Dense(6), layer(**arguments), keras.layers.Dense(3)]
    )
    trainer = MemDFA(net)
    trainer.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    with pytest.raises(UnsupportedError, match=says):
        trainer.train_on_batch(*blobs(8))


def test_unbuilt_networks_and_unknown_initializers_are_refused() -> None:
    with pytest.raises(UnsupportedError, match="not built"):
        MemDFA(keras.Sequential([keras.layers.Dense(2)]))
    for make in (FA, DFA, MemDFA):
        with pytest.raises(UnsupportedError, match=r"'glorot'.*uniform, signs"):
            make(small_network(), feedback_initializer="glorot")
