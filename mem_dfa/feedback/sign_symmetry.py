"""Sign-symmetry: kernels on the way back that share their signs with the layers' own.

    uSF    K_i = s·sign(W_i)
    brSF   K_i = |M_t| ⊙ sign(W_i), M_t drawn anew each step t
    frSF   K_i = |M| ⊙ sign(W_i), M fixed

of Liao et al. (arXiv 1510.05067), in the forms of Moskovitz et al. (arXiv 1812.06488) and BioTorch.
M has the shape of W_i and a distribution's entries, of which s is the standard deviation:
√(2/(fan-in + fan-out)) for the default one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import keras
import tensorflow as tf

from mem_dfa.errors import UnsupportedError
from mem_dfa.feedback.distributions import (
    Distribution,
    Initializer,
    distribution_of_kernel,
    for_kernel,
)
from mem_dfa.feedback.kernels import KernelFeedback, fans
from mem_dfa.graph.once import constant
from mem_dfa.graph.ordering import after, token
from mem_dfa.graph.step_seeds import StepSeeds

Value: TypeAlias = tf.Tensor | tf.Variable


class SignSymmetry(KernelFeedback):
    """Kernels with the signs of the layers' own; what multiplies them is said by each kind."""

    default_initializer = "xavier_uniform"

    def refuse_at_compile(self, loss: Any) -> None:
        """Raise UnsupportedError for what `KernelFeedback` refuses, and for kernels without signs.

        sign(0) = 0: no error signal would pass.
        """
        super().refuse_at_compile(loss)
        for layer, pairs in self.kernels:
            for own, _ in pairs:
                if not tf.reduce_any(tf.not_equal(own.value, tf.zeros((), own.dtype))):
                    raise UnsupportedError(
                        f"{self._owner}: {own.name} of layer '{layer.name}' is all zero, and so "
                        "are its signs, which would let no error signal pass: give the layer "
                        "another kernel_initializer, or train with 'fa'."
                    )

    def changing(self, pairs: Sequence[tuple[keras.Variable, Any]]) -> Sequence[keras.Variable]:
        """W, whose signs are taken."""
        return [own for own, _ in pairs]

    def _distribution(self, layer: keras.layers.Layer, own: keras.Variable) -> Distribution:
        """Of M for one kernel."""
        if not isinstance(self._initializer, str):
            raise UnsupportedError(
                f"{self._owner} received feedback_initializer={self._initializer!r}, of which "
                "neither a standard deviation nor a draw from step to step is known: use a name "
                f"such as {self.default_initializer!r}, or train with 'frsf'."
            )
        return distribution_of_kernel(self._initializer, *fans(layer, own), len(own.shape) == 2)


class UniformSigns(SignSymmetry):
    """K = s·sign(W): nothing is held."""

    @property
    def held(self) -> tuple[()]:
        """Nothing."""
        return ()

    def _held_for(
        self, trainer: Any, layer: keras.layers.Layer, own: keras.Variable, seed: int
    ) -> float:
        """The standard deviation s."""
        return self._distribution(layer, own).deviation

    def kernel(self, value: Value, feedback: float, error: tf.Tensor) -> tf.Tensor:
        """K from W and s."""
        # K_i = s·sign(W_i)
        return constant(feedback, value.dtype) * late_sign(value, error)


@dataclass(frozen=True)
class Drawn:
    """What M_t of one kernel is drawn from: which of the seeds, and the distribution."""

    number: int
    distribution: Distribution


class RedrawnSigns(SignSymmetry):
    """K = |M_t| ⊙ sign(W): of M_t, drawn from the step's number, nothing is held but a seed."""

    def __init__(self, trainer: Any, initializer: str | Initializer | None = None) -> None:
        """As `KernelFeedback`; a Keras initializer cannot draw by step."""
        self._first_seeds: list[int] = []
        super().__init__(trainer, initializer)
        self._seeds = StepSeeds(trainer, self._first_seeds)

    @property
    def held(self) -> tuple[()]:
        """Nothing that an error signal takes."""
        return ()

    def _held_for(
        self, trainer: Any, layer: keras.layers.Layer, own: keras.Variable, seed: int
    ) -> Drawn:
        self._first_seeds.append(seed)
        return Drawn(len(self._first_seeds) - 1, self._distribution(layer, own))

    @contextmanager
    def way_back(self, trainer: keras.Model) -> Iterator[None]:
        """As in `KernelFeedback`, in the batch that the optimizer has counted up to."""
        with self._seeds.of_step(trainer), super().way_back(trainer):
            yield

    def kernel(self, value: Value, feedback: Drawn, error: tf.Tensor) -> tf.Tensor:
        """K from W and a draw."""
        seed = self._seeds.seed(feedback.number, error)
        flat = tf.abs(feedback.distribution.matrix(seed, 1, math.prod(value.shape)))
        sizes = tf.cast(tf.reshape(flat, constant(value.shape, tf.int32)), value.dtype)
        # K_i = |M_t| ⊙ sign(W_i); the signs not beside what is drawn to make sizes
        return sizes * late_sign(value, sizes)


class FixedSigns(SignSymmetry):
    """K = |M| ⊙ sign(W): |M| is held."""

    def _held_for(
        self, trainer: Any, layer: keras.layers.Layer, own: keras.Variable, seed: int
    ) -> keras.Variable:
        """|M|, of which the signs are not needed."""
        draw = for_kernel(self._initializer, *fans(layer, own), len(own.shape) == 2, seed)
        return trainer.add_weight(
            shape=own.shape,
            initializer=lambda shape, dtype: tf.abs(draw(shape, dtype)),
            trainable=False,
            name=f"feedback_{layer.name}_{own.name}",
        )

    def kernel(self, value: Value, feedback: keras.Variable, error: tf.Tensor) -> tf.Tensor:
        """K from W and |M|."""
        # K_i = |M| ⊙ sign(W_i)
        return feedback.value * late_sign(value, error)


def late_sign(value: Value, earlier: tf.Tensor) -> tf.Tensor:
    """sign(W), not made before another tensor, such as the error signal that it is for."""
    return tf.sign(after(value, token([earlier])))
