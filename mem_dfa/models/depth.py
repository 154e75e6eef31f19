"""Chains of equal layers at any depth, to measure on what grows with it."""

from __future__ import annotations

from collections.abc import Sequence

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
    depth = 3 if layers is None else layers
    if depth < 1:
        raise ValueError(f"layers={depth} for model depth_mlp: it has 1 or more weight layers.")

    def group(index: int) -> Group:
        def make(seeds: Seeds) -> list[Layer]:
            flatten = [keras.layers.Flatten(name="flatten")] if index == 1 else []
            relu = keras.layers.ReLU(name=f"relu_{index}")
            return [*flatten, seeds.dense(UNITS, f"dense_{index}"), relu]

        return make

    groups = [group(index) for index in range(1, depth + 1)]
    return sequential("depth_mlp", input_shape, classes, depth, seed, groups)


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
