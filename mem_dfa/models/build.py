"""What the models share: seeded He initialisation and cutting a model short."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeAlias

import keras
import numpy as np

Layer: TypeAlias = keras.layers.Layer

FRAMES_A_LAYER = 4


class Seeds:
    """Layers with He-normal kernels, each with a seed of its own drawn from one."""

    def __init__(self, seed: int | None) -> None:
        """Start from `seed`; None for a different draw every time."""
        self._generator = np.random.default_rng(seed)

    def _he_normal(self) -> keras.initializers.HeNormal:
        return keras.initializers.HeNormal(seed=int(self._generator.integers(2**31 - 1)))

    def dense(self, units: int, name: str) -> Layer:
        """Dense without activation, biases 0."""
        return keras.layers.Dense(units, kernel_initializer=self._he_normal(), name=name)

    def conv(self, filters: int, size: int, name: str, bias: bool = False) -> Layer:
        """Convolution with SAME padding and without activation."""
        return keras.layers.Conv2D(
            filters,
            size,
            padding="same",
            use_bias=bias,
            kernel_initializer=self._he_normal(),
            name=name,
        )


Group: TypeAlias = Callable[[Seeds], list[Layer]]
"""Makes one weight layer and the weightless ones after it."""


def sequential(
    name: str,
    input_shape: Sequence[int],
    classes: int,
    layers: int | None,
    seed: int | None,
    groups: Sequence[Group],
) -> keras.Sequential:
    """The first weight layers of a net, then its classifier.

    Args:
        name: the model's name.
        input_shape: of one example.
        classes: number of logits.
        layers: how many groups to build; None for all.
        seed: of the weights.
        groups: one function for each weight layer; it makes the layer and the weightless ones
            after it.

    Raises:
        ValueError: `layers` is not between 1 and the number of groups.
    """
    count = len(groups) if layers is None else layers
    if not 1 <= count <= len(groups):
        raise ValueError(
            f"layers={layers} for model {name}: it has 1 to {len(groups)} weight layers before "
            "its classifier."
        )
    seeds = Seeds(seed)
    body = [layer for group in groups[:count] for layer in group(seeds)]
    has_flat_output = any(isinstance(layer, keras.layers.Flatten) for layer in body)
    flatten = [] if has_flat_output else [keras.layers.Flatten(name="flatten")]
    logits = seeds.dense(classes, "logits")
    with recursion(len(body)):
        return keras.Sequential([keras.Input(input_shape), *body, *flatten, logits], name=name)


@contextmanager
def recursion(layers: int) -> Iterator[None]:
    """Room on Python's stack for Keras, which walks a chain of layers by recursion."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(before + FRAMES_A_LAYER * layers)
    try:
        yield
    finally:
        sys.setrecursionlimit(before)


def convolutions(
    name: str,
    input_shape: Sequence[int],
    classes: int,
    depth: int,
    seed: int | None,
    kind: tuple[int, int, str],
) -> keras.Sequential:
    """`depth` equal convolutions with an activation each, then a classifier.

    Args:
        name: the model's name.
        input_shape: of one example.
        classes: number of logits.
        depth: number of convolutions.
        seed: of the weights.
        kind: filters, kernel size and activation of each.

    Raises:
        ValueError: `depth` is below 1.
    """
    if depth < 1:
        raise ValueError(f"layers={depth} for model {name}: it has 1 or more weight layers.")
    filters, size, activation = kind

    def group(index: int) -> Group:
        def make(seeds: Seeds) -> list[Layer]:
            layer = keras.layers.Activation(activation, name=f"{activation}_{index}")
            return [seeds.conv(filters, size, f"conv_{index}", bias=True), layer]

        return make

    groups = [group(index) for index in range(1, depth + 1)]
    return sequential(name, input_shape, classes, depth, seed, groups)
