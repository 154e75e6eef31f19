"""The 20-layer convolutional net of the MEM-DFA slides, at any depth."""

from __future__ import annotations

from collections.abc import Sequence

import keras

from mem_dfa.models.build import convolutions


def conv20(
    input_shape: Sequence[int] = (32, 32, 3),
    classes: int = 10,
    layers: int | None = None,
    seed: int | None = None,
) -> keras.Sequential:
    """`layers` × [conv 5×5, 16 filters, SAME, sigmoid], then dense; 20 unless told.

    Raises:
        ValueError: `layers` is below 1.
    """
    depth = 20 if layers is None else layers
    return convolutions("conv20", input_shape, classes, depth, seed, (16, 5, "sigmoid"))
