"""Cutting Keras models into chains of blocks."""

from collections.abc import Callable

import keras
import numpy as np
import pytest
import tensorflow as tf

from mem_dfa import MODELS, Chain, UnsupportedError


def run(chain: Chain, x: np.ndarray, training: bool = False) -> np.ndarray:
    for block in chain.blocks:
        x = block.run(x, "forward", training)
    return np.asarray(chain.head.run(x, "forward", training))


def residual_net() -> keras.Model:
    inputs = keras.Input((8, 8, 3))
    stem = keras.layers.Conv2D(4, 3, padding="same", name="stem")(inputs)
    stem = keras.layers.ReLU()(keras.layers.BatchNormalization()(stem))
    branch = keras.layers.Conv2D(4, 3, padding="same", name="branch_1")(stem)
    branch = keras.layers.Conv2D(4, 3, padding="same", name="branch_2")(branch)
    joined = keras.layers.ReLU()(keras.layers.Add()([stem, branch]))
    pooled = keras.layers.GlobalAveragePooling2D()(joined)
    return keras.Model(inputs, keras.layers.Dense(5, activation="softmax", name="top")(pooled))


def nested_net() -> keras.Model:
    inner = keras.Sequential(
        [keras.layers.Dense(6, activation="relu"), keras.layers.Dense(5)], name="inner"
    )
    return keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(7), inner, keras.layers.Dense(3)], name="outer"
    )


def test_a_residual_unit_is_one_block_and_normalisation_belongs_to_the_layer_before() -> None:
    chain = Chain.from_model(residual_net())
    names = [[layer.name for layer in block.weight_layers] for block in chain.blocks]
    assert names == [["stem"], ["branch_1", "branch_2"], ["top"]]
    assert len(chain.blocks[0].trainable_variables) == 4  # kernel, bias, gamma, beta
    assert "2 weight layers: gradient of BP inside" in chain.summary()


def test_nested_models_are_flattened() -> None:
    chain = Chain.from_model(nested_net())
    assert [len(block.weight_layers) for block in chain.blocks] == [1, 1, 1, 1]
    assert [block.width for block in chain.blocks] == [7, 6, 5, 3]


def assert_the_chain_is(model: keras.Model) -> None:
    """It computes the same, and leaves the model as it is."""
    config, nodes = model.get_config(), [len(layer._inbound_nodes) for layer in model.layers]
    x = np.random.default_rng(0).normal(size=(2, *model.input_shape[1:])).astype("float32")
    expected = np.asarray(model(x, training=False))
    np.testing.assert_array_equal(run(Chain.from_model(model), x), expected)
    assert model.get_config() == config
    assert [len(layer._inbound_nodes) for layer in model.layers] == nodes


@pytest.mark.parametrize("build", [residual_net, nested_net])
def test_the_chain_computes_what_the_model_computes_and_leaves_it_unchanged(
    build: Callable[[], keras.Model],
) -> None:
    assert_the_chain_is(build())


@pytest.mark.slow
def test_resnet50_is_cut_at_its_residual_units() -> None:
    model = keras.applications.ResNet50(weights=None, input_shape=(32, 32, 3), classes=10)
    chain = Chain.from_model(model)
    x = np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype("float32")
    np.testing.assert_array_equal(run(chain, x), np.asarray(model(x, training=False)))
    assert len(chain.blocks) == 18  # the stem, sixteen residual units, the classifier
    assert [len(block.weight_layers) for block in chain.blocks[1:3]] == [4, 3]
    assert [atom.operations[0].activation.__name__ for atom in chain.head.atoms] == ["softmax"]


def test_logits_are_the_input_of_the_last_activation() -> None:
    dense = keras.layers.Dense
    for tail in (
        [dense(3, activation="softmax")],
        [dense(3), keras.layers.Softmax()],
        [dense(3), keras.layers.Activation("sigmoid"), keras.layers.Reshape((3, 1))],
    ):
        model = keras.Sequential([keras.Input((4,)), dense(5, activation="relu"), *tail])
        chain = Chain.from_model(model)
        x = np.ones((2, 4), "float32")
        hidden = chain.blocks[0].run(x, "forward")
        logits = chain.blocks[-1].run(hidden, "forward")
        kernel, bias = model.layers[1].get_weights()
        np.testing.assert_allclose(logits, hidden @ kernel + bias, rtol=1e-6)
        np.testing.assert_array_equal(run(chain, x), np.asarray(model(x)))
        assert model.layers[-1].get_config() == tail[-1].get_config()


class OwnSoftmax(keras.layers.Layer):
    def call(self, inputs):  # noqa: ANN001, ANN201
        return tf.nn.softmax(inputs)


def softmax_of_operations(logits: keras.KerasTensor) -> keras.KerasTensor:
    powers = keras.ops.exp(logits)
    return powers / keras.ops.sum(powers, axis=-1, keepdims=True)


HEADS = {
    "lambda": keras.layers.Lambda(keras.ops.softmax),
    "own": OwnSoftmax(),
    "operations": softmax_of_operations,
    "own and reshaped": lambda logits: keras.layers.Reshape((3, 1))(OwnSoftmax()(logits)),
    "clipped": lambda logits: keras.ops.clip(keras.layers.Softmax()(logits), 1e-6, 1),
}


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
def test_logits_are_before_what_may_be_an_activation(head: Callable) -> None:
    inputs = keras.Input((4,))
    logits = keras.layers.Dense(3)(keras.layers.Dense(5, activation="relu")(inputs))
    model = keras.Model(inputs, head(logits))
    chain, x = Chain.from_model(model), np.random.default_rng(0).normal(size=(2, 4))
    hidden = x.astype("float32")
    for block in chain.blocks:
        hidden = block.run(hidden, "forward")
    np.testing.assert_allclose(hidden, keras.Model(inputs, logits)(x), rtol=1e-6)
    np.testing.assert_allclose(chain.head.run(hidden, "forward"), model(x), rtol=1e-6)


class AddsLoss(keras.layers.Layer):
    def call(self, inputs):  # noqa: ANN001, ANN201
        self.add_loss(keras.ops.sum(inputs))
        return inputs


class MakesMask(keras.layers.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.supports_masking = True

    def call(self, inputs):  # noqa: ANN001, ANN201
        return inputs

    def compute_mask(self, inputs, mask=None):  # noqa: ANN001, ANN201
        return keras.ops.any(inputs > 0, axis=-1)


class HoldsAddsLoss(keras.layers.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.inner = AddsLoss()

    def call(self, inputs):  # noqa: ANN001, ANN201
        return self.inner(inputs)


def sequence_net(layer: keras.layers.Layer) -> keras.Model:
    return keras.Sequential([keras.Input((5, 3), batch_size=4), layer, keras.layers.Dense(2)])


def named_output() -> keras.Model:
    a = keras.Input((3,))
    return keras.Model(a, {"o": keras.layers.Dense(2)(a)})


def two_inputs() -> keras.Model:
    a, b = keras.Input((3,)), keras.Input((3,))
    return keras.Model([a, b], keras.layers.Dense(2)(keras.layers.Add()([a, b])))


def two_outputs() -> keras.Model:
    a = keras.Input((3,))
    return keras.Model(a, [keras.layers.Dense(2)(a), keras.layers.Dense(2)(a)])


def shared_layer() -> keras.Model:
    a, dense = keras.Input((3,)), keras.layers.Dense(3, name="twice")
    return keras.Model(a, dense(keras.layers.ReLU()(dense(a))))


def chain_of(*layers: keras.layers.Layer) -> keras.Model:
    return keras.Sequential([keras.Input((3,)), *layers, keras.layers.Dense(2)])


class Subclassed(keras.Model):
    def call(self, inputs):  # noqa: ANN001, ANN201
        return inputs


REFUSED = {
    "2 inputs": two_inputs,
    "2 outputs": two_outputs,
    "'twice'": shared_layer,
    "add_loss": lambda: chain_of(keras.layers.Dense(3), AddsLoss()),
    "activity regulariser": lambda: chain_of(keras.layers.Dense(3, activity_regularizer="l2")),
    "'adds_loss": lambda: chain_of(keras.layers.Dense(3), HoldsAddsLoss()),
    "'forward_lstm'.*activity regulariser": lambda: sequence_net(
        keras.layers.Bidirectional(keras.layers.LSTM(2, activity_regularizer="l2", name="lstm"))
    ),
    "stateful": lambda: sequence_net(keras.layers.LSTM(2, stateful=True)),
    "changes its own weights": lambda: chain_of(
        keras.layers.SpectralNormalization(keras.layers.Dense(3))
    ),
    "inside a list or dictionary": named_output,
    "mask": lambda: keras.Sequential(
        [keras.Input((3,)), keras.layers.Embedding(4, 2, mask_zero=True), keras.layers.LSTM(2)]
    ),
    "output of model .* has a mask": lambda: sequence_net(MakesMask()),
    "subclassed Subclassed": lambda: Subclassed(),
    "not built": lambda: keras.Sequential([keras.layers.Dense(2)]),
    "nothing to train": lambda: keras.Sequential([keras.Input((3,)), keras.layers.ReLU()]),
}


@pytest.mark.parametrize("says", REFUSED)
def test_what_cannot_be_cut_is_refused_by_name(says: str) -> None:
    with pytest.raises(UnsupportedError, match=says) as refusal:
        Chain.from_model(REFUSED[says]())
    assert "\n" not in str(refusal.value)


def test_a_mask_that_is_used_up_inside_is_honoured() -> None:
    layers = [MakesMask(), keras.layers.Dense(3), keras.layers.LSTM(4), keras.layers.Dense(2)]
    net = keras.Sequential([keras.Input((5, 3)), *layers])
    x = np.random.default_rng(0).normal(size=(4, 5, 3)).astype("float32")
    np.testing.assert_array_equal(run(Chain.from_model(net), x), net(x))


def test_layers_builds_the_first_weight_layers_and_then_the_classifier() -> None:
    for name in ("conv20", "depth_net"):
        for layers in (1, 2, 30):
            assert len(Chain.from_model(MODELS[name](layers=layers)).blocks) == layers + 1
        with pytest.raises(ValueError, match=f"layers=0 for model {name}"):
            MODELS[name](layers=0)
    for name, most in (("vgg16", 15), ("mlp", 2), ("mnist_conv", 3), ("liao_cifar", 4)):
        assert len(Chain.from_model(MODELS[name](layers=most)).blocks) == most + 1
        for wrong in (0, -3, most + 1):
            with pytest.raises(ValueError, match=f"layers={wrong} for model {name}"):
                MODELS[name](layers=wrong)


def test_a_seed_makes_the_same_weights_again() -> None:
    one, same, other = (MODELS["mlp"](seed=seed).get_weights() for seed in (1, 1, 2))
    for a, b, c in zip(one[::2], same[::2], other[::2], strict=True):
        np.testing.assert_array_equal(a, b)
        assert not np.array_equal(a, c)
