"""A network's own training and its own `call`: honoured, or refused by name."""

from collections.abc import Callable

import keras
import numpy as np
import pytest
import tensorflow as tf

from mem_dfa import ALGORITHMS, BP, FA, Chain, UnsupportedError
from mem_dfa.chain.overrides import TRAINING
from tests.mem_dfa.comparison import blobs, distance
from tests.mem_dfa.table import EXACT, STEPS, TABLE, TRUE_END, reversible, trainer_by

LOSS = "sparse_categorical_crossentropy"


def graph(kind: type[keras.Model], algorithm: str = "") -> keras.Model:
    """A functional model of the class `kind`."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6,))
    hidden = keras.layers.Dense(8, activation="tanh")(inputs)
    for layer in reversible(algorithm, 8):
        hidden = layer(hidden)
    return kind(inputs, keras.layers.Dense(3, activation="softmax", name="top")(hidden))


def method(*_args: object, **_kwargs: object) -> None:
    """Stands for whatever a user's method does."""


def with_own(name: str, base: type[keras.Model] = keras.Model) -> type[keras.Model]:
    own = method if callable(getattr(base, name)) else property(method)
    return type("Own", (base,), {name: own})


RUN_BY_KERAS = (
    "compile",
    "compute_loss",
    "compute_metrics",
    "evaluate",
    "fit",
    "get_metrics_result",
    "losses",
    "make_train_function",
    "metrics",
    "predict_step",
    "reset_metrics",
    "test_step",
    "train_on_batch",
    "train_step",
    "trainable_variables",
    "trainable_weights",
)


@pytest.mark.parametrize("name", STEPS)
def test_training_of_its_own_is_refused_by_name(name: str) -> None:
    for own in ("compute_loss", "train_step", "losses"):
        with pytest.raises(UnsupportedError, match=rf"{own} \(of class Own\).*loss or metrics"):
            ALGORITHMS[name](graph(with_own(own), name))


@pytest.mark.parametrize("own", RUN_BY_KERAS)
def test_whatever_keras_would_run_is_refused(own: str) -> None:
    assert own in TRAINING
    derived = type("Derived", (with_own(own),), {})
    with pytest.raises(UnsupportedError, match=rf"{own} \(of class Own\)"):
        BP(graph(derived))


def test_a_method_set_on_the_model_itself_is_refused_at_compile() -> None:
    net = graph(keras.Model)
    # Whose loss is no training of its own.
    net.compile("sgd", lambda y, p: keras.ops.mean(p), run_eagerly=True)
    net.train_on_batch(*blobs(4))
    trainer = BP(net)
    trainer.compile("sgd", LOSS)
    net.compute_loss = method
    with pytest.raises(UnsupportedError, match=r"compute_loss \(of the model itself\)"):
        trainer.compile("sgd", LOSS)


@pytest.mark.parametrize("name", STEPS)
def test_a_network_frozen_as_a_whole_trains_nothing_or_is_refused(name: str) -> None:
    net = graph(keras.Model, name)
    net.trainable = False
    net.get_layer("top").trainable = True
    with pytest.raises(UnsupportedError, match="frozen as a whole while 'top/kernel'"):
        ALGORITHMS[name](net)


class Penalised:
    """What the refusal advises: the same method, of the network's class or of the trainer's."""

    def compute_loss(self, *args: object, **kwargs: object) -> object:
        y_pred = kwargs.get("y_pred", args[2] if len(args) > 2 else None)
        return super().compute_loss(*args, **kwargs) + 5 * keras.ops.mean(y_pred**2)


@pytest.mark.parametrize("name", TRUE_END)
def test_the_method_of_a_trainers_subclass_is_run(name: str) -> None:
    keras_net = graph(type("Own", (Penalised, keras.Model), {}), name)
    net = graph(keras.Model, name)
    trainer = type("Own", (Penalised, ALGORITHMS[name]), {})(net, **TABLE[name].arguments)
    got, expected = (trained(net, trainer, 1)[-2:], trained(keras_net, keras_net, 1)[-2:])
    assert distance(got, expected) < 1e-5
    assert distance(trained(plain := graph(keras.Model, name), plain, 1)[-2:], expected) > 1e-2


def test_what_is_no_keras_model_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="BP received Dense for a network"):
        BP(keras.layers.Dense(2))


class Halves(keras.Model):
    """Does something before its layers."""

    def call(self, inputs, training=None, mask=None):  # noqa: ANN001, ANN201
        return super().call(inputs * 0.5, training=training)


class HalvesWhenCalled(keras.Model):
    def __call__(self, inputs, *args, **kwargs):  # noqa: ANN001, ANN002, ANN003, ANN204
        return super().__call__(inputs * 0.5 if tf.is_tensor(inputs) else inputs, *args, **kwargs)


def halves_by_hand(*tensors: keras.KerasTensor) -> keras.Model:
    net = keras.Model(*tensors)
    plain = net.call
    net.call = lambda inputs, training=None, mask=None: plain(inputs * 0.5, training=training)
    return net


KINDS = (Halves, HalvesWhenCalled, halves_by_hand)


def trained(
    net: keras.Model, trainer: keras.Model, steps: int = 2, eager: bool = True
) -> list[np.ndarray]:
    """What the steps change in the network."""
    trainer.compile(keras.optimizers.SGD(0.1), LOSS, run_eagerly=eager, jit_compile=False)
    before = net.get_weights()
    for _ in range(steps):
        trainer.train_on_batch(*blobs(8))
    return [w - b for w, b in zip(net.get_weights(), before, strict=True)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", STEPS)
def test_a_call_of_its_own_is_run_or_refused(name: str, kind: Callable) -> None:
    net, keras_net = graph(kind, name), graph(kind, name)
    if not TABLE[name].opens:
        got = trained(net, trainer_by(name, net), eager=False)
        assert distance(got, trained(keras_net, keras_net, eager=False)) < 1e-5
        return
    with pytest.raises(UnsupportedError, match=f"'{net.name}'"):
        ALGORITHMS[name](net)


def nested(kind: Callable, algorithm: str) -> keras.Model:
    """A model that holds one of the class `kind`."""
    keras.utils.set_random_seed(0)
    inner_inputs = keras.Input((8,))
    inner = kind(inner_inputs, keras.layers.Dense(8, activation="tanh")(inner_inputs))
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((6,)),
            layers.Dense(8, activation="tanh"),
            *reversible(algorithm, 8),
            inner,
            layers.Dense(3, activation="softmax"),
        ]
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", EXACT)
def test_a_nested_model_with_a_call_of_its_own_is_one_layer(name: str, kind: Callable) -> None:
    net, keras_net = nested(kind, name), nested(kind, name)
    got = trained(net, trainer_by(name, net), eager=kind is not Halves)
    assert distance(got, trained(keras_net, keras_net)) < 1e-5


@pytest.mark.parametrize("kind", KINDS)
def test_random_feedback_runs_a_nested_model_as_it_is(kind: Callable) -> None:
    """The last layer has its true gradient, of what the nested model gives it."""
    changes = []
    for name in ("", "dfa", "mem_dfa"):
        net = nested(kind, "")
        changes.append(trained(net, ALGORITHMS[name](net) if name else net, steps=1)[-2:])
    assert distance(changes[1], changes[0]) < 1e-5
    assert distance(changes[2], changes[0]) < 1e-5
    with pytest.raises(UnsupportedError, match="FA cannot train layer"):
        FA(nested(kind, ""))


class Doubles(keras.layers.Dense):
    """Does something after its activation, which therefore is not its end."""

    def call(self, inputs, training=None):  # noqa: ANN001, ANN201
        return 2 * super().call(inputs)


def test_a_layer_with_a_call_of_its_own_is_not_cut_at_its_activation() -> None:
    layers = [keras.layers.Dense(5), Doubles(3, activation="sigmoid")]
    net = keras.Sequential([keras.Input((4,)), *layers])
    chain, x = Chain.from_model(net), np.ones((2, 4), "float32")
    hidden = x
    for block in chain.blocks:
        hidden = block.run(hidden, "forward")
    np.testing.assert_array_equal(chain.head.run(hidden, "forward"), net(x))
    with pytest.raises(UnsupportedError, match=f"'{layers[1].name}' \\(Doubles\\)"):
        FA(net)


def test_fa_leaves_a_call_set_on_a_layer_as_it_was() -> None:
    dense = keras.layers.Dense(3)
    net = keras.Sequential([keras.Input((6,)), keras.layers.Dense(5), dense])
    plain = dense.call
    dense.call = lambda inputs, training=None: 2 * plain(inputs)
    x, y = blobs(8)
    before = net(x)
    trainer = FA(net)
    trainer.compile(keras.optimizers.SGD(0.0), "mse", run_eagerly=True)
    trainer.train_on_batch(x, keras.ops.one_hot(y, 3))
    np.testing.assert_array_equal(net(x), before)


class Measures(keras.Model):
    """Has a metric, which its call updates."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        self.mean = keras.metrics.Mean(name="mean_output")

    def call(self, inputs, training=None, mask=None):  # noqa: ANN001, ANN201
        outputs = super().call(inputs, training=training)
        self.mean.update_state(outputs[:, 0])
        return outputs


def test_metrics_of_the_network_are_logged_and_reset() -> None:
    logs = []
    for wrap in (lambda net: net, BP):
        trainer = wrap(graph(Measures))
        trainer.compile(keras.optimizers.SGD(0.1), LOSS, metrics=["accuracy"], jit_compile=False)
        history = trainer.fit(*blobs(16), batch_size=8, epochs=2, shuffle=False, verbose=0).history
        logs.append({name: np.array(values) for name, values in history.items()})
        # In the same order, too.
        logs[-1]["on a batch"] = np.array(trainer.train_on_batch(*blobs(16)))
    assert list(logs[0]) == list(logs[1])
    for name, expected in logs[0].items():
        np.testing.assert_allclose(logs[1][name], expected, rtol=1e-5, err_msg=name)
