"""A convolution that keeps random sketches of its input (Louboutin et al., arXiv 2106.06998)."""

from __future__ import annotations

from typing import Any, Self

import keras
import tensorflow as tf

from mem_dfa.errors import UnsupportedError
from mem_dfa.sketches.convolution import sketched, why_not
from mem_dfa.sketches.probes import checked_probes


@keras.saving.register_keras_serializable("mem_dfa")
class SketchedConvolution(keras.layers.Layer):
    """A Conv1D, Conv2D or Conv3D that keeps r numbers for each channel or example, not its input.

    Output and gradients of input and bias are the convolution's own, the gradient of its kernel is
    right on average. Nothing is sketched outside of training.

    Input: shape (batch, ..., channels), of which the batch alone may be unknown.
    """

    def __init__(
        self,
        convolution: keras.layers.Layer,
        probes: int = 8,
        probing: str = "independent",
        seed: int | None = None,
        **details: Any,
    ) -> None:
        """Wrap a convolution.

        Args:
            convolution: a Conv1D, Conv2D or Conv3D of Keras.
            probes: r; 0 keeps the input itself.
            probing: a name in `probes.PROBES`.
            seed: of the probes, as of `keras.layers.Dropout`.
            **details: as of any Keras layer.

        Raises:
            UnsupportedError: the layer cannot be sketched; no such number or kind of probes.
        """
        super().__init__(**details)
        _refuse(convolution)
        self._probes = checked_probes("SketchedConvolution", probes, probing)
        self.convolution, self.probes, self.probing = convolution, probes, probing
        self.seed = seed
        self._generator = keras.random.SeedGenerator(seed)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Build the convolution.

        Raises:
            UnsupportedError: its input is of no fixed size.
        """
        if not self.convolution.built:
            self.convolution.build(input_shape)
        _refuse(self.convolution)
        self.built = True

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """As of the convolution."""
        return self.convolution.compute_output_shape(input_shape)

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """The convolution's output."""
        if not training or self._probes is None:
            return self.convolution(inputs)
        drawn = tf.cast(self._generator.next(), tf.int64)
        with sketched(self.convolution, self._probes, lambda inputs: drawn):
            return self.convolution(inputs)

    def get_config(self) -> dict[str, Any]:
        """As in Keras."""
        convolution = keras.saving.serialize_keras_object(self.convolution)
        own = {"convolution": convolution, "probes": self.probes, "probing": self.probing}
        return {**super().get_config(), **own, "seed": self.seed}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """As in Keras."""
        convolution = keras.saving.deserialize_keras_object(config["convolution"])
        return cls(**{**config, "convolution": convolution})


def _refuse(convolution: keras.layers.Layer) -> None:
    reason = why_not(convolution)
    if reason:
        raise UnsupportedError(
            f"SketchedConvolution received '{getattr(convolution, 'name', convolution)}' "
            f"({type(convolution).__name__}): {reason}."
        )
