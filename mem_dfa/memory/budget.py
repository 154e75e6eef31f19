"""Bytes that a step is to stay within.

What is promised: at no time of a step do its operations ask for more than the budget, beside what
is there before the step, such as weights, optimizer slots and the batch. A timeline and a row of
`measurements.csv` have that as `step_requested_bytes`, from the allocator's events.

What is not: the bytes of the chunks that the allocator hands out for that, `step_bytes`. It gives a
free chunk whole where that is less than twice as large, so they stay below twice the budget; which
chunks are free depends on threads. Under plans for ten budgets of three nets with
BatchNormalization they were 0.9 to 1.4 times what was asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mem_dfa.errors import UnsupportedError
from mem_dfa.shapes.graph_tensors import UnknownBytesError
from mem_dfa.units import parse_bytes

# What layers that are traced may ask for above their prediction. Measured of 16 kinds: 0.1 %.
PREDICTION_MARGIN = 0.05


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
