"""Blocks worked on in slices of the batch, where a whole block at once would set the peak.

While a block is differentiated and updated its input, its output and its error signals are alive.
In k slices only the first two exist whole, and of them an input's slice is freed as soon as that
of the output is there.
"""

from __future__ import annotations

from collections.abc import Sequence

import keras

from mem_dfa.chain.block import Block
from mem_dfa.chain.chain import NOMINAL_BATCH
from mem_dfa.chain.sliceable import can_be_sliced
from mem_dfa.shapes.layer_bytes import tensor_bytes

# More make the peak little lower: input and output stay, and kernels slow down on small batches.
DEFAULT_SLICES = 4
# A smaller slice of the widest output saves less than its operations cost in time.
LEAST_SLICE_BYTES = 2**20


def slice_counts(
    blocks: Sequence[Block],
    batch_size: int | None,
    slices: int | None = None,
    tiled: Sequence[keras.layers.Layer] = (),
    allowed_bytes: int = 0,
) -> list[int]:
    """In how many slices each block is worked on: 1 where that does not set the peak.

    Args:
        blocks: of a chain that keeps nothing but one block's input.
        batch_size: None where it is not known.
        slices: how many where there are some; None for `DEFAULT_SLICES`, or fewer where they would
            be smaller than `LEAST_SLICE_BYTES`.
        tiled: dense layers whose kernels are updated in row tiles.
        allowed_bytes: that a block may take, so that it is whole where that takes no more.
    """
    batch_size = batch_size or NOMINAL_BATCH
    widest = max(block.bytes(batch_size).output for block in blocks)
    count = min(slices or min(DEFAULT_SLICES, widest // LEAST_SLICE_BYTES), batch_size)
    if count <= 1:
        return [1] * len(blocks)
    free = [can_be_sliced(block) for block in blocks]
    whole = [peak_bytes(blocks, number, batch_size, 1, tiled) for number in range(len(blocks))]
    best = [
        min(peak, peak_bytes(blocks, number, batch_size, count, tiled)) if free[number] else peak
        for number, peak in enumerate(whole)
    ]
    chain_peak = max(allowed_bytes, *best)
    counts = [
        count if peak > chain_peak and least < peak else 1
        for peak, least in zip(whole, best, strict=True)
    ]
    for number in range(1, len(blocks)):
        # To join slices takes their bytes once more.
        joined = 2 * blocks[number - 1].bytes(batch_size).output
        if counts[number - 1] > 1 and free[number] and joined > chain_peak:
            counts[number] = count
    for number in reversed(range(1, len(blocks))):
        # Slices of what was made whole are freed together.
        at_once = peak_bytes(blocks, number, batch_size, counts[number], tiled, cut_input=False)
        if counts[number] > 1 and free[number - 1] and at_once > chain_peak:
            counts[number - 1] = count
    return counts


def chain_peak_bytes(
    blocks: Sequence[Block],
    counts: Sequence[int],
    batch_size: int,
    tiled: Sequence[keras.layers.Layer] = (),
) -> int:
    """What is alive at most in the second pass, for the `slice_counts` of its blocks."""
    peaks = [
        peak_bytes(blocks, number, batch_size, count, tiled, number == 0 or counts[number - 1] > 1)
        for number, count in enumerate(counts)
    ]
    return max(peaks)


def first_pass_counts(
    blocks: Sequence[Block],
    counts: Sequence[int],
    batch_size: int | None,
    tiled: Sequence[keras.layers.Layer] = (),
) -> list[int]:
    """The same for the first pass: whole, where that takes no more than the second one does.

    Args:
        blocks: see `slice_counts`.
        batch_size: see `slice_counts`.
        tiled: see `slice_counts`.
        counts: of the second pass, whose blocks keep what their gradients need.
    """
    if max(counts) == 1:
        return list(counts)
    batch_size = batch_size or NOMINAL_BATCH
    second = chain_peak_bytes(blocks, counts, batch_size, tiled)
    # The batch itself is there before the step.
    first = [block.bytes(batch_size) for block in blocks]
    whole = max([first[0].output, *(block.forward_peak for block in first[1:])])
    return [1] * len(blocks) if whole <= second else list(counts)


def peak_bytes(
    blocks: Sequence[Block],
    number: int,
    batch_size: int,
    slices: int,
    tiled: Sequence[keras.layers.Layer] = (),
    cut_input: bool = True,
) -> int:
    """What is alive at most while a block is updated, the input of the block included.

    Args:
        blocks: see `slice_counts`.
        batch_size: see `slice_counts`.
        tiled: see `slice_counts`.
        number: of the block, from 0.
        slices: in how many it is worked on.
        cut_input: whether its input comes in slices, each of which is freed by itself.
    """
    block = blocks[number]
    # The batch itself is there before the step.
    inputs = blocks[number - 1].bytes(batch_size).output if number else 0
    if slices == 1:
        return inputs + block.bytes(batch_size, tiled).replay_peak
    own = block.bytes(-(-batch_size // slices), tiled)
    output = block.bytes(batch_size).output // slices
    kept_input = inputs // slices if cut_input else inputs
    # A slice runs beside the gradients of the one before: at first, and with the last one.
    first = inputs + own.kept
    last = min(2 * kept_input, inputs) + (slices - 2) * output + own.kept
    # The gradients of the slices so far lie beside those of the one at work.
    beside = max(first, last, kept_input + (slices - 1) * output)
    # Of a slice whose error signal is passed on, the output is among those counted so far.
    at_work = own.replay_peak if block.is_group else own.update_peak
    return beside + at_work + _weight_bytes(block, tiled)


def _weight_bytes(block: Block, tiled: Sequence[keras.layers.Layer]) -> int:
    """Of the weights that are updated whole."""
    in_tiles = {id(layer.kernel) for layer in tiled}
    return sum(
        tensor_bytes(variable.shape, variable.dtype)
        for variable in block.trainable_variables
        if id(variable) not in in_tiles
    )
