"""Rotor's plans are the fastest of all that keep what they keep until it is needed."""

import functools
import math
import random
from collections.abc import Sequence

import pytest

from mem_dfa.memory import checkpoint_plan, replayed_plan, revolve, rotor
from mem_dfa.memory.segments import BlockCost
from tests.mem_dfa.test_planning import UNIT, equal_blocks, random_blocks


def least_operations(costs: Sequence[BlockCost], limit: int) -> float:
    """Every way, by recursion: what runs, of blocks `s` to `t`, with so many bytes left."""

    @functools.cache
    def of(s: int, t: int, left: int) -> float:
        own = costs[s].operations if left >= costs[s].backward_peak else math.inf
        if s == t:
            return own
        ways = [own + of(s + 1, t, left - costs[s].kept)]
        for j in range(s + 1, t + 1):
            run = sum(cost.operations for cost in costs[s:j])
            ways.append(run + of(j, t, left - costs[j - 1].output) + of(s, j - 1, left))
        return min(ways)

    total = sum(cost.operations for cost in costs)
    return of(0, len(costs) - 1, limit) - total


@pytest.mark.parametrize("count", range(1, 8))
def test_plans_are_the_fastest_of_all(count: int) -> None:
    for seed in range(15):
        costs = random_blocks(count, seed)
        least = replayed_plan.revolved(costs, 1).peak_bytes
        for limit in {least, *(random.Random(seed).randint(least, 3 * least) for _ in range(3))}:
            actions = rotor.actions(costs, limit)
            due = least_operations(costs, limit)
            assert (actions is None) == math.isinf(due)
            if actions:
                plan = replayed_plan.priced(actions, costs)
                assert plan.peak_bytes <= limit
                assert plan.recomputed_operations == due


@pytest.mark.parametrize(("count", "slots"), [(9, 2), (20, 3), (30, 5)])
def test_of_alike_blocks_it_runs_what_revolve_runs(count: int, slots: int) -> None:
    """Or less, because it may keep all of a block, too."""
    costs = equal_blocks(count)
    plan = replayed_plan.revolved(costs, slots)
    ours = replayed_plan.priced(rotor.actions(costs, plan.peak_bytes) or [], costs)
    assert ours.recomputed_operations <= revolve.cost("hidden", count, slots) - count


def test_it_needs_less_than_plans_that_run_a_block_twice() -> None:
    costs = equal_blocks(40)
    least = checkpoint_plan.least_peak(costs).peak_bytes
    plan = replayed_plan.priced(rotor.actions(costs, int(0.7 * least)) or [], costs)
    assert 0 < plan.peak_bytes <= 0.7 * least
    assert rotor.actions(costs, UNIT) is None
