"""The reversible layer by itself: its inverse, its gradients, its refusals."""

from pathlib import Path

import keras
import numpy as np
import pytest

from mem_dfa.layers.reversible import COUPLINGS, ReversibleBlock

CHANNELS = 6


def branch(coupling: str = "additive", seed: int = 1) -> keras.Sequential:
    units = CHANNELS if coupling == "affine" else CHANNELS // 2
    initializer = keras.initializers.GlorotUniform(seed=seed)
    return keras.Sequential(
        [keras.layers.Dense(units, activation="tanh", kernel_initializer=initializer)]
    )


def points(dtype: str = "float32") -> np.ndarray:
    return np.random.default_rng(0).normal(size=(9, CHANNELS)).astype(dtype)


def distance_of_inverse(coupling: str, dtype: str) -> float:
    layer, x = ReversibleBlock(branch(coupling), branch(coupling, 2), coupling), points(dtype)
    y = np.asarray(layer(x))
    assert y.shape == x.shape
    assert np.abs(y - x).max() > 0.1  # it is not the identity
    return np.abs(np.asarray(layer.inverse(y)) - x).max() / np.abs(x).max()


@pytest.mark.parametrize("coupling", COUPLINGS)
@pytest.mark.usefixtures("float64")
def test_the_input_follows_from_the_output(coupling: str) -> None:
    assert distance_of_inverse(coupling, "float64") <= 1e-12


@pytest.mark.parametrize("coupling", COUPLINGS)
def test_the_input_follows_from_the_output_in_float32(coupling: str) -> None:
    # A few roundings of 1.2e-7 each.
    assert distance_of_inverse(coupling, "float32") <= 1e-6


def test_the_output_is_what_the_formula_says() -> None:
    x = points()
    for coupling in COUPLINGS:
        f, g = branch(coupling), branch(coupling, 2)
        y = np.asarray(ReversibleBlock(f, g, coupling)(x))
        halves = x[:, :3], x[:, 3:]

        def coupled(x: np.ndarray, result: np.ndarray, coupling: str = coupling) -> np.ndarray:
            if coupling == "additive":
                return x + result
            return np.exp(result[:, :3]) * x + result[:, 3:]

        y1 = coupled(halves[0], np.asarray(f(halves[1])))
        y2 = coupled(halves[1], np.asarray(g(y1)))
        np.testing.assert_allclose(y, np.concatenate([y1, y2], 1), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("coupling", COUPLINGS)
@pytest.mark.usefixtures("float64")
def test_keras_trains_it_like_the_same_net_without_the_layer(coupling: str) -> None:
    x, y = points("float64"), np.arange(9) % 3
    weights = []
    for with_layer in (True, False):
        f, g = branch(coupling), branch(coupling, 2)
        inputs = keras.Input((CHANNELS,))
        if with_layer:
            hidden = ReversibleBlock(f, g, coupling)(inputs)
        else:
            ops, (x1, x2) = keras.ops, keras.ops.split(inputs, 2, axis=-1)

            def coupled(x, result, coupling: str = coupling):  # noqa: ANN001, ANN202
                if coupling == "additive":
                    return x + result
                log_scale, shift = keras.ops.split(result, 2, axis=-1)
                return keras.ops.exp(log_scale) * x + shift

            y1 = coupled(x1, f(x2))
            hidden = ops.concatenate([y1, coupled(x2, g(y1))], axis=-1)
        last = keras.layers.Dense(3, kernel_initializer=keras.initializers.GlorotUniform(seed=3))
        net = keras.Model(inputs, last(hidden))
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, dtype="float64")
        net.compile(keras.optimizers.SGD(0.5), loss, jit_compile=False)
        before = f.get_weights()
        net.fit(x, y, batch_size=3, epochs=2, shuffle=False, verbose=0)
        assert not np.allclose(before[0], f.get_weights()[0])
        weights.append([*f.get_weights(), *g.get_weights(), *last.get_weights()])
    for one, other in zip(*weights, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("coupling", COUPLINGS)
def test_models_with_it_are_saved_and_loaded(coupling: str, tmp_path: Path) -> None:
    block = ReversibleBlock(branch(coupling), branch(coupling, 2), coupling)
    net = keras.Sequential([keras.Input((CHANNELS,)), block])
    net.save(tmp_path / "net.keras")
    loaded = keras.saving.load_model(tmp_path / "net.keras")
    assert loaded.layers[0].coupling == coupling
    x = points()
    np.testing.assert_array_equal(net.predict(x, verbose=0), loaded.predict(x, verbose=0))


def test_what_cannot_be_coupled_is_refused() -> None:
    with pytest.raises(ValueError, match=r"coupling='multiply'; use one of additive, affine\."):
        ReversibleBlock(branch(), branch(), "multiply")
    for channels in (7, None):
        with pytest.raises(ValueError, match=r"'odd' received .* has to be even\."):
            ReversibleBlock(branch(), branch(), name="odd").build((None, channels))
    for place, names in ((0, "F"), (1, "G")):
        branches = [branch(), branch()]
        branches[place] = keras.Sequential([keras.layers.Dense(5)], name="wide")
        with pytest.raises(
            ValueError, match=rf"{names} \('wide'\) maps .* additive coupling needs"
        ):
            ReversibleBlock(*branches).build((None, CHANNELS))
    with pytest.raises(ValueError, match="affine coupling needs"):
        ReversibleBlock(branch(), branch(), "affine").build((None, CHANNELS))
