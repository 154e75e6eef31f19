"""CIFAR residual nets: ResNet (He et al., 2016, pre-activation) and RevNet (arXiv 1707.04585).

Filters and units are those of the RevNet code. Where a stage begins with another shape than the one
before ended with, both kinds have an ordinary residual unit whose shortcut is a 1×1 convolution
with BatchNormalization (MemCNN's variant; the RevNet code pads with zeros), and the first unit's
branches have no BatchNormalization and ReLU of their own, because the stem ends in them. Parameter
counts, ten classes: resnet32 466 906, resnet110 1 730 714, resnet164 1 704 154 (weights as in
He et al.), revnet38 573 994, revnet110 1 854 890, revnet164 1 983 786.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import keras
import numpy as np

from mem_dfa.layers.reversible import ReversibleBlock

Tensor: TypeAlias = keras.KerasTensor
Layer: TypeAlias = keras.layers.Layer
BOTTLENECK = 4


@dataclass(frozen=True)
class Configuration:
    """One net: units a stage, filters of the stem and of each stage's units."""

    units: int
    stem: int
    filters: tuple[int, int, int]
    bottleneck: bool = False
    reversible: bool = False


class _Builder:
    """Layers with seeds of their own and names that say where they stand."""

    def __init__(self, bottleneck: bool, seed: int | None) -> None:
        self._bottleneck = bottleneck
        self._generator = np.random.default_rng(seed)

    def convolution(self, filters: int, size: int, stride: int, name: str) -> Layer:
        # Truncated normal with σ = √(2 / (k²·C_out)), as the RevNet code draws.
        initializer = keras.initializers.TruncatedNormal(
            stddev=math.sqrt(2 / (size * size * filters)),
            seed=int(self._generator.integers(2**31 - 1)),
        )
        return keras.layers.Conv2D(
            filters,
            size,
            strides=stride,
            padding="same",
            use_bias=False,
            kernel_initializer=initializer,
            name=name,
        )

    def activation(self, name: str) -> list[Layer]:
        return [
            keras.layers.BatchNormalization(name=f"{name}_bn"),
            keras.layers.ReLU(name=f"{name}_relu"),
        ]

    def branch(self, filters: int, stride: int, name: str, activated: bool) -> list[Layer]:
        """[BN-ReLU-]3×3-BN-ReLU-3×3, or 1×1-3×3-1×1 with a quarter of the filters inside."""
        shapes = [(filters, 3, stride), (filters, 3, 1)]
        if self._bottleneck:
            inner = filters // BOTTLENECK
            shapes = [(inner, 1, stride), (inner, 3, 1), (filters, 1, 1)]
        layers: list[Layer] = []
        for number, (count, size, step) in enumerate(shapes, start=1):
            if number > 1 or not activated:
                layers += self.activation(f"{name}_{number}")
            layers.append(self.convolution(count, size, step, f"{name}_{number}_conv"))
        return layers

    def ordinary(self, x: Tensor, filters: int, stride: int, name: str, activated: bool) -> Tensor:
        """X plus the branch; a 1×1 convolution with BatchNormalization where shapes differ."""
        shortcut = x
        if stride > 1 or x.shape[-1] != filters:
            # Both ways begin after the unit's first BN-ReLU (He et al., 2016): the block's input,
            # twice as large as all that follows, has one reader.
            for layer in [] if activated else self.activation(f"{name}_1"):
                x = layer(x)
            shortcut = self.convolution(filters, 1, stride, f"{name}_shortcut_conv")(x)
            shortcut = keras.layers.BatchNormalization(name=f"{name}_shortcut_bn")(shortcut)
            activated = True
        y = x
        for layer in self.branch(filters, stride, name, activated):
            y = layer(y)
        return keras.layers.Add(name=f"{name}_add")([shortcut, y])

    def reversible(self, x: Tensor, filters: int, name: str, activated: bool) -> Tensor:
        """Two branches over half of the channels each."""
        f, g = (
            keras.Sequential(self.branch(filters // 2, 1, f"{name}_{side}", activated), name=label)
            for side, label in (("f", f"{name}_f"), ("g", f"{name}_g"))
        )
        return ReversibleBlock(f, g, name=name)(x)


def _network(name: str, configuration: Configuration) -> Callable[..., keras.Model]:
    def build(
        input_shape: Sequence[int] = (32, 32, 3),
        classes: int = 10,
        layers: int | None = None,
        seed: int | None = None,
    ) -> keras.Model:
        units = [
            (stage, unit, filters)
            for stage, filters in enumerate(configuration.filters, start=1)
            for unit in range(1, configuration.units + 1)
        ]
        count = len(units) if layers is None else layers
        if not 1 <= count <= len(units):
            raise ValueError(
                f"layers={layers} for model {name}: it has 1 to {len(units)} residual units "
                "before its classifier."
            )
        builder = _Builder(configuration.bottleneck, seed)
        inputs = keras.Input(tuple(input_shape))
        x = builder.convolution(configuration.stem, 3, 1, "stem_conv")(inputs)
        for layer in builder.activation("stem"):
            x = layer(x)
        for number, (stage, unit, filters) in enumerate(units[:count]):
            stride = 2 if stage > 1 and unit == 1 else 1
            keeps_shape = stride == 1 and x.shape[-1] == filters
            title, activated = f"stage_{stage}_unit_{unit}", number == 0
            if configuration.reversible and keeps_shape:
                x = builder.reversible(x, filters, title, activated)
            else:
                x = builder.ordinary(x, filters, stride, title, activated)
        for layer in builder.activation("final"):
            x = layer(x)
        x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
        initializer = keras.initializers.GlorotUniform(seed=seed)
        x = keras.layers.Dense(classes, kernel_initializer=initializer, name="logits")(x)
        return keras.Model(inputs, x, name=name)

    build.__doc__ = (
        f"{name}: {configuration}. `layers` counts residual units before the classifier."
    )
    build.__name__ = name
    return build


resnet32 = _network("resnet32", Configuration(5, 16, (16, 32, 64)))
resnet110 = _network("resnet110", Configuration(18, 16, (16, 32, 64)))
resnet164 = _network("resnet164", Configuration(18, 16, (64, 128, 256), bottleneck=True))
revnet38 = _network("revnet38", Configuration(3, 32, (32, 64, 112), reversible=True))
revnet110 = _network("revnet110", Configuration(9, 32, (32, 64, 128), reversible=True))
revnet164 = _network(
    "revnet164", Configuration(9, 32, (128, 256, 512), bottleneck=True, reversible=True)
)
