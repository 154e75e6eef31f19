"""Error signals that pass layers by random kernels: feedback alignment's way back.

    δ_{i-1} = J_i(B_i)ᵀ δ_i

J_i(B_i) is the layer's Jacobian with a kernel of another kind in place of W_i.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras.src.layers.convolutional.base_conv_transpose import BaseConvTranspose
from keras.src.layers.convolutional.base_depthwise_conv import BaseDepthwiseConv

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
from mem_dfa.feedback.distributions import Initializer, check_initializer, for_kernel
from mem_dfa.feedback.signal import Signal, serialized

KERNELS = ("kernel", "depthwise_kernel", "pointwise_kernel")
# Elementwise, or with nothing before it to send an error to: their own gradient is used.
WITHOUT_KERNEL = (*NORMALISATIONS, keras.layers.PReLU, keras.layers.Embedding)


class KernelFeedback(Signal):
    """A fixed random kernel for each dense or convolutional layer that sends an error back."""

    def __init__(
        self,
        trainer: Any,
        initializer: str | Initializer,
    ) -> None:
        """Draw the kernels.

        Args:
            trainer: whose `network` they are for, which holds and saves them.
            initializer: a name in `distributions.INITIALIZERS`, or a Keras initializer.

        Raises:
            UnsupportedError: unknown initializer, or a layer for which no kernel can stand in.
        """
        check_initializer(initializer)
        self._initializer, network = initializer, trainer.network
        self.kernels: list[tuple[keras.layers.Layer, list[tuple[keras.Variable, ...]]]] = []
        layers = list({id(layer): layer for layer in leaf_layers(network)}.values())
        seeds = iter(np.random.default_rng(trainer.seed).integers(2**31 - 1, size=2 * len(layers)))
        error_is_used = False  # by a layer with weights further down
        for layer in layers:
            if not layer.weights:
                continue
            _refuse_unsupported(layer, network)
            if error_is_used and is_linear(layer):
                kernels = [v for v in layer.weights if v.name in KERNELS]
                pairs = [
                    (kernel, trainer.add_weight(**self._weight(layer, kernel, int(next(seeds)))))
                    for kernel in kernels
                ]
                self.kernels.append((layer, pairs))
            error_is_used = True
        # Where Keras finds the layers' kernels first: it is their place in a saved trainer.
        trainer._random_kernels = self.kernels

    def _weight(
        self, layer: keras.layers.Layer, kernel: keras.Variable, seed: int
    ) -> dict[str, Any]:
        """The random kernel for one of a layer's own, as `add_weight` takes it."""
        is_dense = len(kernel.shape) == 2
        return {
            "shape": kernel.shape,
            "initializer": for_kernel(self._initializer, *fans(layer, kernel), is_dense, seed),
            "trainable": False,
            "name": f"feedback_{layer.name}_{kernel.name}",
        }

    @property
    def held(self) -> Sequence[keras.Variable]:
        """The random kernels."""
        return [feedback for _, pairs in self.kernels for _, feedback in pairs]

    def get_config(self) -> dict[str, Any]:
        """The trainer's argument that made it."""
        return {"feedback_initializer": serialized(self._initializer)}

    def kernel(
        self, layer: keras.layers.Layer, own: keras.Variable, feedback: keras.Variable
    ) -> tf.Tensor | tf.Variable:
        """The kernel that the error signal passes backward through.

        Args:
            layer: which.
            own: W, the layer's kernel.
            feedback: B, the random kernel of its shape.
        """
        return feedback.value

    def refuse_at_compile(self, loss: Any) -> None:
        """Raise UnsupportedError for a layer that cannot run a second time, on the way back."""
        for layer, _ in self.kernels:
            refuse_unrepeatable(Block(layer.name, [LayerAtom(layer)]))

    @contextmanager
    def way_back(self, trainer: keras.Model) -> Iterator[None]:
        """Within the context the trainer's layers form their input gradients with these kernels."""
        with ExitStack() as stack:
            stack.enter_context(without_rematerialisation([trainer]))
            for layer, pairs in self.kernels:
                kernels = functools.partial(self._standing_in, layer, pairs)
                stack.enter_context(random_way_back(layer, kernels))
            yield

    def _standing_in(
        self, layer: keras.layers.Layer, pairs: Sequence[tuple[keras.Variable, ...]]
    ) -> list[tuple[keras.Variable, Any]]:
        return [(own, self.kernel(layer, own, feedback)) for own, feedback in pairs]


@contextmanager
def random_way_back(
    layer: keras.layers.Layer, kernels: Callable[[], list[tuple[keras.Variable, Any]]]
) -> Iterator[None]:
    """Within the context the layer's input gradient is formed with other kernels.

    Its output and the gradients of its weights stay the true ones.

    Args:
        layer: which.
        kernels: gives each of its kernels with what stands for it.
    """
    original = layer.call
    plain = False  # whether the layer runs as it is, to be differentiated
    keras_only = is_keras_only(layer)

    def way_back(
        run: Callable[[tf.Tensor], tf.Tensor], inputs: tf.Tensor, error: tf.Tensor, seen: Seen
    ) -> tf.Tensor:
        nonlocal plain
        mapping = kernels()
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
