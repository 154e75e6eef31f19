"""Small nets for MNIST and CIFAR-10, as the reference implementation of MEM-DFA defines them."""

from __future__ import annotations

from collections.abc import Sequence

import keras

from mem_dfa.models.build import Group, Layer, Seeds, sequential


def mlp(
    input_shape: Sequence[int] = (28, 28, 1),
    classes: int = 10,
    layers: int | None = None,
    seed: int | None = None,
) -> keras.Sequential:
    """784-100-30-10 with ReLU: 81 840 parameters."""

    def first(seeds: Seeds) -> list[Layer]:
        flatten = keras.layers.Flatten(name="flatten")
        return [flatten, seeds.dense(100, "dense_1"), keras.layers.ReLU(name="relu_1")]

    def second(seeds: Seeds) -> list[Layer]:
        return [seeds.dense(30, "dense_2"), keras.layers.ReLU(name="relu_2")]

    return sequential("mlp", input_shape, classes, layers, seed, [first, second])


def mnist_conv(
    input_shape: Sequence[int] = (28, 28, 1),
    classes: int = 10,
    layers: int | None = None,
    seed: int | None = None,
) -> keras.Sequential:
    """conv5×5×20 – max2/2 – ReLU – conv5×5×50 – max2/2 – ReLU – dense 500 – ReLU – dense 10."""

    def convolution(index: int, filters: int) -> Group:
        def make(seeds: Seeds) -> list[Layer]:
            pool = keras.layers.MaxPooling2D(2, name=f"pool_{index}")
            relu = keras.layers.ReLU(name=f"relu_{index}")
            return [seeds.conv(filters, 5, f"conv_{index}"), pool, relu]

        return make

    def dense(seeds: Seeds) -> list[Layer]:
        flatten = keras.layers.Flatten(name="flatten")
        return [flatten, seeds.dense(500, "dense_3"), keras.layers.ReLU(name="relu_3")]

    groups = [convolution(1, 20), convolution(2, 50), dense]
    return sequential("mnist_conv", input_shape, classes, layers, seed, groups)


def liao_cifar(
    input_shape: Sequence[int] = (32, 32, 3),
    classes: int = 10,
    layers: int | None = None,
    seed: int | None = None,
) -> keras.Sequential:
    """conv32 – max – ReLU – conv64 – avg – conv64 – avg – ReLU – dense 128 – ReLU – dense 10.

    5×5 convolutions and 3×3/2 pooling, all SAME; no ReLU after the second convolution. 288 490
    parameters on CIFAR-10.
    """

    def convolution(index: int, filters: int, pool: type[Layer], relu: bool) -> Group:
        def make(seeds: Seeds) -> list[Layer]:
            pooling = pool(3, strides=2, padding="same", name=f"pool_{index}")
            activation = [keras.layers.ReLU(name=f"relu_{index}")] if relu else []
            return [seeds.conv(filters, 5, f"conv_{index}"), pooling, *activation]

        return make

    def dense(seeds: Seeds) -> list[Layer]:
        flatten = keras.layers.Flatten(name="flatten")
        return [flatten, seeds.dense(128, "dense_4"), keras.layers.ReLU(name="relu_4")]

    maximum, average = keras.layers.MaxPooling2D, keras.layers.AveragePooling2D
    groups = [
        convolution(1, 32, maximum, relu=True),
        convolution(2, 64, average, relu=False),
        convolution(3, 64, average, relu=True),
        dense,
    ]
    return sequential("liao_cifar", input_shape, classes, layers, seed, groups)
