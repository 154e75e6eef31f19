"""Chains of equal layers at any depth, to measure on what grows with it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import keras
import numpy as np

from mem_dfa.layers.reversible import ReversibleBlock
from mem_dfa.models.build import Group, Layer, Seeds, convolutions, recursion, sequential

DEFAULT_DEPTH = 100
FILTERS = 8
UNITS = 256


def depth_net(
    input_shape: Sequence[int] = (32, 32, 3),
    classes: int = 10,
    layers: int | None = None,
    seed: int | None = None,
) -> keras.Sequential:
    """`layers` × [conv 3×3, 8 filters, SAME, ReLU], then dense; 100 unless told.

    Raises:
        ValueError: `layers` is below 1.
    """
    depth = DEFAULT_DEPTH if layers is None else layers
    return convolutions("depth_net", input_shape, classes, depth, seed, (FILTERS, 3, "relu"))


def depth_mlp(
    input_shape: Sequence[int] = (28, 28, 1),
    classes: int = 10,
    layers: int | None = None,
    seed: int | None = None,
) -> keras.Sequential:
    """`layers` × [dense 256, ReLU], then dense; 3 unless told.

    Raises:
        ValueError: `layers` is below 1.
    """
    return _dense("depth_mlp", input_shape, classes, layers, seed)


def depth_mlp_bn(
    input_shape: Sequence[int] = (28, 28, 1),
    classes: int = 10,
    layers: int | None = None,
    seed: int | None = None,
) -> keras.Sequential:
    """`layers` × [dense 256, BatchNormalization, ReLU], then dense; 3 unless told.

    The fully connected nets of Jaderberg et al. (arXiv 1608.05343).

    Raises:
        ValueError: `layers` is below 1.
    """
    normalisation = keras.layers.BatchNormalization
    return _dense("depth_mlp_bn", input_shape, classes, layers, seed, normalisation)


def depth_mlp_frozen(
    input_shape: Sequence[int] = (28, 28, 1),
    classes: int = 10,
    layers: int | None = None,
    seed: int | None = None,
) -> keras.Sequential:
    """`depth_mlp_bn` whose hidden layers stay as they are drawn: no rule may do worse.

    Batches are normalised as there; a frozen BatchNormalization would not do that.

    Raises:
        ValueError: `layers` is below 1.
    """
    normalisation = functools.partial(keras.layers.BatchNormalization, center=False, scale=False)
    network = _dense("depth_mlp_frozen", input_shape, classes, layers, seed, normalisation)
    for layer in network.layers[:-1]:
        layer.trainable = not isinstance(layer, keras.layers.Dense)
    return network


def _dense(
    name: str,
    input_shape: Sequence[int],
    classes: int,
    layers: int | None,
    seed: int | None,
    normalisation: Callable[..., Layer] | None = None,
) -> keras.Sequential:
    depth = 3 if layers is None else layers
    if depth < 1:
        raise ValueError(f"layers={depth} for model {name}: it has 1 or more weight layers.")

    def group(index: int) -> Group:
        def make(seeds: Seeds) -> list[Layer]:
            flatten = [keras.layers.Flatten(name="flatten")] if index == 1 else []
            between = [normalisation(name=f"normalisation_{index}")] if normalisation else []
            relu = keras.layers.ReLU(name=f"relu_{index}")
            return [*flatten, seeds.dense(UNITS, f"dense_{index}"), *between, relu]

        return make

    groups = [group(index) for index in range(1, depth + 1)]
    return sequential(name, input_shape, classes, depth, seed, groups)


def depth_revnet(
    input_shape: Sequence[int] = (32, 32, 3),
    classes: int = 10,
    layers: int | None = None,
    seed: int | None = None,
) -> keras.Sequential:
    """The reversible sibling of `depth_net`, whose activations have the same shape.

    Conv 3×3 to 8 channels, `layers` reversible blocks, then dense. F and G are conv 3×3, SAME,
    ReLU on 4 channels each, with weights so small that a thousand of them do not let the
    activations grow.

    Raises:
        ValueError: `layers` is below 1.
    """
    depth = DEFAULT_DEPTH if layers is None else layers
    if depth < 1:
        raise ValueError(f"layers={depth} for model depth_revnet: it has 1 or more blocks.")
    seeds, generator = Seeds(seed), np.random.default_rng(seed)

    def half(name: str) -> keras.Layer:
        # Each of n residual branches adds a part of variance 1/n².
        draw = keras.initializers.VarianceScaling(
            2.0 / depth**2, seed=int(generator.integers(2**31 - 1))
        )
        return keras.layers.Conv2D(
            FILTERS // 2, 3, padding="same", activation="relu", kernel_initializer=draw, name=name
        )

    blocks = [
        ReversibleBlock(half(f"f_{index}"), half(f"g_{index}"), name=f"reversible_{index}")
        for index in range(1, depth + 1)
    ]
    first = [keras.Input(input_shape), seeds.conv(FILTERS, 3, "stem", bias=True)]
    last = [keras.layers.Flatten(name="flatten"), seeds.dense(classes, "logits")]
    with recursion(depth):
        return keras.Sequential([*first, *blocks, *last], name="depth_revnet")
