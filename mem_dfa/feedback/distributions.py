"""Feedback distributions: how large the random weights are that carry an error signal back.

The scales of INITIALIZERS differ by up to two hundred, so learning rates do not carry over from
one to another.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import keras
import tensorflow as tf

from mem_dfa import registry
from mem_dfa.errors import UnsupportedError
from mem_dfa.graph import exact_random
from mem_dfa.graph.once import constant

Initializer: TypeAlias = keras.initializers.Initializer


@dataclass(frozen=True)
class Distribution:
    """Random numbers of a kind, times `scale`.

    Attributes:
        draw: the kind; what it draws is U[-1, 1), N(0, 1) or ±1.
        scale: the bound of a uniform distribution, else the standard deviation.
    """

    draw: exact_random.Draw
    scale: float

    @property
    def deviation(self) -> float:
        """The standard deviation."""
        return self.scale / math.sqrt(3) if self.draw is exact_random.uniform else self.scale

    def matrix(self, seed: tf.Tensor | Sequence[int], rows: int, columns: int) -> tf.Tensor:
        """Shape (rows, columns), float32; `seed` has shape (2,)."""
        return self.draw(seed, rows, columns) * constant(self.scale, tf.float32)


def uniform(fan_in: int, fan_out: int) -> Distribution:
    """U(±1/√n): Nøkland's DFA (n = units of the layer) and FA (n = fan-in of the kernel)."""
    return Distribution(exact_random.uniform, 1 / math.sqrt(fan_out))


def signs(fan_in: int, fan_out: int) -> Distribution:
    """±1/√(3n): binary feedback (Baldi et al., 2018) with the standard deviation of `uniform`."""
    return Distribution(exact_random.signs, 1 / math.sqrt(3 * fan_out))


def he_normal(fan_in: int, fan_out: int) -> Distribution:
    """N(0, 2/fan_in), zpp-mem: for a feedback matrix fan_in is the number of classes."""
    return Distribution(exact_random.normal, math.sqrt(2 / fan_in))


def xavier_uniform(fan_in: int, fan_out: int) -> Distribution:
    """U(±√(6/(fan_in + fan_out))): BioTorch's default."""
    return Distribution(exact_random.uniform, math.sqrt(6 / (fan_in + fan_out)))


def kaiming_uniform(fan_in: int, fan_out: int) -> Distribution:
    """U(±√(6/((1 + a²)·fan_in))) with a = √5, which is U(±1/√fan_in): BioTorch's alternative."""
    return Distribution(exact_random.uniform, 1 / math.sqrt(fan_in))


def normal(fan_in: int, fan_out: int) -> Distribution:
    """N(0, 1/(n·C)): LightOn's principled DFA."""
    return Distribution(exact_random.normal, 1 / math.sqrt(fan_in * fan_out))


INITIALIZERS: Mapping[str, Callable[[int, int], Distribution]] = registry.Loaded(
    registry.FEEDBACK_INITIALIZERS
)


def check_initializer(initializer: str | Initializer) -> None:
    """Accept a name in INITIALIZERS or any Keras initializer.

    Raises:
        UnsupportedError: it is neither.
    """
    known = isinstance(initializer, keras.initializers.Initializer) or initializer in INITIALIZERS
    if not known:
        raise UnsupportedError(
            f"Unknown feedback initializer {initializer!r}: use one of "
            f"{', '.join(INITIALIZERS)}, or a keras.initializers object."
        )


def seeded(initializer: Initializer, seed: int) -> Initializer:
    """The same distribution with a seed of its own, so that no two blocks share their draw."""
    config = initializer.get_config()
    return type(initializer).from_config({**config, "seed": seed} if "seed" in config else config)


def for_matrix(initializer: str, classes: int, width: int) -> Distribution:
    """Distribution of B_i, shape (C, n_i): the error enters at C units, leaves at n_i.

    Args:
        initializer: a name in INITIALIZERS.
        classes: C, the number of logits.
        width: n_i, the number of units at the block's output.
    """
    return INITIALIZERS[initializer](classes, width)


def distribution_of_kernel(
    initializer: str, fan_in: int, fan_out: int, is_dense: bool
) -> Distribution:
    """Distribution of a random kernel with the shape of a layer's own.

    Args:
        initializer: a name in INITIALIZERS.
        fan_in: number of inputs of one output unit.
        fan_out: number of outputs of one input unit.
        is_dense: a matrix, not a convolution's kernel.
    """
    # zpp-mem draws the dense B as (outputs, inputs): its fan-in is the layer's outputs. Nøkland's
    # FA copies the layer's own initialisation, U(±1/√fan_in).
    swapped = initializer in ("uniform", "signs") or (initializer == "he_normal" and is_dense)
    fans = (fan_out, fan_in) if swapped else (fan_in, fan_out)
    return INITIALIZERS[initializer](*fans)


def for_kernel(
    initializer: str | Initializer, fan_in: int, fan_out: int, is_dense: bool, seed: int
) -> Callable[..., tf.Tensor]:
    """Keras's way to draw a random kernel with the shape of a layer's own.

    Args:
        initializer: a name in INITIALIZERS, or a Keras initializer, seeded anew.
        fan_in: number of inputs of one output unit.
        fan_out: number of outputs of one input unit.
        is_dense: a matrix, not a convolution's kernel.
        seed: of this kernel.
    """
    if isinstance(initializer, keras.initializers.Initializer):
        return seeded(initializer, seed)
    return _for_keras(distribution_of_kernel(initializer, fan_in, fan_out, is_dense), seed)


def _for_keras(distribution: Distribution, seed: int) -> Callable[..., tf.Tensor]:
    scale = distribution.scale
    if distribution.draw is exact_random.uniform:
        return keras.initializers.RandomUniform(-scale, scale, seed=seed)
    if distribution.draw is exact_random.normal:
        return keras.initializers.RandomNormal(stddev=scale, seed=seed)

    def initialize(shape: Sequence[int], dtype: Any = None) -> tf.Tensor:
        flat = distribution.matrix((seed, 0), 1, math.prod(shape))
        return tf.cast(tf.reshape(flat, shape), dtype or "float32")

    return initialize
