"""Wide matrices are drawn in tiles, each from a seed of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import tensorflow as tf

from mem_dfa.feedback.distributions import Distribution
from mem_dfa.graph.once import constant

TILE_BYTES = 2**24
"""Of a wider matrix so many bytes are drawn at a time."""

ENTRY_BYTES = 4
"""Matrices are drawn in float32."""

Seed: TypeAlias = Sequence[int]


def tile_widths(rows: int, columns: int) -> list[int]:
    """How many columns each tile of a matrix has; a tile is drawn from a seed of its own."""
    widest = max(1, TILE_BYTES // (ENTRY_BYTES * rows))
    whole, rest = divmod(columns, widest)
    return [widest] * whole + [rest] * bool(rest)


def tile_seed(seed: tf.Tensor | Seed, number: int) -> tf.Tensor:
    """Of a tile, from the seed of its matrix."""
    return seed + constant([0, number], tf.int64) if number else seed


def second_seed(seed: tf.Tensor | Seed) -> tf.Tensor:
    """For something else that is drawn beside a matrix; no block's own, as those are below 2^31."""
    return seed + constant([2**31, 0], tf.int64)


def drawn(distribution: Distribution, rows: int, columns: int, seed: tf.Tensor | Seed) -> tf.Tensor:
    """A whole matrix, tile by tile."""
    tiles = [
        distribution.matrix(tile_seed(seed, number), rows, width)
        for number, width in enumerate(tile_widths(rows, columns))
    ]
    return side_by_side(tiles)


def side_by_side(parts: Sequence[tf.Tensor]) -> tf.Tensor:
    """The matrix of these tiles."""
    return parts[0] if len(parts) == 1 else tf.concat(parts, axis=1)
