"""A wide dense kernel updated in row tiles, so that neither its gradient nor a slot exists whole.

    ∇W[r, :] = a[:, r]ᵀ δ_z,   r a few rows of W, a the layer's input, δ_z = dL/d(a·W)

An elementwise optimizer's step on rows needs these rows of the gradient, of the weights and of the
optimizer's slots, and nothing else: tile by tile it is the same step.
"""

from __future__ import annotations

from typing import TypeAlias

import keras
import tensorflow as tf

from mem_dfa.chain.factored_gradient import TiledGradient
from mem_dfa.graph.stand_in import Rows
from mem_dfa.optimizer.elementwise import SLOTS, slots_of, step_on
from mem_dfa.shapes.graph_models import has_own_call
from mem_dfa.shapes.row_tiles import is_wide, rows_per_tile

Tensor: TypeAlias = tf.Tensor

ELEMENTWISE_REGULARIZERS = (
    keras.regularizers.L1,
    keras.regularizers.L2,
    keras.regularizers.L1L2,
)


def can_tile(layer: keras.layers.Layer, optimizer: keras.optimizers.Optimizer) -> bool:
    """Whether the step on this layer's kernel can be, and is to be, taken tile by tile.

    The optimizer has to be applied block by block, see `update.is_blockwise`.
    """
    # A subclass computes what it likes; clipnorm takes the norm of the whole gradient.
    if type(layer) is not keras.layers.Dense or type(optimizer) not in SLOTS or optimizer.clipnorm:
        return False
    if has_own_call(layer) or layer.lora_enabled or layer.quantization_mode is not None:
        return False
    kernel = layer.kernel
    return (
        kernel.trainable
        and not kernel.overwrite_with_gradient
        and kernel.dtype == layer.compute_dtype  # else the gradient passes through a cast
        and kernel.constraint is None
        and (kernel.regularizer is None or type(kernel.regularizer) in ELEMENTWISE_REGULARIZERS)
        and is_wide(kernel)
    )


def update_in_tiles(
    optimizer: keras.optimizers.Optimizer, kernel: keras.Variable, gradient: TiledGradient
) -> None:
    """Take the optimizer's step on `kernel`, one tile after the other.

    As `optimizer.apply` does it for a variable, without counting the step. Unlike `apply` it writes
    single rows, which TensorFlow does in place only while no other operation holds the value.
    """
    slots = slots_of(optimizer, kernel)
    count, tile = int(kernel.shape[0]), rows_per_tile(kernel)

    def tile_step(start: Tensor | int, size: int) -> None:
        rows, *slot_rows = (Rows(v, start, size) for v in (kernel, *slots.values()))
        part = gradient.rows(start, size)
        if kernel.regularizer is not None:
            part += _penalty_gradient(optimizer, kernel, rows)
        step_on(optimizer, kernel, rows, dict(zip(slots, slot_rows, strict=True)), part)

    def body(number: Tensor) -> list[Tensor]:
        tile_step(number * tile, tile)
        return [number + 1]

    # One tile is traced once, and one at a time is held.
    tf.while_loop(
        lambda number: number < count // tile, body, [tf.constant(0)], parallel_iterations=1
    )
    if count % tile:
        tile_step(count - count % tile, count % tile)
    for variable in (kernel, *slots.values()):
        Rows.finish(variable)


def _penalty_gradient(
    optimizer: keras.optimizers.Optimizer, kernel: keras.Variable, rows: Rows
) -> Tensor:
    values = rows.read()
    with tf.GradientTape() as tape:
        tape.watch(values)
        penalty = optimizer.scale_loss(kernel.regularizer(values))
    return tape.gradient(penalty, values)
