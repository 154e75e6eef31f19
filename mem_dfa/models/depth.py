"""A chain of equal layers to measure growth with depth on, at any depth."""

from __future__ import annotations

from collections.abc import Sequence

import keras

from mem_dfa.models.build import convolutions


def depth_net(
    input_shape: Sequence[int] = (32, 32, 3),
    classes: int = 10,
    layers: int | None = None,
    seed: int | None = None,
) -> keras.Sequential:
    """`layers` × [conv 3×3, 8 filters, SAME, ReLU], then dense; 100 unless told.

    Raises:
        ValueError: `layers` is below 1.
    """
    depth = 100 if layers is None else layers
    return convolutions("depth_net", input_shape, classes, depth, seed, (8, 3, "relu"))
