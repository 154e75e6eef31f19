"""What else saves memory in TensorFlow and Keras, as algorithms to compare with.

Both are `tf.recompute_grad` underneath, which runs layers again without restoring what the first
run changed: BatchNormalization's moving statistics move twice in a step, and dropout draws another
mask, so that the gradient is that of neither. Imports TensorFlow.
"""

import inspect
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import keras
import tensorflow as tf

import mem_dfa

Layer: TypeAlias = keras.layers.Layer


class RematScope(mem_dfa.Algorithm):
    """Keras's own step on the network made again inside ``keras.RematScope(mode="full")``.

    TensorFlow cannot trace a rematerialised layer that is called with `training` (Dense, Dropout,
    BatchNormalization, a whole model): such layers stay outside of the scope, in eager execution
    too, so that every execution runs the same. Each layer is run again by itself, so its input is
    kept.
    """

    def __init__(self, network: keras.Model, **details: Any) -> None:
        """Wrap a copy of ``network``, with its weights."""
        copy = keras.models.clone_model(network, clone_function=_rematerialised, recursive=True)
        copy.set_weights(network.get_weights())
        super().__init__(copy, **details)


class RecomputeGrad(mem_dfa.Algorithm):
    """Keras's own step on a chain whose segments, about √n of them, run by `tf.recompute_grad`."""

    def __init__(self, network: keras.Model, **details: Any) -> None:
        """Cut ``network`` into segments.

        Raises:
            mem_dfa.UnsupportedError: it is no `keras.Sequential`.
        """
        super().__init__(network, **details)
        if not isinstance(network, keras.Sequential):
            raise mem_dfa.UnsupportedError(
                f"Model '{network.name}' is no keras.Sequential, which alone is cut into segments: "
                "give an --algo without recompute_grad."
            )
        layers = segments(network)
        self._first = [_recomputed(segment) for segment in layers[:-1]]
        self._last = _composed(layers[-1])

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """The network's output; in training by segments."""
        if not training:
            return super().call(inputs, training=training)
        for segment in self._first:
            inputs = segment(inputs)
        # Its backward pass follows its forward pass at once: to run it again would save nothing.
        return self._last(inputs)


def segments(network: keras.Sequential) -> list[list[Layer]]:
    """Consecutive layers, cut before layers with weights into about √n segments of equal length.

    n is the number of layers with weights; the weightless ones stay with the one before them.
    """
    groups: list[list[Layer]] = [[]]
    for layer in _layers(network):
        if layer.weights and any(other.weights for other in groups[-1]):
            groups.append([])
        groups[-1].append(layer)
    count = max(1, round(math.sqrt(len(groups))))
    bounds = [round(number * len(groups) / count) for number in range(count + 1)]
    return [
        [layer for group in groups[start:end] for layer in group]
        for start, end in itertools.pairwise(bounds)
    ]


def _layers(network: keras.Sequential) -> Iterator[Layer]:
    """The network's layers, those of nested networks in their place."""
    for layer in network.layers:
        if isinstance(layer, keras.Sequential):
            yield from _layers(layer)
        else:
            yield layer


def _composed(layers: Sequence[Layer]) -> Callable[[tf.Tensor], tf.Tensor]:
    # Said to each layer: when a segment runs again, the call that it is part of has ended.
    training = [{"training": True} if _takes_training(layer) else {} for layer in layers]

    def run(x: tf.Tensor) -> tf.Tensor:
        for layer, how in zip(layers, training, strict=True):
            x = layer(x, **how)
        return x

    return run


def _recomputed(layers: Sequence[Layer]) -> Callable[[tf.Tensor], tf.Tensor]:
    return tf.recompute_grad(_composed(layers))


def _takes_training(layer: Layer) -> bool:
    return "training" in inspect.signature(layer.call).parameters


def _rematerialised(layer: Layer) -> Layer:
    """The layer made again, inside the scope where TensorFlow allows it."""
    mode = None if _takes_training(layer) else "full"
    with keras.RematScope(mode=mode):
        return type(layer).from_config(layer.get_config())
