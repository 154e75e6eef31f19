"""Which states of a chain of alike steps are kept, and what runs again: optimal plans.

A chain of t steps s_i = f(s_{i-1}) is differentiated from the last step to the first, by layers in
depth or by time steps. Kept may be *states* s_i, from which the chain goes on, and *internals* of
a step, which its gradient needs. C(t, m) is the least number of runs of a step with m slots
(Griewank and Walther, 2000, `revolve`; Gruslys et al., arXiv 1606.03401, section 3):

    hidden:    C(t, m) = min_y [y + C(t−y, m−1) + C(y, m)],    C(t, 1) = t(t+1)/2
    internal:  C(t, m) = min_y [y + C(t−y, m−1) + C(y−1, m)],  C(t, 0) = ∞
    mixed:     the lesser of hidden's and min_y [y + C(t−y, m−α) + C(y−1, m)],
               where a step's internals, and the state after it with them, take α slots

The first and the last count the state that the chain starts from, and not the internals of the
step at work; `internal` counts internals alone. Least of the plans that keep what they have kept
until all steps after it are done: of mixed plans, one that gives up a state earlier may save a run.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Literal, TypeAlias, get_args

import numpy as np

from mem_dfa.errors import UnsupportedError
from mem_dfa.memory.actions import Action

Kind: TypeAlias = Literal["hidden", "internal", "mixed"]
KINDS: tuple[Kind, ...] = get_args(Kind)

# Of no plan: larger than any cost, and no overflow when two are added.
_NEVER = 2**60


def cost(kind: Kind, steps: int, slots: int, internal_slots: int = 1) -> int:
    """C(t, m): how many steps run, one by one, those of the first pass included.

    Args:
        kind: what may be kept.
        steps: t.
        slots: m, of the size of a state; for `internal` of the size of a step's internals.
        internal_slots: α, for `mixed`.

    Raises:
        UnsupportedError: a number that makes no sense.
    """
    slots = _checked(kind, steps, slots, internal_slots)
    return int(_tables(kind, steps, slots, internal_slots)[0][slots, steps])


def plan(kind: Kind, steps: int, slots: int, internal_slots: int = 1) -> list[Action]:
    """What to do, in order, at C(t, m) runs of a step; arguments and errors are those of `cost`.

    The state at position 0 is there at the beginning, and stays.
    """
    slots = _checked(kind, steps, slots, internal_slots)
    choices = _tables(kind, steps, slots, internal_slots)[1]
    return list(_actions(choices, steps, slots, internal_slots if kind == "mixed" else 1))


def relative_time(runs: int, steps: int) -> float:
    """(C + 2t) / 3t: time over that of keeping everything, where a backward step is two runs."""
    return (runs + 2 * steps) / (3 * steps)


def _checked(kind: str, steps: int, slots: int, internal_slots: int) -> int:
    """The slots that can be of use.

    Raises:
        UnsupportedError: a number that makes no sense.
    """
    if kind not in KINDS:
        raise UnsupportedError(f"Received plan={kind!r}: give one of {', '.join(KINDS)}.")
    for name, value in (("steps", steps), ("slots", slots), ("internal_slots", internal_slots)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise UnsupportedError(f"Received {name}={value!r}: give a whole number, at least 1.")
    return min(slots, 1 + steps * internal_slots if kind == "mixed" else steps)


@lru_cache(maxsize=8)
def _tables(
    kind: Kind, steps: int, slots: int, internal_slots: int
) -> tuple[np.ndarray, np.ndarray]:
    """C and the best y by slots and steps; y is negative where that step's internals are kept."""
    costs = np.full((slots + 1, steps + 1), _NEVER)
    choices = np.zeros((slots + 1, steps + 1), np.int32)
    costs[:, 0] = 0
    if kind != "internal":
        # C(t, 1) = t(t+1)/2: from the start to each step, the last one first.
        positions = np.arange(steps + 1)
        costs[1], choices[1] = positions * (positions + 1) // 2, -positions
        costs[2:, 1], choices[2:, 1] = 1, -1
    alpha = internal_slots if kind == "mixed" else 1
    for t in range(1, steps + 1):
        if kind != "internal" and t > 1:
            y = np.arange(1, t)
            # y + C(t−y, m−1) + C(y, m), for every m > 1
            _take_lesser(costs[2:, t], choices[2:, t], y, costs[1:-1, t - y] + costs[2:, y])
        if kind != "hidden" and slots >= alpha:
            y = np.arange(1, t + 1)
            # y + C(t−y, m−α) + C(y−1, m), for every m ≥ α
            kept = costs[: slots + 1 - alpha, t - y] + costs[alpha:, y - 1]
            _take_lesser(costs[alpha:, t], choices[alpha:, t], y, kept, sign=-1)
    return costs, choices


def _take_lesser(
    costs: np.ndarray, choices: np.ndarray, y: np.ndarray, others: np.ndarray, sign: int = 1
) -> None:
    """Write the least of y + `others`, shape (slots, y), and its y, where it is less."""
    totals = y + others
    best = totals.argmin(axis=1)
    least = totals[np.arange(len(best)), best]
    is_less = least < costs
    costs[is_less], choices[is_less] = least[is_less], sign * y[best][is_less]


def _actions(choices: np.ndarray, steps: int, slots: int, alpha: int) -> Iterator[Action]:
    # As deep as there are steps: a stack of what is still to be done, not a recursion.
    waiting: list[Action | tuple[int, int, int]] = [(0, steps, slots)]
    while waiting:
        task = waiting.pop()
        if isinstance(task, Action):
            yield task
            continue
        start, t, m = task
        if not t:
            continue
        y = int(choices[m, t])
        after = start + abs(y)
        if y > 0:
            yield Action("advance", start, after)
            waiting += [(start, y, m), Action("forget", after, after), (after, t - y, m - 1)]
            continue
        before = after - 1
        if before > start:
            yield Action("advance", start, before)
        yield Action("record", before, after)
        if before > start:
            yield Action("forget", before, before)
        ends = [Action("forget", after, after), Action("backward", before, after)]
        waiting += [(start, before - start, m), *ends, (after, start + t - after, m - alpha)]
