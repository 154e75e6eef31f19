"""Feedback alignment (Lillicrap et al., 2016; RBP in Baldi et al., 2018).

    δ_n = e,  δ_{i-1} = J_i(B_i)ᵀ δ_i,  W_i ← W_i − η·G_iᵀ δ_i

J_i(B_i) is the layer's Jacobian with a fixed random kernel B_i in place of W_i; activations,
pooling and normalisation keep their own. Keeps every activation, as BP does.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras.src.layers.convolutional.base_conv_transpose import BaseConvTranspose
from keras.src.layers.convolutional.base_depthwise_conv import BaseDepthwiseConv

from mem_dfa.algorithms.base import FeedbackAlgorithm
from mem_dfa.chain.atom import (
    NORMALISATIONS,
    LayerAtom,
    is_linear,
    leaf_layers,
    with_call,
    without_activation,
)
from mem_dfa.chain.block import Block
from mem_dfa.chain.foreign_code import is_keras_only
from mem_dfa.chain.outside import NOTHING_SEEN, Seen
from mem_dfa.chain.refuse_unrepeatable import refuse_unrepeatable
from mem_dfa.chain.rehearsal import run_noted
from mem_dfa.chain.rematerialised import without_rematerialisation
from mem_dfa.errors import UnsupportedError
from mem_dfa.feedback.distributions import for_kernel
from mem_dfa.shapes.layer_bytes import backpropagation_bytes, variable_bytes

Kernels = list[tuple[keras.Variable, keras.Variable]]

KERNELS = ("kernel", "depthwise_kernel", "pointwise_kernel")
# Elementwise, or with nothing before it to send an error to: their own gradient is used.
WITHOUT_KERNEL = (*NORMALISATIONS, keras.layers.PReLU, keras.layers.Embedding)


@keras.saving.register_keras_serializable("mem_dfa")
class FA(FeedbackAlgorithm):
    """Keras's own step in which errors pass dense and convolutional layers by random kernels."""

    def _draw_feedback(self) -> None:
        """Draw a random kernel for each layer that sends an error signal back."""
        self._random_kernels: list[tuple[keras.layers.Layer, Kernels]] = []
        layers = list({id(layer): layer for layer in leaf_layers(self.network)}.values())
        seeds = iter(np.random.default_rng(self.seed).integers(2**31 - 1, size=2 * len(layers)))
        error_is_used = False  # by a layer with weights further down
        for layer in layers:
            if not layer.weights:
                continue
            _refuse_unsupported(layer, self.network)
            if error_is_used and is_linear(layer):
                kernels = [v for v in layer.weights if v.name in KERNELS]
                pairs = [
                    (kernel, self._draw(layer, kernel, int(next(seeds)))) for kernel in kernels
                ]
                self._random_kernels.append((layer, pairs))
            error_is_used = True

    def _draw(self, layer: keras.layers.Layer, kernel: keras.Variable, seed: int) -> keras.Variable:
        fan_in, fan_out = fans(layer, kernel)
        return self.add_weight(
            shape=kernel.shape,
            initializer=for_kernel(
                self.feedback_initializer, fan_in, fan_out, len(kernel.shape) == 2, seed
            ),
            trainable=False,
            name=f"feedback_{layer.name}_{kernel.name}",
        )

    @property
    def feedback_bytes(self) -> int:
        """Bytes of the random kernels."""
        return variable_bytes([b for _, pairs in self._random_kernels for _, b in pairs])

    def _predict_step_bytes(self, batch_size: int) -> int:
        """As BP's: the random kernels' detour holds no more at a time."""
        return backpropagation_bytes(self.network, batch_size)

    def _refuse_at_compile(self) -> None:
        super()._refuse_at_compile()
        for layer, _ in self._random_kernels:
            # On the way back it runs a second time.
            refuse_unrepeatable(Block(layer.name, [LayerAtom(layer)]))

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        """Keras's step, with the error's way back changed."""
        with ExitStack() as stack:
            stack.enter_context(without_rematerialisation([self]))
            for layer, kernels in self._random_kernels:
                stack.enter_context(random_way_back(layer, kernels))
            return super().train_step(data)


@contextmanager
def random_way_back(layer: keras.layers.Layer, kernels: Kernels) -> Iterator[None]:
    """Within the context the layer's input gradient is formed with random kernels.

    Its output and the gradients of its weights stay the true ones.
    """
    original = layer.call
    plain = False  # whether the layer runs as it is, to be differentiated
    keras_only = is_keras_only(layer)

    def way_back(
        run: Callable[[tf.Tensor], tf.Tensor], inputs: tf.Tensor, error: tf.Tensor, seen: Seen
    ) -> tf.Tensor:
        nonlocal plain
        mapping = [(kernel, feedback.value) for kernel, feedback in kernels]
        plain = True
        try:
            with (
                keras.StatelessScope(state_mapping=[*seen.values(None), *mapping]),
                seen.draws(),
                without_activation(layer),
                tf.GradientTape(watch_accessed_variables=False) as tape,
            ):
                tape.watch(inputs)
                outputs = run(inputs)
        finally:
            plain = False
        # δ_{i-1} = J_i(B_i)ᵀ δ_i
        return tape.gradient(outputs, inputs, output_gradients=error)

    def call(inputs: tf.Tensor, *args: Any, **kwargs: Any) -> tf.Tensor:
        if plain:
            return original(inputs, *args, **kwargs)
        with without_activation(layer):
            run = functools.partial(original, tf.stop_gradient(inputs), *args, **kwargs)
            outputs, seen = (run(), NOTHING_SEEN) if keras_only else run_noted(layer, run)

        @tf.custom_gradient
        def carry(outputs: tf.Tensor, inputs: tf.Tensor) -> Any:
            # Through __call__, which casts the kernels as the layer's dtype policy says.
            again = lambda inputs: layer(inputs, *args, **kwargs)  # noqa: E731
            return tf.identity(outputs), lambda error: (error, way_back(again, inputs, error, seen))

        outputs = carry(outputs, inputs)
        return outputs if layer.activation is None else layer.activation(outputs)

    with with_call(layer, call):
        yield


def fans(layer: keras.layers.Layer, kernel: keras.Variable) -> tuple[int, int]:
    """Number of inputs of one output unit, and of outputs of one input unit, for a kernel."""
    shape = tuple(kernel.shape)
    if isinstance(layer, keras.layers.EinsumDense):
        operands, result = layer.equation.replace("...", "").split("->")
        source, labels = operands.split(",")
        sizes = dict(zip(labels, shape, strict=True))
        fan_in = math.prod(n for label, n in sizes.items() if label not in result)
        return fan_in, math.prod(n for label, n in sizes.items() if label not in source)
    receptive = math.prod(shape[:-2])
    is_depthwise = isinstance(layer, BaseDepthwiseConv) or kernel.name == "depthwise_kernel"
    if is_depthwise:
        return receptive, receptive * shape[-1]
    if isinstance(layer, BaseConvTranspose):
        return receptive * shape[-1], receptive * shape[-2]
    return receptive * shape[-2], receptive * shape[-1]


def _refuse_unsupported(layer: keras.layers.Layer, network: keras.Model) -> None:
    if not (is_linear(layer) or isinstance(layer, WITHOUT_KERNEL)):
        raise UnsupportedError(
            f"FA cannot train layer '{layer.name}' ({type(layer).__name__}) of model "
            f"'{network.name}': random kernels stand in for those of dense, einsum-dense and "
            "convolutional layers only, not inside recurrent, attention, wrapper or custom "
            "layers; use such layers, or train with 'bp'."
        )
