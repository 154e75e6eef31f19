"""What plans take in which a block may run more than twice."""

import itertools
import re

import pytest

from mem_dfa import UnsupportedError
from mem_dfa.memory import checkpoint_plan, replayed_plan, revolve
from mem_dfa.memory.budget import PREDICTION_MARGIN
from mem_dfa.memory.segments import BlockCost, Plan, Segment
from tests.mem_dfa.test_planning import (
    UNIT,
    equal_blocks,
    every_segmentation,
    operations_of,
    peak_of,
    random_blocks,
)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_segments_cost_what_is_counted_one_by_one(count: int) -> None:
    for seed in range(20):
        costs = random_blocks(count, seed)
        for segments in itertools.islice(every_segmentation(count), seed % 3, None, 3):
            found = replayed_plan.priced(Plan(tuple(segments), 0, 0).actions, costs)
            assert found.peak_bytes == peak_of(costs, segments)
            assert found.recomputed_operations == operations_of(costs, segments)


def test_a_checkpoint_that_is_given_up_holds_nothing_beside_the_input_made_of_it() -> None:
    first, second = BlockCost(10, 2, 20, 1), BlockCost(10, 2, 20, 1, restored=7)
    segments = [Segment(place, place + 1, recomputed=place < 2) for place in range(3)]
    plan = replayed_plan.priced(Plan(tuple(segments), 0, 0).actions, [first, second, second])
    # The last block, its input, and the checkpoint before it.
    assert plan.peak_bytes == 20 + 7 + 2


@pytest.mark.parametrize(("count", "slots"), [(1, 1), (7, 1), (20, 3), (100, 8)])
def test_revolve_holds_its_states_and_runs_what_it_says(count: int, slots: int) -> None:
    plan = replayed_plan.revolved(equal_blocks(count), slots)
    assert plan.recomputed_operations == revolve.cost("hidden", count, slots) - count
    # The states but that of the batch, the input of the block at work, and that block.
    assert plan.peak_bytes <= (slots - 1 + 1 + 2) * UNIT


def test_memory_of_revolve_grows_as_the_logarithm_of_depth() -> None:
    depths = [16, 64, 256]
    peaks = [replayed_plan.revolved(equal_blocks(depth)).peak_bytes for depth in depths]
    steps = [after - before for before, after in itertools.pairwise(peaks)]
    assert steps == [2 * UNIT] * 2  # of a depth four times as large
    least = checkpoint_plan.least_peak(equal_blocks(depths[-1])).peak_bytes
    assert 2 * peaks[-1] < least


def test_a_budget_takes_as_many_states_as_fit_or_says_the_least() -> None:
    costs = equal_blocks(30)
    times = []
    for units in (8, 16, 40):
        plan = replayed_plan.revolved_within(costs, int(units * UNIT * (1 + PREDICTION_MARGIN)) + 1)
        assert plan.peak_bytes <= units * UNIT
        times.append(plan.recomputed_operations)
    assert times == sorted(times, reverse=True)
    assert times[0] > times[1]
    with pytest.raises(UnsupportedError, match="no plan takes so little") as refusal:
        replayed_plan.revolved_within(costs, UNIT)
    least = int(re.search(r"is (\d+) bytes", str(refusal.value))[1])
    assert replayed_plan.revolved_within(costs, least).peak_bytes <= least
    with pytest.raises(UnsupportedError):
        replayed_plan.revolved_within(costs, least - 2)


@pytest.mark.parametrize("seed", range(4))
def test_rotor_is_never_slower_than_the_others(seed: int) -> None:
    """At ten budgets, whose plans never run more where there is more room."""
    costs = random_blocks(24, seed)
    whole = checkpoint_plan.least_peak(costs).peak_bytes
    least = replayed_plan.revolved(costs, 1).peak_bytes
    operations = []
    for number in range(10):
        budget = int((least + number * whole / 5) * (1 + PREDICTION_MARGIN)) + 1
        plan = replayed_plan.fastest_within(costs, budget)
        assert plan.peak_bytes <= budget
        others = [replayed_plan.revolved_within(costs, budget)]
        cut = checkpoint_plan.cheapest(costs, int(budget / (1 + PREDICTION_MARGIN)))
        others += [replayed_plan.priced(cut.actions, costs)] if cut else []
        assert all(plan.recomputed_operations <= one.recomputed_operations for one in others)
        operations.append(plan.recomputed_operations)
    assert operations == sorted(operations, reverse=True)
    assert operations[0] > operations[-1]
