"""Bytes that a step is to stay within."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mem_dfa.errors import UnsupportedError
from mem_dfa.shapes.graph_tensors import UnknownBytesError
from mem_dfa.units import parse_bytes

# The allocator rounds and does not split every chunk: measured 4 % above what operations ask for.
ALLOCATOR_MARGIN = 0.05


def budget_bytes(budget: str | int) -> int:
    """Whole bytes from a number of them or a size such as "64 MiB".

    Raises:
        UnsupportedError: neither.
    """
    if isinstance(budget, int) and not isinstance(budget, bool) and budget > 0:
        return budget
    try:
        return parse_bytes(str(budget))
    except ValueError as error:
        raise UnsupportedError(
            f"Received budget={budget!r}: give a positive number of bytes, or a size such as "
            '"64 MiB".'
        ) from error


def refuse_unknown(received: str, check: Callable[[], Any], instead: str) -> None:
    """Refuse a budget where `check` raises because bytes are not known.

    Args:
        received: what was asked for.
        check: raises UnknownBytesError with the reason.
        instead: what needs no bytes.

    Raises:
        UnsupportedError: the budget cannot be planned for.
    """
    try:
        check()
    except UnknownBytesError as error:
        raise UnsupportedError(
            f"{received}, but what a step takes is not known from shapes: {error}. Give {instead} "
            "instead; `python -m experiments.fit` finds by measuring what fits."
        ) from error
