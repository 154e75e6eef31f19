"""Optimal plans for chains of unlike blocks, each of which may run more than twice (`rotor`).

Beaumont, Eyraud-Dubois, Herrmann, Joly and Shilova (2019, HAL hal-02352969). Block i has the input
a_{i-1} and needs u_i operations to run. C(m, s, t) is the least number of operations that blocks s
to t take until they are differentiated, where a_{s-1} is there already and m bytes are free:

    C(m, s, s) = u_s,  where m is enough for block s while it is differentiated, else ∞
    C(m, s, t) = min of  u_s + C(m − kept_s, s+1, t), with C(m, s, s) < ∞:  keep all of block s
                         min_j Σ_{k=s}^{j-1} u_k + C(m − |a_{j-1}|, j, t) + C(m, s, j−1):
                                                                  run to a_{j-1}, and keep that

Bytes are counted in parts of the budget, rounded up. What is kept stays until the blocks
after it are done; plans that give something up earlier may be faster, and are hard to find.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from mem_dfa.memory.actions import Action
from mem_dfa.memory.segments import BlockCost

SLOTS, ENTRIES = 500, 50_000
"""Parts of a budget, fewer for many blocks: the time grows as their number squared then."""


def actions(costs: Sequence[BlockCost], limit_bytes: int) -> list[Action] | None:
    """What to do within so many bytes beside the batch; None where no such plan is found.

    Args:
        costs: of all blocks.
        limit_bytes: of the peak.
    """
    part = max(1, -(-limit_bytes // min(SLOTS, ENTRIES // len(costs))))
    table = _Table(costs, part, limit_bytes // part)
    return list(table.actions()) if table.is_feasible else None


class _Table:
    """C(m, s, t) for all m of one budget; s and t from 0."""

    def __init__(self, costs: Sequence[BlockCost], part: int, slots: int) -> None:
        count = len(costs)
        self._slots = slots
        # Rounded up, so that a plan never takes more than it says.
        sizes = (
            [cost.kept + cost.restored for cost in costs],
            [cost.output for cost in costs],
            [cost.backward_peak + cost.restored for cost in costs],
        )
        self._kept, self._output, self._peak = (
            [min(-(-size // part), slots + 1) for size in own] for own in sizes
        )
        self._ends = np.cumsum([0, *(cost.operations for cost in costs)]).astype(np.float32)
        shape = (count, count, slots + 1)
        # C(m, s, t) at [s, t, m], and C(m − |a_{j-1}|, j, t) at [t, j, m]: rows side by side.
        self._least = np.full(shape, np.inf, np.float32)
        self._after = np.full(shape, np.inf, np.float32)
        ways = np.empty((count, slots + 1), np.float32)
        for t in range(count):
            for s in range(t, -1, -1):
                least = self._least[s, t]
                fits = slice(self._peak[s], None)
                least[fits] = self._run(s, s + 1)
                if s < t:
                    least += _shifted(self._least[s + 1, t], self._kept[s])
                    np.add(self._after[t, s + 1 : t + 1], self._least[s, s:t], out=ways[: t - s])
                    ways[: t - s] += self._run(s, np.arange(s + 1, t + 1))[:, None]
                    np.minimum(least, ways[: t - s].min(axis=0), out=least)
                if s:
                    self._after[t, s] = _shifted(least, self._output[s - 1])

    @property
    def is_feasible(self) -> bool:
        """Whether some plan fits."""
        return bool(np.isfinite(self._least[0, -1, -1]))

    def _run(self, start: int, stop: Any) -> Any:
        """Operations of the blocks from one to before another, or before each of several."""
        return self._ends[stop] - self._ends[start]

    def _next(self, s: int, t: int, m: int) -> int:
        """To which a_{j-1} blocks run from s on; s itself where all of block s is kept."""
        ways = self._after[t, s + 1 : t + 1, m] + self._least[s, s:t, m]
        ways += self._run(s, np.arange(s + 1, t + 1))
        j = int(ways.argmin())
        return s + 1 + j if ways[j] == self._least[s, t, m] else s

    def actions(self) -> Iterator[Action]:
        """Of the plan that runs least, in order; there has to be one."""
        # As deep as there are blocks: a stack of what is still to be done, not a recursion.
        waiting: list[Action | tuple[int, int, int]] = [(0, len(self._least) - 1, self._slots)]
        while waiting:
            task = waiting.pop()
            if isinstance(task, Action):
                yield task
                continue
            s, t, m = task
            j = self._next(s, t, m) if s < t else s
            if j == s:
                yield Action("record", s, s + 1)
                waiting.append(Action("backward", s, s + 1))
                if s < t:
                    waiting.append((s + 1, t, m - self._kept[s]))
            else:
                yield Action("advance", s, j)
                rest = (j, t, m - self._output[j - 1])
                waiting += [(s, j - 1, m), Action("forget", j, j), rest]


def _shifted(row: np.ndarray, by: int) -> np.ndarray:
    """C(m − by) at m; ∞ where that is less than nothing."""
    moved = np.full_like(row, np.inf)
    moved[by:] = row[: len(row) - by] if by else row
    return moved
