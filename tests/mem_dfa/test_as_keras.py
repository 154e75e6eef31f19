"""To Keras a trainer is the network it wraps: names in logs, files, and when it is ready."""

from pathlib import Path

import keras
import numpy as np
import pytest

from mem_dfa import ALGORITHMS, BP, DFA, MemDFA, UnsupportedError
from tests.mem_dfa.comparison import blobs, small_network
from tests.mem_dfa.table import STEPS, TABLE, reversible, trainer_by
from tests.mem_dfa.test_training import OwnModel

LOSS = "sparse_categorical_crossentropy"


def one_output(algorithm: str) -> keras.Model:
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6,))
    hidden = keras.layers.Dense(8, activation="relu")(inputs)
    for layer in reversible(algorithm, 8):
        hidden = layer(hidden)
    return keras.Model(inputs, keras.layers.Dense(3, activation="softmax", name="classes")(hidden))


def two_outputs(_algorithm: str) -> keras.Model:
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6,))
    hidden = keras.layers.Dense(8, activation="relu")(inputs)
    heads = [keras.layers.Dense(3, "softmax", name="classes"), keras.layers.Dense(1, name="size")]
    return keras.Model(inputs, [head(hidden) for head in heads])


ONE = {
    "dictionaries": {"loss": {"classes": LOSS}, "metrics": {"classes": ["accuracy"]}},
    "lists": {"loss": [LOSS], "metrics": [["accuracy", "sparse_top_k_categorical_accuracy"]]},
    "weighted": {"loss": {"classes": LOSS}, "loss_weights": {"classes": 0.5}},
}
TWO = {
    "dictionaries": {
        "loss": {"classes": LOSS, "size": "mse"},
        "loss_weights": {"classes": 1.0, "size": 2.0},
        "metrics": {"classes": ["accuracy"], "size": "mae"},
    },
    "lists": {"loss": [LOSS, "mse"], "metrics": [["accuracy"], ["mae"]]},
}
NAMED = [
    pytest.param(name, make, how, id=f"{name}-{make.__name__}-{kind}")
    for make, kinds, names in (
        (one_output, ONE, STEPS),
        (two_outputs, TWO, [name for name, row in TABLE.items() if row.takes_outputs]),
    )
    for kind, how in kinds.items()
    for name in names
]


@pytest.mark.parametrize(("name", "make", "how"), NAMED)
def test_losses_and_metrics_are_those_of_keras_by_name_and_value(name, make, how) -> None:  # noqa: ANN001
    x, y = blobs(12)
    if make is two_outputs:
        y = {"classes": y, "size": x[:, :1]} if isinstance(how["loss"], dict) else [y, x[:, :1]]
    logs = []
    for trainer in (make(name), trainer_by(name, make(name))):
        trainer.compile("sgd", **how, run_eagerly=True)
        logs.append(trainer.train_on_batch(x, y, return_dict=True))
    logs[1].pop("reconstruction_error", None)
    assert list(logs[0]) == list(logs[1])
    for one, other in zip(*(log.values() for log in logs), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)


def test_a_loss_of_another_name_is_no_type_error() -> None:
    trainer = BP(small_network())
    trainer.compile("sgd", {"nothing": LOSS}, jit_compile=False)
    with pytest.raises(ValueError, match=r"Expected keys \['dense.*'\] in loss dict.*'nothing'"):
        trainer.train_on_batch(*blobs(8))


@pytest.mark.parametrize("name", ["bp", "mem_dfa"])
def test_the_network_is_exported(name: str, tmp_path: Path) -> None:
    trainer, x = ALGORITHMS[name](small_network()), blobs(8)[0]
    trainer.export(tmp_path, format="tf_saved_model", verbose=False)
    layer = keras.layers.TFSMLayer(tmp_path, call_endpoint="serve")
    np.testing.assert_allclose(layer(x), trainer.predict(x, verbose=0), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", ["bp", "mem_dfa"])
def test_an_hdf5_file_that_would_not_load_is_not_written(name: str, tmp_path: Path) -> None:
    trainer, path = ALGORITHMS[name](small_network()), tmp_path / "trainer.h5"
    path.write_text("an earlier file")
    with pytest.raises(UnsupportedError, match=r"HDF5.*\.keras"):
        trainer.save(path)
    assert path.read_text() == "an earlier file"
    with pytest.raises(UnsupportedError, match=r"HDF5.*\.keras"):
        keras.saving.save_model(trainer, tmp_path / "other.hdf5")


@pytest.mark.filterwarnings("ignore:`build..` was called on layer")
def test_a_subclass_is_built_by_calling_it() -> None:
    net, data = OwnModel(), blobs(8)
    net.build((None, 6))  # which leaves the layer inside as it is
    with pytest.raises(UnsupportedError, match=r"model\(x\)"):
        BP(net)
    net(data[0])
    trainer = BP(net)
    trainer.compile("sgd", LOSS, jit_compile=False)
    trainer.train_on_batch(*data)


@pytest.mark.parametrize("make", [DFA, MemDFA])
def test_a_layer_unfrozen_after_compile_is_refused_by_name(make: type) -> None:
    net = small_network()
    net.get_layer("second").trainable = False
    trainer = make(net)
    trainer.compile("sgd", LOSS, jit_compile=False)
    net.get_layer("second").trainable = True
    with pytest.raises(UnsupportedError, match=r"block_002 \(second\) was frozen"):
        trainer.fit(*blobs(8), verbose=0)
