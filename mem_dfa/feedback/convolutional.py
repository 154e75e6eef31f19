"""Convolutional: e, broadcast over the image, convolved with a small random kernel K_i.

    δ_i[h, w] = Σ_{p,q} e·K_i[p, q]  over the taps that fall inside the image: a convolution, SAME

As in BioTorch (Sanfiz and Akrout, arXiv 2108.13446), which transposes the next layer's convolution
where this one takes the block's own kernel size and no strides. K_i has the shape
(C, k, k, channels): its bytes do not depend on the image's size. Every position of the constant
image that lies as far from the borders sees the same taps, so each such class of positions is
computed once, and the image of classes is filled in. In the inside δ_i sums k² taps; K_i is drawn
at 1/k of the stored kind's scale, so that the entries of B_i have its standard deviation there.

A block without a convolution, or with a flat output that no `Flatten` made of an image, has a
matrix as of `stored`. The same for one and three axes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf
from keras.src.layers.convolutional.base_conv import BaseConv
from keras.src.layers.convolutional.base_conv_transpose import BaseConvTranspose
from keras.src.layers.convolutional.base_depthwise_conv import BaseDepthwiseConv
from keras.src.layers.convolutional.base_separable_conv import BaseSeparableConv

from mem_dfa.chain.block import Block
from mem_dfa.errors import UnsupportedError
from mem_dfa.feedback.distributions import Distribution
from mem_dfa.feedback.features import shape_before_flatten
from mem_dfa.feedback.matrices import KindArguments, Matrices
from mem_dfa.feedback.stored import Stored
from mem_dfa.feedback.tiles import ENTRY_BYTES, drawn
from mem_dfa.graph.once import constant
from mem_dfa.graph.ordering import after, token

CONVOLUTIONS = (BaseConv, BaseConvTranspose, BaseDepthwiseConv, BaseSeparableConv)


class Convolutional(Stored):
    """A kernel for each block with an image at its end is a variable."""

    takes_keras_initializers = False

    @classmethod
    def bytes_of(cls, classes: int, blocks: Sequence[Block], arguments: KindArguments) -> int:
        """Of all kernels, and of the matrices of other blocks."""
        images = [(block, image_of(block)) for block in blocks]
        columns = [block.width if image is None else image.columns for block, image in images]
        return ENTRY_BYTES * classes * sum(columns)

    def _made(self, block: Block, add_weight: Callable[..., keras.Variable]) -> keras.Variable:
        image = image_of(block)
        if image is None:
            return super()._made(block, add_weight)
        dense, seed = self._distribution(block.width), self.seeds[block.name]
        kernel = Distribution(dense.draw, dense.scale / math.sqrt(image.taps))
        return add_weight(
            shape=(self.classes, *image.kernel_size, image.channels),
            initializer=lambda shape, dtype: tf.cast(
                tf.reshape(drawn(kernel, self.classes, image.columns, seed), shape), dtype
            ),
            trainable=False,
            name=f"feedback_{block.name}",
        )

    def matrix(self, block: Block, earlier: tf.Tensor) -> tf.Tensor:
        """Made of the kernel, where there is one."""
        if image_of(block) is None:
            return super().matrix(block, earlier)
        return Matrices.matrix(self, block, earlier)

    def projected(self, source: tf.Tensor, block: Block, error: tf.Tensor) -> tf.Tensor:
        """The convolution of the constant image, class of positions by class of positions."""
        image = image_of(block)
        if image is None:
            return super().projected(source, block, error)
        # e·K_i[p, q] for each tap, shape (batch, taps, channels)
        by_column = constant([self.classes, image.columns], tf.int32)
        products = error @ tf.cast(tf.reshape(source, by_column), error.dtype)
        by_tap = constant([-1, image.taps, image.channels], tf.int32)
        inside, numbers = image.classes()
        # Σ_{p,q} over the taps inside, for each class of positions
        sums = constant(inside, error.dtype) @ tf.reshape(products, by_tap)
        # The numbers of the classes wait: TensorFlow would keep the image of what is constant.
        index, late = constant(0, tf.int32), token([error])
        for own, count in numbers:
            index = tf.expand_dims(index * constant(count, tf.int32), -1) + after(
                constant(own, tf.int32), late
            )
        flat = tf.reshape(index, constant([-1], tf.int32))
        signal = tf.raw_ops.GatherV2(params=sums, indices=flat, axis=constant(1, tf.int32))
        return tf.reshape(signal, constant([-1, block.width], tf.int32))


@dataclass(frozen=True)
class Image:
    """An image at the end of a block, and the kernel that feedback reaches it by."""

    shape: tuple[int, ...]
    channels: int
    kernel_size: tuple[int, ...]

    @property
    def taps(self) -> int:
        """Positions of the kernel, k²."""
        return math.prod(self.kernel_size)

    @property
    def columns(self) -> int:
        """Entries of the kernel for one class of the labels."""
        return self.taps * self.channels

    def classes(self) -> tuple[np.ndarray, list[tuple[np.ndarray, int]]]:
        """The classes of positions that see the same taps.

        Returns:
            Which taps each class sees, shape (classes, taps), 0 or 1; and for each axis the number
            of each position's class along it, and how many there are.
        """
        inside: np.ndarray = np.ones((1, 1))
        numbers = []
        for size, taps in zip(self.shape, self.kernel_size, strict=True):
            seen = np.arange(size)[:, None] + np.arange(taps) - (taps - 1) // 2
            own, number = np.unique((seen >= 0) & (seen < size), axis=0, return_inverse=True)
            inside = np.kron(inside, own)
            numbers.append((number.reshape(-1), len(own)))
        return inside, numbers


def image_of(block: Block) -> Image | None:
    """The image that a block ends in, before a trailing Flatten; None where there is none.

    Raises:
        UnsupportedError: its channels come first.
    """
    shape = shape_before_flatten(block)
    convolutions = [layer for layer in block.layers if isinstance(layer, CONVOLUTIONS)]
    if not convolutions or len(shape) != len(convolutions[-1].kernel_size) + 2:
        return None
    if convolutions[-1].data_format != "channels_last":
        raise UnsupportedError(
            f"feedback='convolutional' received layer '{convolutions[-1].name}' with channels "
            "first: use data_format='channels_last', or feedback='stored'."
        )
    # No size is unknown: a block that is sent an error has a fixed width.
    *sizes, channels = (int(size or 0) for size in shape[1:])
    return Image(tuple(sizes), channels, tuple(convolutions[-1].kernel_size))
