"""A net of which one block is the most."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

from mem_dfa.chain.block import Block
from mem_dfa.chain.chain import NOMINAL_BATCH


def warn_if_one_block(name: str, blocks: Sequence[Block]) -> None:
    """Say that one block with several weight layers holds most of a net.

    Args:
        name: of the algorithm.
        blocks: of the net.
    """
    layers = [len(block.weight_layers) for block in blocks]
    sizes = [block.bytes(NOMINAL_BATCH) for block in blocks]
    kept = [0 if any(size.unknown for size in sizes) else size.kept for size in sizes]
    for block, count, own in zip(blocks, layers, kept, strict=True):
        if count > 1 and (2 * count > sum(layers) or 2 * own > sum(kept)):
            share = f" and {own / sum(kept):.0%} of the bytes kept" if any(kept) else ""
            warnings.warn(
                f"{name}: {block.name} ('{block.weight_layers[0].name}' to "
                f"'{block.weight_layers[-1].name}') holds {count} of {sum(layers)} weight "
                f"layers{share}: inside a block everything is kept and the gradient is BP's, so "
                "little is saved. A skip from its first to its last layer makes it one block.",
                stacklevel=4,
            )
