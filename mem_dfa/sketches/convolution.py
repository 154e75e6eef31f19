"""Convolutions that keep a sketch of their input, and ReLUs that keep a bit of each value."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import keras
import tensorflow as tf
from keras.src.layers.convolutional.base_conv import BaseConv

from mem_dfa.chain.atom import with_call
from mem_dfa.graph.ordering import after, token
from mem_dfa.shapes.graph_models import has_own_call
from mem_dfa.sketches.packed import packed, unpacked
from mem_dfa.sketches.probes import Probes

Tensor: TypeAlias = tf.Tensor
ROW = 256
"""Values whose bits are packed together."""


def why_not(layer: keras.layers.Layer) -> str:
    """Why a layer's input cannot be sketched; empty where it can."""
    if not isinstance(layer, BaseConv):
        return "no Conv1D, Conv2D or Conv3D"
    if has_own_call(layer):
        return "it has a call of its own"
    if layer.data_format != "channels_last":
        return f"data_format={layer.data_format!r}, not 'channels_last'"
    if layer.built and None in layer._build_shapes_dict.get("input_shape", ())[1:]:
        return "its input is of no fixed size"
    return ""


@contextmanager
def sketched(layer: BaseConv, probes: Probes, seed: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Within the context a convolution keeps a sketch of its input, see `probes`.

    Its output and the gradients of its input and bias stay exact.

    Args:
        layer: for which `why_not` has nothing to say.
        probes: to sketch with.
        seed: gives the seed of a draw, shape (2,), not before the tensor that it is given.
    """

    def run(inputs: Tensor, kernel: Tensor) -> Tensor:
        padding = layer.padding
        if padding == "causal":
            inputs, padding = keras.ops.pad(inputs, layer._compute_causal_padding()), "valid"
        return keras.ops.conv(
            inputs, kernel, list(layer.strides), padding, layer.data_format, layer.dilation_rate
        )

    def call(inputs: Tensor) -> Tensor:
        kernel = tf.convert_to_tensor(layer.kernel)
        outputs = _convolved(run, inputs, kernel, probes, seed(inputs))
        if layer.use_bias:
            outputs = keras.ops.add(outputs, layer.bias)
        return outputs if layer.activation is None else layer.activation(outputs)

    with with_call(layer, call):
        yield


def _convolved(
    run: Callable[[Tensor, Tensor], Tensor],
    inputs: Tensor,
    kernel: Tensor,
    probes: Probes,
    seed: Tensor,
) -> Tensor:
    sizes, batch = inputs.shape[1:].as_list(), tf.shape(inputs)[0]

    def weights_gradient(images: Tensor, errors: Tensor) -> Tensor:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(kernel)
            outputs = run(images, kernel)
        return tape.gradient(outputs, kernel, output_gradients=errors)

    def input_gradient(error: Tensor) -> Tensor:
        # The convolution is linear: its gradient is the same wherever it is taken.
        anywhere = tf.zeros([batch, *sizes], error.dtype)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(anywhere)
            outputs = run(anywhere, kernel)
        return tape.gradient(outputs, anywhere, output_gradients=error)

    @tf.custom_gradient
    def convolve(inputs: Tensor, kernel: Tensor) -> Any:
        sketch = probes.sketch(inputs, seed)

        def gradient(error: Tensor) -> tuple[Tensor, Tensor]:
            # Otherwise the probes of all layers are there from the forward pass on.
            late = after(seed, token([error]))
            found = probes.gradient(weights_gradient, sketch, error, late, sizes)
            # Error signals would be there of all layers whose weights' gradients come later.
            return after(input_gradient(error), token([found])), found

        # Otherwise the input stays until something else waits for the sketch.
        return after(run(inputs, kernel), token([sketch])), gradient

    return convolve(inputs, kernel)


@contextmanager
def relu_in_bits(layer: keras.layers.Layer) -> Iterator[None]:
    """Within the context a layer's ReLU keeps a bit of each value for its gradient.

    Args:
        layer: for which `has_relu`.
    """
    if isinstance(layer, keras.layers.ReLU):
        with with_call(layer, relu):
            yield
        return
    own, layer.activation = layer.activation, relu
    try:
        yield
    finally:
        layer.activation = own


def has_relu(layer: keras.layers.Layer) -> bool:
    """Whether a layer is, or ends in, max(x, 0) of Keras's own."""
    if type(layer) is keras.layers.ReLU:
        return layer.max_value is None and not layer.negative_slope and not layer.threshold
    # Recurrent layers show the activation of their cell, which runs it at every step.
    own = vars(layer).get("activation")
    return own is keras.activations.relu and not has_own_call(layer)


@tf.custom_gradient
def relu(inputs: Tensor) -> Any:
    """max(x, 0), of which a bit of each value is kept."""
    outputs = tf.nn.relu(inputs)
    is_positive = tf.reshape(tf.cast(outputs > 0, tf.uint8), [-1])
    is_positive = tf.pad(is_positive, [[0, -tf.size(is_positive) % ROW]])
    bits = packed(tf.reshape(is_positive, [-1, ROW]), 1)

    def gradient(error: Tensor) -> Tensor:
        mask = tf.reshape(unpacked(after(bits, token([error])), 1), [-1])
        mask = tf.reshape(mask[: tf.size(error)], tf.shape(error))
        return tf.where(mask > 0, error, tf.zeros([], error.dtype))

    return after(outputs, token([bits])), gradient
