"""Reversible residual blocks (Gomez et al., arXiv 1707.04585; affine coupling: Dinh et al., 2017).

    additive:  y₁ = x₁ + F(x₂),              y₂ = x₂ + G(y₁)
    affine:    y₁ = exp(s)⊙x₁ + t, (s, t) = F(x₂);  y₂ likewise from y₁ by G

The input follows from the output, so it need not be kept. Known limit: in floating point it
follows with a rounding error that grows with depth; with affine coupling faster than with
additive, because the inverse divides.
"""

from __future__ import annotations

from typing import Any, Self, TypeAlias

import keras
import tensorflow as tf

Tensor: TypeAlias = tf.Tensor
Pair = tuple[Tensor, Tensor]
COUPLINGS = ("additive", "affine")


@keras.saving.register_keras_serializable("mem_dfa")
class ReversibleBlock(keras.layers.Layer):
    """Two sub-networks F and G coupled so that the input follows from the output.

    Input and output: shape (batch, ..., channels) with an even number of channels; the first half
    of them is x₁, the second x₂. F and G map (batch, ..., channels / 2) to the same shape, with
    affine coupling to twice as many channels: first the logarithm of the scale, then the shift.
    """

    def __init__(
        self,
        f: keras.layers.Layer,
        g: keras.layers.Layer,
        coupling: str = "additive",
        **details: Any,
    ) -> None:
        """Couple two sub-networks.

        Args:
            f: F, any Keras layer or model; `RevNet` refuses one that shares layers with `g`.
            g: G.
            coupling: "additive" or "affine".
            **details: as of any Keras layer.

        Raises:
            ValueError: unknown coupling.
        """
        super().__init__(**details)
        if coupling not in COUPLINGS:
            raise ValueError(
                f"ReversibleBlock received coupling={coupling!r}; use one of "
                f"{', '.join(COUPLINGS)}."
            )
        self.f, self.g, self.coupling = f, g, coupling

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Build F and G.

        Raises:
            ValueError: the number of channels is odd or unknown, or F or G changes the shape.
        """
        channels = input_shape[-1]
        if not channels or channels % 2:
            raise ValueError(
                f"ReversibleBlock '{self.name}' received an input of shape {input_shape}: its "
                "last axis is halved, so its size has to be even."
            )
        half = (*input_shape[:-1], channels // 2)
        expected = (*half[:-1], channels if self.coupling == "affine" else channels // 2)
        for name, network in (("F", self.f), ("G", self.g)):
            if not network.built:
                network.build(half)
            result = tuple(network.compute_output_shape(half))
            if result != expected:
                raise ValueError(
                    f"ReversibleBlock '{self.name}': {name} ('{network.name}') maps {half} to "
                    f"{result}; {self.coupling} coupling needs {expected}."
                )

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """That of the input."""
        return input_shape

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        """Y from x."""
        x1, x2 = split(inputs)
        # y₁ = x₁ + F(x₂)
        y1 = self.couple(x1, self.f(x2, training=training))
        # y₂ = x₂ + G(y₁)
        y2 = self.couple(x2, self.g(y1, training=training))
        return join((y1, y2))

    def inverse(self, outputs: Tensor, training: bool | None = None) -> Tensor:
        """X from y.

        With `training`, layers inside run as in training: BatchNormalization moves its statistics
        and Dropout draws anew, unless a `keras.StatelessScope` says otherwise.
        """
        y1, y2 = split(outputs)
        # x₂ = y₂ − G(y₁)
        x2 = self.uncouple(y2, self.g(y1, training=training))
        # x₁ = y₁ − F(x₂)
        x1 = self.uncouple(y1, self.f(x2, training=training))
        return join((x1, x2))

    def couple(self, x: Tensor, result: Tensor) -> Tensor:
        """Half of the output, from that half of the input and what F or G gave for the other."""
        if self.coupling == "additive":
            return x + result
        log_scale, shift = split(result)
        return x * tf.exp(log_scale) + shift

    def uncouple(self, y: Tensor, result: Tensor) -> Tensor:
        """The inverse of `couple` in its first argument."""
        if self.coupling == "additive":
            return y - result
        log_scale, shift = split(result)
        return (y - shift) * tf.exp(-log_scale)

    def get_config(self) -> dict[str, Any]:
        """As in Keras; F and G are part of it."""
        return {
            **super().get_config(),
            "f": keras.saving.serialize_keras_object(self.f),
            "g": keras.saving.serialize_keras_object(self.g),
            "coupling": self.coupling,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """As in Keras."""
        networks = {name: keras.saving.deserialize_keras_object(config[name]) for name in "fg"}
        return cls(**{**config, **networks})


def split(tensor: Tensor) -> Pair:
    """The first and the second half of the channels."""
    first, second = tf.split(tensor, 2, axis=-1)
    return first, second


def join(pair: Pair) -> Tensor:
    """What `split` takes apart."""
    return tf.concat(pair, axis=-1)
