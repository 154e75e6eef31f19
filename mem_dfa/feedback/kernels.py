"""Error signals that pass layers by other kernels than the layers' own: feedback alignment.

    δ_{i-1} = J_i(K_i)ᵀ δ_i,  K_i = B_i

J_i(K_i) is the layer's Jacobian with K_i in place of W_i. Here K_i is a fixed random kernel B_i;
what K_i is otherwise is said by `sign_symmetry` and `learned_kernels`.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras.src.layers.convolutional.base_conv_transpose import BaseConvTranspose
from keras.src.layers.convolutional.base_depthwise_conv import BaseDepthwiseConv

from mem_dfa.chain.atom import NORMALISATIONS, LayerAtom, is_linear, leaf_layers
from mem_dfa.chain.block import Block
from mem_dfa.chain.refuse_unrepeatable import refuse_unrepeatable
from mem_dfa.chain.rematerialised import without_rematerialisation
from mem_dfa.errors import UnsupportedError
from mem_dfa.feedback.distributions import Initializer, check_initializer, for_kernel
from mem_dfa.feedback.signal import Signal, serialized
from mem_dfa.feedback.way_back import Values, random_way_back

KERNELS = ("kernel", "depthwise_kernel", "pointwise_kernel")
# Elementwise, or with nothing before it to send an error to: their own gradient is used.
WITHOUT_KERNEL = (*NORMALISATIONS, keras.layers.PReLU, keras.layers.Embedding)


class KernelFeedback(Signal):
    """A fixed random kernel for each dense or convolutional layer that sends an error back."""

    default_initializer = "uniform"
    """What kernels are drawn from where nothing is said."""
    is_trained = False
    """Whether what is held is trained by the trainer's optimizer."""

    def __init__(self, trainer: Any, initializer: str | Initializer | None = None) -> None:
        """Draw the kernels.

        Args:
            trainer: whose `network` they are for, which holds and saves them.
            initializer: a name in `distributions.INITIALIZERS`, or a Keras initializer; None for
                `default_initializer`.

        Raises:
            UnsupportedError: unknown initializer, or a layer for which no kernel can stand in.
        """
        self._initializer = self.default_initializer if initializer is None else initializer
        check_initializer(self._initializer)
        self._owner, network = type(trainer).__name__, trainer.network
        self.kernels: list[tuple[keras.layers.Layer, list[tuple[keras.Variable, Any]]]] = []
        layers = list({id(layer): layer for layer in leaf_layers(network)}.values())
        seeds = iter(np.random.default_rng(trainer.seed).integers(2**31 - 1, size=2 * len(layers)))
        error_is_used = False  # by a layer with weights further down
        for layer in layers:
            if not layer.weights:
                continue
            self._refuse_unsupported(layer, network)
            if error_is_used and is_linear(layer):
                own = [v for v in layer.weights if v.name in KERNELS]
                pairs = [(v, self._held_for(trainer, layer, v, int(next(seeds)))) for v in own]
                self.kernels.append((layer, pairs))
            error_is_used = True
        # Where Keras finds the layers' kernels first: it is their place in a saved trainer.
        trainer._random_kernels = self.kernels

    def _held_for(
        self, trainer: Any, layer: keras.layers.Layer, own: keras.Variable, seed: int
    ) -> Any:
        """What `kernel` makes K of: here a variable with the shape of the layer's own kernel."""
        is_dense = len(own.shape) == 2
        return trainer.add_weight(
            shape=own.shape,
            initializer=for_kernel(self._initializer, *fans(layer, own), is_dense, seed),
            trainable=self.is_trained,
            name=f"feedback_{layer.name}_{own.name}",
        )

    @property
    def pairs(self) -> list[tuple[keras.Variable, Any]]:
        """Of all layers, W and what is held for it."""
        return [pair for _, pairs in self.kernels for pair in pairs]

    @property
    def held(self) -> Sequence[keras.Variable]:
        """The random kernels."""
        return [feedback for _, feedback in self.pairs]

    def get_config(self) -> dict[str, Any]:
        """The trainer's argument that made it."""
        return {"feedback_initializer": serialized(self._initializer)}

    def changing(self, pairs: Sequence[tuple[keras.Variable, Any]]) -> Sequence[keras.Variable]:
        """For each pair the variable that K is made of, where a step changes it; here B stays."""
        return ()

    def kernel(
        self, value: tf.Tensor | tf.Variable, feedback: Any, error: tf.Tensor
    ) -> tf.Tensor | tf.Variable:
        """K, the kernel that the error signal passes backward through.

        Args:
            value: of what is `changing`, as it was when the layer ran, else of B.
            feedback: what is held for the layer's own kernel.
            error: the signal at the layer's output. What has to be made waits for it, otherwise
                TensorFlow makes that for all layers when the step starts.
        """
        return value

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
                kernels = functools.partial(self._standing_in, pairs)
                stack.enter_context(random_way_back(layer, kernels, self.changing(pairs)))
            yield

    def _standing_in(
        self, pairs: Sequence[tuple[keras.Variable, Any]], error: tf.Tensor, values: Values
    ) -> list[tuple[keras.Variable, Any]]:
        values = values or [feedback.value for _, feedback in pairs]
        return [
            (own, self.kernel(value, feedback, error))
            for (own, feedback), value in zip(pairs, values, strict=True)
        ]

    def _refuse_unsupported(self, layer: keras.layers.Layer, network: keras.Model) -> None:
        if not (is_linear(layer) or isinstance(layer, WITHOUT_KERNEL)):
            raise UnsupportedError(
                f"{self._owner} cannot train layer '{layer.name}' ({type(layer).__name__}) of "
                f"model '{network.name}': other kernels stand in for those of dense, einsum-dense "
                "and convolutional layers only, not inside recurrent, attention, wrapper or custom "
                "layers; use such layers, or train with 'bp'."
            )


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
