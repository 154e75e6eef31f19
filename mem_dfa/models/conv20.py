"""The 20-layer convolutional net of the MEM-DFA slides, at any depth."""

from __future__ import annotations

from collections.abc import Sequence

import keras

from mem_dfa.models.build import Layer, Seeds, sequential


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
    if depth < 1:
        raise ValueError(f"layers={layers} for model conv20: it has 1 or more weight layers.")

    def group(index: int) -> list[Layer]:
        def make(seeds: Seeds) -> list[Layer]:
            convolution = seeds.conv(16, 5, f"conv_{index}", bias=True)
            return [convolution, keras.layers.Activation("sigmoid", name=f"sigmoid_{index}")]

        return make

    groups = [group(index) for index in range(1, depth + 1)]
    return sequential("conv20", input_shape, classes, depth, seed, groups)
