"""Where groups of consecutive blocks begin, by a number of blocks, by names or by a budget.

Groups are counted from the last block: the last group, whose error signal is the exact one, is
whole, and the first one may be smaller.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeAlias

from mem_dfa import units
from mem_dfa.chain.block import Block
from mem_dfa.errors import UnsupportedError
from mem_dfa.memory.budget import PREDICTION_MARGIN, refuse_unknown
from mem_dfa.shapes.graph_tensors import UnknownBytesError

SQRT = "sqrt"

Groups: TypeAlias = int | str | Sequence[str]


def group_starts(
    owner: str, blocks: Sequence[Block], groups: Groups, batch_size: int | None
) -> list[int]:
    """The positions of the blocks that begin a group; the first block always does.

    Args:
        owner: name of the algorithm, for messages.
        blocks: f_1 … f_n.
        groups: K, the number of blocks in a group; "sqrt" for about √n; a size such as "16 MiB"
            for as many blocks as fit; or names of blocks that begin a group, as a list or
            separated by commas.
        batch_size: what a size is for.

    Raises:
        UnsupportedError: no such groups of these blocks; says the least size where that is it.
    """
    count = len(blocks)
    if groups == SQRT:
        return _of_size(count, round(math.sqrt(count)))
    if isinstance(groups, int) and not isinstance(groups, bool) and 1 <= groups <= count:
        return _of_size(count, groups)
    limit_bytes = _size(groups)
    if limit_bytes is not None:
        return _within(f"{owner} received groups={groups!r}", blocks, limit_bytes, batch_size)
    names = groups.split(",") if isinstance(groups, str) else _listed(groups)
    known = {block.name: position for position, block in enumerate(blocks)}
    if not names or any(name not in known for name in names):
        raise UnsupportedError(
            f"{owner} received groups={groups!r}: give the number of blocks in a group, from 1 to "
            f'{count}, "{SQRT}", a size such as "16 MiB", or names of blocks that begin a group, '
            f"some of {blocks[0].name} to {blocks[-1].name}."
        )
    return sorted({0, *(known[name] for name in names)})


def _of_size(count: int, size: int) -> list[int]:
    first = count % size
    return sorted({0, *range(first, count, size)})


def _listed(groups: Any) -> list[str]:
    return list(groups) if isinstance(groups, Sequence) else []


def _size(groups: Any) -> int | None:
    """Bytes, if that is what was given."""
    try:
        return units.parse_bytes(groups)
    except (TypeError, ValueError):
        return None


def _within(
    received: str, blocks: Sequence[Block], limit_bytes: int, batch_size: int | None
) -> list[int]:
    """From the last block on, as many blocks a group as a second forward pass has room for."""
    if batch_size is None:
        raise UnsupportedError(
            f"{received}, a size, which groups are planned for one batch size for: give "
            "batch_size=..., or a number of blocks."
        )
    refuse_unknown(
        received, lambda: _refuse_unknown(blocks, batch_size), "a number of blocks or names"
    )
    limit = limit_bytes / (1 + PREDICTION_MARGIN)
    least = max(
        group_bytes(blocks, number, number + 1, batch_size) for number in range(len(blocks))
    )
    if least > limit:
        least_budget = int(least * (1 + PREDICTION_MARGIN)) + 1
        raise UnsupportedError(
            f"{received} for batches of {batch_size}: one block a group takes {least_budget} bytes "
            f"({least_budget / 2**20:.1f} MiB), which is the least; give that or more, or smaller "
            "batches."
        )
    starts = [len(blocks)]
    while starts[0] > 0:
        start = starts[0] - 1
        while start > 0 and group_bytes(blocks, start - 1, starts[0], batch_size) <= limit:
            start -= 1
        starts.insert(0, start)
    return starts[:-1]


def group_bytes(blocks: Sequence[Block], start: int, stop: int, batch_size: int) -> int:
    """While the group is updated: its input, what it keeps, its error signals and gradients."""
    # The batch itself is there before the step.
    inputs = blocks[start - 1].bytes(batch_size).output if start else 0
    return inputs + Block.joined(blocks[start:stop]).bytes(batch_size).replay_peak


def _refuse_unknown(blocks: Sequence[Block], batch_size: int) -> None:
    for block in blocks:
        unknown = block.bytes(batch_size).unknown
        if unknown:
            raise UnknownBytesError(unknown)
