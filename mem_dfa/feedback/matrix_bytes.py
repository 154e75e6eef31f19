"""What feedback matrices will take, said before they are there."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from mem_dfa.chain.block import Block
from mem_dfa.errors import UnsupportedError
from mem_dfa.feedback.matrices import KINDS, NOTHING_SAID, KindArguments
from mem_dfa.machine_memory import memory_limit_bytes
from mem_dfa.units import show_bytes

LARGE_BYTES = 2**30
"""What is worth a warning whatever the step takes."""

MOST_DRAWN_BYTES = 2**36
"""Of all matrices, where they are drawn: each tile is traced by itself."""

AS_STORED = ("regenerated", "shared")
"""Kinds whose matrices are those of `stored`, or drawn from the same distribution."""


def check_kind(kind: Any) -> None:
    """Accept a name in KINDS.

    Raises:
        UnsupportedError: it is none.
    """
    if not isinstance(kind, str) or kind not in KINDS:
        raise UnsupportedError(f"Received feedback={kind!r}: use one of {', '.join(KINDS)}.")


def check_bytes(
    kind: str,
    classes: int,
    blocks: Sequence[Block],
    arguments: KindArguments,
    step_bytes: int | None,
) -> None:
    """Say what feedback will take where that is much, before it is there.

    Args:
        kind: a name in KINDS.
        classes: C, the number of logits.
        blocks: that are sent an error.
        arguments: of the kind.
        step_bytes: of BP's whole step on some batch; None where they are not known.

    Raises:
        UnsupportedError: it is more than the memory that this process may take.
    """
    said = {name: arguments if name == kind else NOTHING_SAID for name in KINDS}
    sizes = {name: made.bytes_of(classes, blocks, said[name]) for name, made in KINDS.items()}
    limits = dict.fromkeys(KINDS, (memory_limit_bytes(), "of memory there are"))
    if sizes["stored"] > MOST_DRAWN_BYTES:
        sizes["regenerated"] = sizes["stored"]
        limits["regenerated"] = (MOST_DRAWN_BYTES, "that a step can draw")
    own, (limit, what) = sizes[kind], limits[kind]
    less = [name for name in KINDS if sizes[name] < own and sizes[name] <= limits[name][0]]
    says = (
        f"feedback={kind!r} takes {show_bytes(own)}: {classes} logits an example times "
        f"{sum(block.width for block in blocks)} units of {len(blocks)} blocks"
    )
    if own > limit:
        raise UnsupportedError(
            f"{says}, more than the {show_bytes(limit)} {what}; use "
            f"{_told(sizes, less) or 'a net with fewer logits, or train with checkpoint'}."
        )
    alike = [name for name in less if name in AS_STORED]
    if alike and (own > LARGE_BYTES or (step_bytes is not None and own > step_bytes)):
        compared = "" if step_bytes is None else f" (BP's whole step: {show_bytes(step_bytes)})"
        warnings.warn(f"{says}{compared}; {_told(sizes, alike)} would take less.", stacklevel=2)


def _told(sizes: Mapping[str, int], kinds: Sequence[str]) -> str:
    return " or ".join(f"feedback={name!r} ({show_bytes(sizes[name])})" for name in kinds)
