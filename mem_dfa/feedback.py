"""Feedback matrices: how large the random weights are that carry an error signal back.

Every row of INITIALIZERS is used by a published code; the scales differ by up to two hundred, so
learning rates do not carry over from one to another.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import keras

from mem_dfa.errors import UnsupportedError

Initializer = keras.initializers.Initializer


def _uniform(bound: float, seed: int) -> Initializer:
    return keras.initializers.RandomUniform(-bound, bound, seed=seed)


def uniform(fan_in: int, fan_out: int, seed: int) -> Initializer:
    """U(±1/√n): Nøkland's DFA (n = units of the layer) and FA (n = fan-in of the kernel)."""
    return _uniform(1 / math.sqrt(fan_out), seed)


def he_normal(fan_in: int, fan_out: int, seed: int) -> Initializer:
    """N(0, 2/fan_in), zpp-mem: for a feedback matrix fan_in is the number of classes."""
    return keras.initializers.RandomNormal(stddev=math.sqrt(2 / fan_in), seed=seed)


def xavier_uniform(fan_in: int, fan_out: int, seed: int) -> Initializer:
    """U(±√(6/(fan_in + fan_out))): BioTorch's default."""
    return _uniform(math.sqrt(6 / (fan_in + fan_out)), seed)


def kaiming_uniform(fan_in: int, fan_out: int, seed: int) -> Initializer:
    """U(±√(6/((1 + a²)·fan_in))) with a = √5, which is U(±1/√fan_in): BioTorch's alternative."""
    return _uniform(1 / math.sqrt(fan_in), seed)


def normal(fan_in: int, fan_out: int, seed: int) -> Initializer:
    """N(0, 1/(n·C)): LightOn's principled DFA."""
    return keras.initializers.RandomNormal(stddev=1 / math.sqrt(fan_in * fan_out), seed=seed)


INITIALIZERS: dict[str, Callable[[int, int, int], Initializer]] = {
    "uniform": uniform,
    "he_normal": he_normal,
    "xavier_uniform": xavier_uniform,
    "kaiming_uniform": kaiming_uniform,
    "normal": normal,
}


def check_initializer(initializer: str | Initializer) -> None:
    """Accept a name in INITIALIZERS or any Keras initializer.

    Raises:
        UnsupportedError: it is neither.
    """
    known = isinstance(initializer, Initializer) or initializer in INITIALIZERS
    if not known:
        raise UnsupportedError(
            f"Unknown feedback initializer {initializer!r}: use one of "
            f"{', '.join(INITIALIZERS)}, or a keras.initializers object."
        )


def _seeded(initializer: Initializer, seed: int) -> Initializer:
    """The same distribution with a seed of its own, so that no two blocks share their draw."""
    config = initializer.get_config()
    return type(initializer).from_config({**config, "seed": seed} if "seed" in config else config)


def for_matrix(initializer: str | Initializer, classes: int, width: int, seed: int) -> Initializer:
    """Initializer of B_i, shape (C, n_i): the error enters at C units, leaves at n_i.

    Args:
        initializer: a name in INITIALIZERS, or a Keras initializer, seeded anew.
        classes: C, the number of logits.
        width: n_i, the number of units at the block's output.
        seed: of this matrix.
    """
    if isinstance(initializer, Initializer):
        return _seeded(initializer, seed)
    return INITIALIZERS[initializer](classes, width, seed)


def for_kernel(
    initializer: str | Initializer, fan_in: int, fan_out: int, is_dense: bool, seed: int
) -> Initializer:
    """Initializer of a random kernel with the shape of a layer's own.

    Args:
        initializer: a name in INITIALIZERS, or a Keras initializer, seeded anew.
        fan_in: number of inputs of one output unit.
        fan_out: number of outputs of one input unit.
        is_dense: a matrix, not a convolution's kernel.
        seed: of this kernel.
    """
    if isinstance(initializer, Initializer):
        return _seeded(initializer, seed)
    if initializer == "he_normal" and is_dense:
        # zpp-mem draws the dense B as (outputs, inputs): its fan-in is the layer's outputs.
        return he_normal(fan_out, fan_in, seed)
    if initializer == "uniform":
        # Nøkland's FA copies the layer's own initialisation, U(±1/√fan_in).
        return uniform(fan_out, fan_in, seed)
    return INITIALIZERS[initializer](fan_in, fan_out, seed)
