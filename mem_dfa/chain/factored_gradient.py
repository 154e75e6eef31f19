"""The gradient of a wide dense kernel, kept as its two factors instead of formed.

∇W[r, :] = a[:, r]ᵀ δ_z,   r a few rows of W, a the layer's input, δ_z = dL/d(a·W)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TypeAlias

import keras
import tensorflow as tf

from mem_dfa.chain.atom import with_call

Tensor: TypeAlias = tf.Tensor


@dataclass
class Use:
    """One call of a dense layer: its input a and its pre-activation z, as they were recorded."""

    inputs: Tensor
    outputs: Tensor


@dataclass
class TiledGradient:
    """The gradient of a dense kernel, a sum of aᵀδ_z, not formed until its rows are asked for.

    Attributes:
        inputs: a of each call of the layer, shape (examples, n).
        errors: δ_z of each call, shape (examples, m).
    Further axes, such as a sequence's, are counted as examples.
    """

    inputs: list[Tensor]
    errors: list[Tensor]

    def __add__(self, other: TiledGradient) -> TiledGradient:
        """The sum, over more examples."""
        return TiledGradient(self.inputs + other.inputs, self.errors + other.errors)

    def rows(self, start: Tensor | int, count: int) -> Tensor:
        """∇W[start : start + count, :], shape (count, m)."""
        shares = []
        for inputs, error in zip(self.inputs, self.errors, strict=True):
            columns = tf.slice(inputs, [0, start], [tf.shape(inputs)[0], count])
            shares.append(tf.matmul(columns, error, transpose_a=True))
        return tf.add_n(shares) if len(shares) > 1 else shares[0]


def present_tensors(gradients: Sequence[Tensor | TiledGradient | None]) -> list[Tensor]:
    """What there is of the gradients of a block, for those who wait for it."""
    return [
        tensor
        for gradient in gradients
        if gradient is not None
        for tensor in (gradient.errors if isinstance(gradient, TiledGradient) else [gradient])
    ]


@contextmanager
def recorded_uses(
    layers: Sequence[keras.layers.Layer], tape: tf.GradientTape
) -> Iterator[dict[int, list[Use]]]:
    """Within the context calls of the dense `layers` are recorded and their z watched by `tape`.

    Yields:
        The uses of each kernel, by its `id`.
    """
    uses: dict[int, list[Use]] = {id(layer.kernel): [] for layer in layers}

    def call_of(layer: keras.layers.Layer) -> Callable[..., Tensor]:
        calls = uses[id(layer.kernel)]

        def call(inputs: Tensor, training: bool | None = None) -> Tensor:
            # As Dense.call, with the activation it has at that moment.
            outputs = keras.ops.matmul(inputs, layer.kernel)
            tape.watch(outputs)
            calls.append(Use(inputs, outputs))
            if layer.bias is not None:
                outputs = keras.ops.add(outputs, layer.bias)
            return outputs if layer.activation is None else layer.activation(outputs)

        return call

    with ExitStack() as stack:
        for layer in layers:
            stack.enter_context(with_call(layer, call_of(layer)))
        yield uses


def tiled_gradients(
    uses: dict[int, list[Use]], errors: Sequence[Tensor | None]
) -> dict[int, TiledGradient | None]:
    """The gradient of each kernel in `uses`, from δ_z of all its uses in order; None without."""
    remaining = iter(errors)
    gradients: dict[int, TiledGradient | None] = {}
    for kernel, calls in uses.items():
        pairs = [(call.inputs, next(remaining)) for call in calls]
        pairs = [(_as_matrix(a), _as_matrix(e)) for a, e in pairs if e is not None]
        gradients[kernel] = TiledGradient(*map(list, zip(*pairs, strict=True))) if pairs else None
    return gradients


def _as_matrix(tensor: Tensor) -> Tensor:
    return tensor if len(tensor.shape) == 2 else tf.reshape(tensor, [-1, tensor.shape[-1]])
