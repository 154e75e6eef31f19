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

import math
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


def too_little(limit_bytes: int, what: str, peak_bytes: int, instead: str) -> UnsupportedError:
    """What a budget is refused with that no plan keeps.

    Args:
        limit_bytes: the budget.
        what: plans were looked for.
        peak_bytes: predicted of the plan that takes least.
        instead: what else to do than to give more.
    """
    least = int(peak_bytes * (1 + PREDICTION_MARGIN)) + 1
    mebibytes = math.ceil(10 * least / 2**20) / 10
    return UnsupportedError(
        f"Received a budget of {limit_bytes} bytes: no {what} takes so little; the least that can "
        f"be kept is {least} bytes ({mebibytes:.1f} MiB), {PREDICTION_MARGIN:.0%} above what it is "
        f"predicted to take: give at least that, {instead}."
    )


def known_batch_size(owner: str, budget: str | int, planned: int | None, size: int | None) -> int:
    """The batch that a budget is for.

    Args:
        owner: of the budget, for the message.
        budget: as given.
        planned: what `check_batch_size` let pass.
        size: of the batches; None where they have no fixed one.

    Raises:
        UnsupportedError: nobody says which.
    """
    if planned is None and size is None:
        raise UnsupportedError(
            f"{owner} received budget={budget!r} and batches of no fixed size: give "
            "batch_size=..., or batch the data with drop_remainder=True."
        )
    return planned or size or 0


def check_batch_size(owner: str, batch_size: int | None) -> None:
    """Refuse what is no number of examples.

    Raises:
        UnsupportedError: it is not None, nor a whole number from 1.
    """
    is_count = isinstance(batch_size, int) and not isinstance(batch_size, bool) and batch_size > 0
    if batch_size is not None and not is_count:
        raise UnsupportedError(
            f"{owner} received batch_size={batch_size!r}: give a whole number of examples, at "
            "least 1."
        )


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
