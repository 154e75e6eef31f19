"""The models: their sizes as published, cut into chains; the arguments of the residual ones."""

import keras
import numpy as np
import pytest

from mem_dfa import MODELS
from tests.mem_dfa.test_chain import assert_the_chain_is

# Trainable values with ten classes.
PARAMETERS = {
    # Kernels and dense biases as in the reference implementation; mlp counts all three biases.
    "vgg16": 33_633_994,
    "mnist_conv": 1_256_010,
    "xconv_net": 9 * 16 + 16 + 144 * 32 + 32 + 288 * 32 + 32 + 9 * 32 * 10 + 10,
    "liao_cifar": 288_490,
    "liao_cifar_bn": 288_490 + 2 * (32 + 64 + 64 + 128),
    "mlp": 784 * 100 + 100 + 100 * 30 + 30 + 30 * 10 + 10,
    # Twenty convolutions with biases, then a dense layer on 32×32×16.
    "conv20": 75 * 16 + 16 + 19 * (400 * 16 + 16) + 16_384 * 10 + 10,
    # A hundred 3×3 convolutions to 8 channels, then a dense layer on 32×32×8.
    "depth_revnet": 27 * 8 + 8 + 100 * 2 * (36 * 4 + 4) + 8_192 * 10 + 10,
    "depth_net": 27 * 8 + 8 + 99 * (72 * 8 + 8) + 8_192 * 10 + 10,
    "depth_mlp": 784 * 256 + 256 + 2 * (256 * 256 + 256) + 2560 + 10,
    "depth_mlp_bn": 784 * 256 + 256 + 2 * (256 * 256 + 256) + 3 * 2 * 256 + 2560 + 10,
    "depth_mlp_frozen": 2560 + 10,
    # Patches and places; six times attention, two dense layers and two normalisations; the end.
    "vit": 48 * 64 + 64 + 9 * 64 + 64 + 6 * (4 * (64 * 64 + 64) + 2 * 64 * 128 + 192 + 256) + 778,
    # The shortcuts are 1×1 convolutions with BatchNormalization.
    "resnet32": 466_906,
    "resnet110": 1_730_714,
    "resnet164": 1_704_154,
    "revnet38": 573_994,
    "revnet110": 1_854_890,
    "revnet164": 1_983_786,
}
UNITS = {
    "resnet32": 15,
    "resnet110": 54,
    "resnet164": 54,
    "revnet38": 9,
    "revnet110": 27,
    "revnet164": 27,
}


@pytest.fixture(scope="module", params=MODELS)
def whole(request: pytest.FixtureRequest) -> tuple[str, keras.Model]:
    """A model as it is made where nothing is said."""
    return request.param, MODELS[request.param]()


def test_parameters_are_counted(whole: tuple[str, keras.Model]) -> None:
    name, model = whole
    assert sum(int(np.prod(v.shape)) for v in model.trainable_variables) == PARAMETERS[name]
    if name not in (*UNITS, "liao_cifar_bn", "depth_mlp_bn", "depth_mlp_frozen"):
        # The others have weights that do not train, such as BatchNormalization's statistics.
        assert model.count_params() == PARAMETERS[name]


def test_the_chain_computes_what_the_model_computes(whole: tuple[str, keras.Model]) -> None:
    assert_the_chain_is(whole[1])


@pytest.mark.parametrize("name", UNITS)
def test_classes_and_layers_are_what_was_asked_for(name: str) -> None:
    network = MODELS[name](classes=100, layers=2, input_shape=(16, 16, 3))
    assert network.output_shape == (None, 100)
    units = {layer.name[: len("stage_1_unit_1")] for layer in network.layers}
    assert {"stage_1_unit_1", "stage_1_unit_2"} <= units
    assert "stage_1_unit_3" not in units
    for wrong in (0, -3, UNITS[name] + 1):
        with pytest.raises(ValueError, match=f"layers={wrong} for model {name}"):
            MODELS[name](layers=wrong)


@pytest.mark.parametrize("name", ["resnet32", "revnet38"])
def test_a_seed_makes_the_same_weights_again(name: str) -> None:
    one, same, other = (
        [v.numpy() for v in MODELS[name](layers=4, seed=seed).trainable_variables]
        for seed in (1, 1, 2)
    )
    kernels = 0
    for a, b, c in zip(one, same, other, strict=True):
        np.testing.assert_array_equal(a, b)
        if a.ndim > 1:  # scales and shifts are not drawn
            assert not np.array_equal(a, c)
            kernels += 1
    assert kernels > 4
