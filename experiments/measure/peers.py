"""What else saves memory in TensorFlow and Keras, as algorithms to compare with.

Both are `tf.recompute_grad` underneath, which runs layers again without restoring what the first
run changed: BatchNormalization's moving statistics move twice in a step, and dropout draws another
mask, so that the gradient is that of neither. Imports TensorFlow.
"""

import functools
import inspect
import itertools
import math
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import keras
import tensorflow as tf

import mem_dfa

Layer: TypeAlias = keras.layers.Layer


class RematScope(mem_dfa.Algorithm):
    """Keras's own step on the network made again inside ``keras.RematScope(mode="full")``.

    TensorFlow cannot trace a rematerialised layer that is called with `training` (Dense, Dropout,
    BatchNormalization, a whole model): such layers stay outside of the scope, in every execution.
    Each layer is run again by itself, so its input is kept.
    """

    def __init__(self, network: keras.Model, **details: Any) -> None:
        """Wrap a copy of ``network``, with its weights."""
        copy = keras.models.clone_model(network, clone_function=_rematerialised, recursive=True)
        copy.set_weights(network.get_weights())
        super().__init__(copy, **details)


class RecomputeGrad(mem_dfa.Algorithm):
    """Keras's own step on a chain whose segments, about √n of them, run by `tf.recompute_grad`."""

    def __init__(self, network: keras.Model, **details: Any) -> None:
        """Cut ``network``, a `keras.Sequential`, into segments."""
        super().__init__(network, **details)
        if not isinstance(network, keras.Sequential):
            raise mem_dfa.UnsupportedError(
                f"Model '{network.name}' is no keras.Sequential, which alone is cut into segments: "
                "give an --algo without recompute_grad."
            )
        parts = [[*map(_in_training, layers)] for layers in segments(network)]
        *first, last = [functools.partial(_in_turn, calls) for calls in parts]
        # The last one's backward pass follows its forward pass: to run it again would save nothing.
        self._segments = [*map(tf.recompute_grad, first), last]

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """The network's output; in training by segments."""
        if training:
            return _in_turn(self._segments, inputs)
        return super().call(inputs, training=training)


def segments(network: keras.Sequential) -> list[list[Layer]]:
    """Cuts before layers with weights, of which there are n, into about √n segments alike long."""
    layers = network.layers
    starts = [0, *[number for number, layer in enumerate(layers) if layer.weights][1:]]
    count = round(math.sqrt(len(starts)))
    bounds = [starts[round(number * len(starts) / count)] for number in range(count)]
    return [layers[start:end] for start, end in itertools.pairwise([*bounds, len(layers)])]


def _in_turn(calls: Iterable[Callable[[tf.Tensor], tf.Tensor]], inputs: tf.Tensor) -> tf.Tensor:
    return functools.reduce(lambda value, call: call(value), calls, inputs)


def _in_training(layer: Layer) -> Callable[[tf.Tensor], tf.Tensor]:
    # Said to each layer: when a segment runs again, the call that it is part of has ended.
    return functools.partial(layer, training=True) if _takes_training(layer) else layer


def _takes_training(layer: Layer) -> bool:
    return "training" in inspect.signature(layer.call).parameters


def _rematerialised(layer: Layer) -> Layer:
    """The layer made again, inside the scope where TensorFlow allows it."""
    with keras.RematScope(mode=None if _takes_training(layer) else "full"):
        return type(layer).from_config(layer.get_config())
