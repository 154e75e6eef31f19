"""VGG-16 for CIFAR-10, without BatchNormalization and dropout."""

from __future__ import annotations

from collections.abc import Sequence

import keras

from mem_dfa.models.build import Group, Layer, Seeds, sequential

STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


def vgg16(
    input_shape: Sequence[int] = (32, 32, 3),
    classes: int = 10,
    layers: int | None = None,
    seed: int | None = None,
) -> keras.Sequential:
    """Thirteen 3×3 convolutions with ReLU in five stages, max-pooling after each, dense 4096 ×2.

    `layers` counts weight layers before the classifier: 1 to 15. 33 633 994 parameters on
    CIFAR-10.
    """

    def convolution(name: str, filters: int, ends_stage: bool) -> Group:
        def make(seeds: Seeds) -> list[Layer]:
            relu = keras.layers.ReLU(name=f"relu_{name}")
            pool = [keras.layers.MaxPooling2D(2, name=f"pool_{name}")] if ends_stage else []
            return [seeds.conv(filters, 3, f"conv_{name}"), relu, *pool]

        return make

    def dense(index: int) -> Group:
        def make(seeds: Seeds) -> list[Layer]:
            flatten = [keras.layers.Flatten(name="flatten")] if index == 1 else []
            relu = keras.layers.ReLU(name=f"relu_dense_{index}")
            return [*flatten, seeds.dense(4096, f"dense_{index}"), relu]

        return make

    groups = [
        convolution(f"{stage}_{index}", filters, index == len(widths))
        for stage, widths in enumerate(STAGES, start=1)
        for index, filters in enumerate(widths, start=1)
    ]
    return sequential("vgg16", input_shape, classes, layers, seed, [*groups, dense(1), dense(2)])
