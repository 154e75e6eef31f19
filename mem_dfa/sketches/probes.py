"""Random probes: few numbers kept of a convolution's input, which give its weights' gradient.

Louboutin et al. (arXiv 2106.06998). With r probes z, the columns of Z, and E[z zᵀ] = I,

    forward:   X̄ = Zᵀ X                          is kept, and not X
    backward:  ∇w_k ≈ (1/r)·tr[X̄ δᵀ T_{-k} Z]    for each offset k of the kernel, shifted by T_{-k}

Z is drawn again from its seed. A convolution's gradient is linear in its input and in δ, so it is
formed by the convolution's own gradient, with whatever borders, strides, dilations and groups it
has; of numbers made of X̄ and Z in place of X:

    independent:            X̂ = (1/r)·Z X̄ of each channel and example,  ∇w ≈ G(X̂)ᵀ δ
    gaussian, orthogonal:   L = (1/r)·X̄ᵀ δ over the batch,  ∇w ≈ G(Z)ᵀ L
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import tensorflow as tf

from mem_dfa.errors import UnsupportedError
from mem_dfa.graph import exact_random

Tensor: TypeAlias = tf.Tensor
Gradient: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""From images and error signals, shape (any number, ...), to the gradient of the weights."""
LEAST_COLUMNS = 8
"""Probes of each channel of `Orthogonal`, if there are as many."""


class Probes(ABC):
    """r probes for inputs of shape (batch, ..., channels)."""

    def __init__(self, count: int) -> None:
        """Of so many, at least 1."""
        self.count = count

    @abstractmethod
    def sketch(self, inputs: Tensor, seed: Tensor) -> Tensor:
        """X̄.

        Args:
            inputs: X, shape (batch, ..., channels); its sizes but the batch's are known.
            seed: shape (2,).
        """

    @abstractmethod
    def gradient(
        self, of: Gradient, sketch: Tensor, error: Tensor, seed: Tensor, sizes: Sequence[int]
    ) -> Tensor:
        """The estimate of a convolution's gradient.

        Args:
            of: the gradient of its weights, linear in what it is given.
            sketch: X̄.
            error: δ at its output, shape (batch, ..., filters).
            seed: the one that the sketch was made with.
            sizes: of the input, without the batch.
        """


class Independent(Probes):
    """The same probes for every channel, each of which has r numbers kept of each example."""

    def _drawn(self, seed: Tensor, sizes: Sequence[int], dtype: tf.DType) -> Tensor:
        """Zᵀ, shape (1, r, positions)."""
        drawn = exact_random.normal(seed, self.count, math.prod(sizes[:-1]))
        return tf.cast(drawn, dtype)[None]

    def sketch(self, inputs: Tensor, seed: Tensor) -> Tensor:
        """Shape (batch, r, channels)."""
        sizes = inputs.shape[1:].as_list()
        rows = tf.reshape(inputs, [-1, math.prod(sizes[:-1]), sizes[-1]])
        # X̄ = Zᵀ X
        return tf.matmul(self._drawn(seed, sizes, inputs.dtype), rows)

    def gradient(
        self, of: Gradient, sketch: Tensor, error: Tensor, seed: Tensor, sizes: Sequence[int]
    ) -> Tensor:
        """G(X̂)ᵀ δ."""
        # X̂ = (1/r)·Z X̄
        probes = self._drawn(seed, sizes, sketch.dtype)
        rows = tf.matmul(probes, sketch / self.count, transpose_a=True)
        return of(tf.reshape(rows, [-1, *sizes]), error)


class Gaussian(Probes):
    """Probes of all channels, of which r numbers are kept of each example."""

    def _drawn(self, seed: Tensor, sizes: Sequence[int], dtype: tf.DType) -> Tensor:
        """Zᵀ, shape (r, positions · channels)."""
        return tf.cast(exact_random.normal(seed, self.count, math.prod(sizes)), dtype)

    def sketch(self, inputs: Tensor, seed: Tensor) -> Tensor:
        """Shape (batch, r)."""
        sizes = inputs.shape[1:].as_list()
        rows = tf.reshape(inputs, [-1, math.prod(sizes)])
        # X̄ = Zᵀ X
        return tf.matmul(rows, self._drawn(seed, sizes, inputs.dtype), transpose_b=True)

    def gradient(
        self, of: Gradient, sketch: Tensor, error: Tensor, seed: Tensor, sizes: Sequence[int]
    ) -> Tensor:
        """G(Z)ᵀ L."""
        own = error.shape[1:].as_list()
        rows = tf.reshape(error, [-1, math.prod(own)])
        # L = (1/r)·X̄ᵀ δ
        mixed = tf.matmul(sketch / self.count, rows, transpose_a=True)
        probes = self._drawn(seed, sizes, sketch.dtype)
        return of(tf.reshape(probes, [-1, *sizes]), tf.reshape(mixed, [-1, *own]))


class Orthogonal(Gaussian):
    """Each channel has its own q = r/C of the probes; with fewer than nine, eight that overlap."""

    def _drawn(self, seed: Tensor, sizes: Sequence[int], dtype: tf.DType) -> Tensor:
        """Zᵀ with zeros for the other channels' probes, and √(r/q) times what is left."""
        channels = sizes[-1]
        own = self.count // channels
        own = own if own > LEAST_COLUMNS else min(LEAST_COLUMNS, self.count)
        # Channel c has the probes from c·q on, around the end.
        places = tf.range(self.count)[:, None] - own * tf.range(channels)[None]
        is_own = tf.cast(tf.math.floormod(places, self.count) < own, dtype)
        drawn = tf.reshape(super()._drawn(seed, sizes, dtype), [self.count, -1, channels])
        drawn *= is_own[:, None] * math.sqrt(self.count / own)
        return tf.reshape(drawn, [self.count, -1])


PROBES: Mapping[str, type[Probes]] = {
    "independent": Independent,
    "gaussian": Gaussian,
    "orthogonal": Orthogonal,
}
"""By the names in `registry.PROBES`."""


def checked_probes(owner: str, count: int, kind: str) -> Probes | None:
    """Probes to sketch with; None for 0 of them.

    Args:
        owner: of the arguments, for the message.
        count: r.
        kind: a name in `PROBES`.

    Raises:
        UnsupportedError: there is no such number or kind.
    """
    if isinstance(count, bool) or not isinstance(count, int) or count < 0:
        raise UnsupportedError(
            f"{owner} received probes={count!r}: give a whole number, 0 to keep the input itself."
        )
    if not isinstance(kind, str) or kind not in PROBES:
        raise UnsupportedError(
            f"{owner} received probing={kind!r}: use one of {', '.join(PROBES)}."
        )
    return PROBES[kind](count) if count else None
