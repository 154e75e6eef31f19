"""The residual nets: their sizes as published, their arguments."""

import numpy as np
import pytest

from mem_dfa import MODELS

# Trainable values with ten classes; the shortcuts are 1×1 convolutions with BatchNormalization.
PARAMETERS = {
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


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters_are_counted(name: str) -> None:
    network = MODELS[name]()
    assert sum(int(np.prod(v.shape)) for v in network.trainable_variables) == PARAMETERS[name]


@pytest.mark.parametrize("name", PARAMETERS)
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
