"""Small nets for MNIST and CIFAR-10, most as the reference code of MEM-DFA defines them."""

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


def xconv_net(
    input_shape: Sequence[int] = (28, 28, 1),
    classes: int = 10,
    layers: int | None = None,
    seed: int | None = None,
) -> keras.Sequential:
    """Convolutions 3×3 to 16, 32 and 32 channels, SAME, with ReLU and max2/2 each – dense 10.

    What XConv was tried with on MNIST (Louboutin et al., arXiv 2106.06998). 16 938 parameters.
    """

    def convolution(index: int, filters: int) -> Group:
        def make(seeds: Seeds) -> list[Layer]:
            relu = keras.layers.ReLU(name=f"relu_{index}")
            pool = keras.layers.MaxPooling2D(2, name=f"pool_{index}")
            return [seeds.conv(filters, 3, f"conv_{index}", bias=True), relu, pool]

        return make

    groups = [convolution(index, filters) for index, filters in ((1, 16), (2, 32), (3, 32))]
    return sequential("xconv_net", input_shape, classes, layers, seed, groups)


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
    groups = _liao_groups(is_normalised=False)
    return sequential("liao_cifar", input_shape, classes, layers, seed, groups)


def liao_cifar_bn(
    input_shape: Sequence[int] = (32, 32, 3),
    classes: int = 10,
    layers: int | None = None,
    seed: int | None = None,
) -> keras.Sequential:
    """`liao_cifar` with BatchNormalization behind each pooling and the hidden dense layer.

    Sign-symmetry needs it (Liao et al., arXiv 1510.05067).
    """
    groups = _liao_groups(is_normalised=True)
    return sequential("liao_cifar_bn", input_shape, classes, layers, seed, groups)


def _liao_groups(is_normalised: bool) -> list[Group]:
    def normalised(index: int) -> list[Layer]:
        name = f"normalisation_{index}"
        return [keras.layers.BatchNormalization(name=name)] if is_normalised else []

    def convolution(index: int, filters: int, pool: type[Layer], relu: bool) -> Group:
        def make(seeds: Seeds) -> list[Layer]:
            pooling = pool(3, strides=2, padding="same", name=f"pool_{index}")
            activation = [keras.layers.ReLU(name=f"relu_{index}")] if relu else []
            return [
                seeds.conv(filters, 5, f"conv_{index}"),
                pooling,
                *normalised(index),
                *activation,
            ]

        return make

    def dense(seeds: Seeds) -> list[Layer]:
        flatten = keras.layers.Flatten(name="flatten")
        relu = keras.layers.ReLU(name="relu_4")
        return [flatten, seeds.dense(128, "dense_4"), *normalised(4), relu]

    maximum, average = keras.layers.MaxPooling2D, keras.layers.AveragePooling2D
    return [
        convolution(1, 32, maximum, relu=True),
        convolution(2, 64, average, relu=False),
        convolution(3, 64, average, relu=True),
        dense,
    ]
