"""Which dense kernels are wide enough to be updated in row tiles, and what that takes."""

from __future__ import annotations

from typing import Any

from mem_dfa.shapes.layer_bytes import raw_bytes, variable_bytes

# The one rule: a dense kernel of this many bytes and more is updated in tiles, if those alive at
# once take less than its gradient does. A smaller kernel is not what sets a network's peak.
TILED_FROM_BYTES = 4 * 2**20
TILE_BYTES = 2**19
# Tiles alive at once, at most: rows of the gradient, of slots and what is computed from them.
HELD_TILES = 7


def is_wide(kernel: Any) -> bool:
    """Whether a dense kernel may set a network's peak."""
    kernel_bytes = int(kernel.shape[0]) * _row_bytes(kernel)
    return kernel_bytes >= TILED_FROM_BYTES and kernel_bytes > _held_bytes(kernel)


def tiled_bytes(layer: Any) -> int:
    """What the update of a dense layer takes when its kernel is tiled: tiles, and its bias whole.

    Args:
        layer: a `keras.layers.Dense`.
    """
    others = (v for v in layer.trainable_variables if v is not layer.kernel)
    return _held_bytes(layer.kernel) + variable_bytes(others)


def rows_per_tile(kernel: Any) -> int:
    """How many rows of a kernel are updated at a time."""
    return min(int(kernel.shape[0]), max(1, TILE_BYTES // _row_bytes(kernel)))


def _held_bytes(kernel: Any) -> int:
    return HELD_TILES * rows_per_tile(kernel) * _row_bytes(kernel)


def _row_bytes(kernel: Any) -> int:
    return raw_bytes(kernel.shape[1:], kernel.dtype)
