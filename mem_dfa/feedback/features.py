"""What a block's own classifier sees of its output: features, of an image averages over windows."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import keras
import tensorflow as tf

from mem_dfa.chain.block import Block
from mem_dfa.errors import UnsupportedError

MOST_FEATURES = 1024
"""Of an image, unless it has more channels (Nøkland and Eidnes, arXiv 1901.06656)."""
MOST_AXES = 3
"""Of an image: what TensorFlow averages and convolves over."""
KEEP_THE_IMAGE = (keras.layers.Flatten, keras.layers.Dropout, keras.layers.Activation)


class Features:
    """Of one block's output: at each of some positions one value a channel.

    Attributes:
        sizes: of the image that the block ends in, before a trailing Flatten; () of a flat output.
        channels: of the image, or units of a flat output.
        positions: of the averages; 1 of a flat output.
    """

    def __init__(self, owner: str, block: Block) -> None:
        """See what a block ends in.

        Args:
            owner: name of the algorithm, for messages.
            block: which.

        Raises:
            UnsupportedError: its output has no fixed shape, or channels first.
        """
        width = block.width
        *sizes, channels = (int(size or 0) for size in shape_before_flatten(block)[1:])
        if len(sizes) > MOST_AXES:
            sizes, channels = [], width
        for layer in block.layers:
            if sizes and getattr(layer, "data_format", None) == "channels_first":
                raise UnsupportedError(
                    f"{owner} received layer '{layer.name}' with channels first: use "
                    "data_format='channels_last', or train with 'lel'."
                )
        self.sizes, self.channels = tuple(sizes), channels
        self._windows = _windows(sizes, channels)
        self.positions = math.prod(map(_averages, sizes, self._windows))

    @property
    def count(self) -> int:
        """Features of one example."""
        return self.positions * self.channels

    @property
    def is_pooled(self) -> bool:
        """Whether they are averages."""
        return max(self._windows, default=1) > 1

    def image(self, outputs: tf.Tensor) -> tf.Tensor:
        """a_i as an image, shape (batch, *sizes, channels)."""
        return tf.reshape(outputs, [-1, *self.sizes, self.channels])

    def of(self, outputs: tf.Tensor) -> tf.Tensor:
        """Of a_i, shape (batch, positions, channels)."""
        image = self.image(outputs)
        if self.is_pooled:
            image = tf.nn.avg_pool(image, self._windows, self._windows, "SAME")
        return tf.reshape(image, [-1, self.positions, self.channels])


def _windows(sizes: Sequence[int], channels: int) -> list[int]:
    """Sizes of the windows that an image is averaged over: doubled in turn until few are left."""
    windows = [1] * len(sizes)
    for axis in itertools.cycle(range(len(sizes))):
        left = list(map(_averages, sizes, windows))
        if channels * math.prod(left) <= MOST_FEATURES or max(left) == 1:
            break
        windows[axis] *= 2
    return windows


def _averages(size: int, window: int) -> int:
    return -(-size // window)


def shape_before_flatten(block: Block) -> tuple[int | None, ...]:
    """Shape of a block's output, of the image where a trailing Flatten made it flat."""
    shape = block.output_shape
    for atom in reversed(block.atoms):
        if not all(isinstance(operation, KEEP_THE_IMAGE) for operation in atom.operations):
            break
        shape = tuple(atom.before.shape)
    return shape
