"""What a bootstrapped sweep holds at most, from shapes."""

from __future__ import annotations

from collections.abc import Sequence

import keras

from mem_dfa.chain.block import Block
from mem_dfa.feedback.predictors import Predictors


def sweep_peak_bytes(
    blocks: Sequence[Block],
    signal: Predictors,
    batch_size: int,
    tiled: Sequence[keras.layers.Layer] = (),
) -> int:
    """The greatest sum while blocks are run, predicted for, differentiated and updated.

    Args:
        blocks: of the chain.
        signal: the predictors.
        batch_size: examples in a batch.
        tiled: dense layers whose kernels are updated in row tiles.
    """
    peak = 0
    for number, block in enumerate(blocks):
        own = block.bytes(batch_size, tiled)
        # The batch itself is there before the step.
        before = blocks[number - 1].bytes(batch_size).output if number else 0
        inputs = before
        if block.name in signal.inputs:
            # The synthetic input lies beside the true one, which a predictor is trained with.
            net = signal.inputs[block.name].bytes(batch_size, tiled)
            peak, inputs = max(peak, before + net.replay_peak), before + net.output
        peak = max(peak, inputs + (own.passing_peak if number else own.replay_peak))
        if block is not blocks[-1]:
            predictor = signal.blocks[block.name].bytes(batch_size, tiled)
            seen = signal.copied_bytes(block, batch_size)
            # Where a_i is copied beside the labels, these are there at first, and a_i after.
            copy = max(2 * seen - own.output, predictor.forward_peak)
            peak = max(
                peak, inputs + own.kept + (copy if seen else predictor.forward_peak - own.output)
            )
        if number:
            earlier = blocks[number - 1]
            predictor = signal.blocks[earlier.name].bytes(batch_size, tiled)
            seen = signal.copied_bytes(earlier, batch_size)
            joining = before + 2 * seen if seen else 0
            # The signal that arrived becomes the error of the prediction.
            peak = max(peak, own.output + max(joining, (seen or before) + predictor.update_peak))
    return peak
