"""Plans for checkpointing against every plan there is, counted one by one."""

import itertools
import random
import re
from collections.abc import Iterator, Sequence

import numpy as np
import pytest

from mem_dfa import UnsupportedError
from mem_dfa.memory import checkpoint_plan, segment_search
from mem_dfa.memory.budget import budget_bytes
from mem_dfa.memory.segments import BlockCost, Plan, Segment

UNIT = 1000


def equal_blocks(count: int, error_units: int = 1) -> list[BlockCost]:
    """Blocks that keep one unit; while differentiated also their error signals."""
    return [BlockCost(UNIT, UNIT, (1 + error_units) * UNIT, 1)] * count


def random_blocks(count: int, seed: int) -> list[BlockCost]:
    draw = random.Random(seed).randint
    costs = []
    for _ in range(count):
        kept, output = draw(0, 40), draw(1, 30)
        costs.append(BlockCost(kept, output, kept + draw(1, 30), draw(1, 20)))
    return costs


def every_segmentation(count: int) -> Iterator[list[Segment]]:
    """All ways to cut a chain, each segment kept or recomputed."""
    for cut in itertools.product((False, True), repeat=count - 1):
        borders = [0, *[place for place, here in enumerate(cut, start=1) if here], count]
        pairs = list(itertools.pairwise(borders))
        for recomputed in itertools.product((False, True), repeat=len(pairs)):
            yield [Segment(*pair, flag) for pair, flag in zip(pairs, recomputed, strict=True)]


def peak_of(costs: Sequence[BlockCost], segments: Sequence[Segment]) -> int:
    """Bytes while the backward pass goes from the last segment to the first."""
    peaks = []
    for number, segment in enumerate(segments):
        held = 0
        for earlier in segments[:number]:
            blocks = costs[earlier.start : earlier.stop]
            held += blocks[-1].output if earlier.recomputed else sum(b.kept for b in blocks)
        for position in range(segment.start, segment.stop):
            before = sum(cost.kept for cost in costs[segment.start : position])
            peaks.append(held + before + costs[position].backward_peak)
    return max(peaks)


def operations_of(costs: Sequence[BlockCost], segments: Sequence[Segment]) -> int:
    return sum(
        cost.operations
        for segment in segments
        if segment.recomputed
        for cost in costs[segment.start : segment.stop]
    )


def lengths(plan: Plan) -> list[int]:
    return [segment.stop - segment.start for segment in plan.segments if segment.recomputed]


@pytest.mark.parametrize(("count", "units", "longest"), [(20, 7, 6), (40, 10, 9)])
def test_equal_blocks_have_segments_that_get_shorter(count: int, units: int, longest: int) -> None:
    plan = checkpoint_plan.least_peak(equal_blocks(count))
    assert plan.peak_bytes == units * UNIT
    found = lengths(plan)
    # A later segment has one checkpoint more before it, and so one block less of its own.
    assert all(length <= longest - number for number, length in enumerate(found))
    assert plan.recomputed_operations == sum(found) < count
    assert [s.start for s in plan.segments[1:]] == [s.stop for s in plan.segments[:-1]]
    assert (plan.segments[0].start, plan.segments[-1].stop) == (0, count)


@pytest.mark.parametrize("count", range(1, 8))
def test_no_plan_is_better_than_the_ones_found(count: int) -> None:
    for seed in range(6):
        costs = random_blocks(count, 100 * count + seed)
        found = [
            (peak_of(costs, segments), operations_of(costs, segments))
            for segments in every_segmentation(count)
        ]
        least = min(peak for peak, _ in found)
        plan = checkpoint_plan.least_peak(costs)
        allowed = int(least * (1 + checkpoint_plan.PEAK_TOLERANCE))
        assert least <= plan.peak_bytes <= allowed
        assert plan.recomputed_operations == min(work for peak, work in found if peak <= allowed)
        for limit in range(least - 1, max(peak for peak, _ in found) + 2, 5):
            best = checkpoint_plan.cheapest(costs, limit)
            fitting = [work for peak, work in found if peak <= limit]
            assert (best is None) == (not fitting)
            if best is not None:
                assert best.recomputed_operations == min(fitting)
                assert best.peak_bytes == peak_of(costs, best.segments) <= limit
                assert best.recomputed_operations == operations_of(costs, best.segments)


def test_the_peak_grows_as_the_root_of_the_depth() -> None:
    depths = [16, 32, 64, 128]
    # Without the one error signal, which does not grow, the peak is the checkpoints' alone.
    peaks = [checkpoint_plan.least_peak(equal_blocks(n, error_units=0)).peak_bytes for n in depths]
    exponent = np.polyfit(np.log(depths), np.log(peaks), 1)[0]
    assert exponent == pytest.approx(0.5, abs=0.05)


def test_more_memory_never_costs_more_time() -> None:
    costs = random_blocks(12, 7)
    least = checkpoint_plan.least_peak(costs).peak_bytes
    everything = peak_of(costs, [Segment(0, len(costs), False)])
    work = [
        checkpoint_plan.within_budget(costs, budget).recomputed_operations
        for budget in range(2 * least, 2 * everything, 5)
    ]
    work += [checkpoint_plan.within_budget(costs, 2 * everything).recomputed_operations]
    assert work == sorted(work, reverse=True)
    tight = checkpoint_plan.cheapest(costs, least)
    assert tight.recomputed_operations > work[-1] == 0


def test_an_impossible_budget_names_the_least_possible_one() -> None:
    costs = equal_blocks(20)
    with pytest.raises(UnsupportedError, match="the least that can be kept is") as refusal:
        checkpoint_plan.within_budget(costs, 6 * UNIT)
    least = int(re.search(r"is (\d+) bytes", str(refusal.value))[1])
    assert checkpoint_plan.within_budget(costs, least).peak_bytes <= least
    with pytest.raises(UnsupportedError, match="the least that can be kept is"):
        checkpoint_plan.within_budget(costs, least - UNIT)


def test_given_borders_are_kept_to() -> None:
    plan = checkpoint_plan.at_boundaries(equal_blocks(7), [2, 5])
    expected = (Segment(0, 2, True), Segment(2, 5, True), Segment(5, 7, False))
    assert plan.segments == expected
    assert plan.peak_bytes == peak_of(equal_blocks(7), expected)
    assert plan.recomputed_operations == 5


@pytest.mark.parametrize("budget", [0, -1, True, 1.5, "much", "64", None])
def test_budgets_that_are_no_size_are_refused(budget: object) -> None:
    with pytest.raises(UnsupportedError, match="64 MiB"):
        budget_bytes(budget)


def test_what_a_search_leaves_out_is_not_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    """And were it more, there would still be a plan that fits."""
    costs = random_blocks(30, seed=3)
    least = checkpoint_plan.least_peak(costs).peak_bytes
    limits = [least + step * (sum(cost.kept for cost in costs) - least) // 6 for step in range(6)]
    found = [checkpoint_plan.cheapest(costs, limit) for limit in limits]
    monkeypatch.setattr(segment_search, "FEW", 10**9)
    for limit, plan in zip(limits, found, strict=True):
        assert plan == checkpoint_plan.cheapest(costs, limit)
    monkeypatch.setattr(segment_search, "FEW", 3)
    monkeypatch.setattr(segment_search, "MOST", 5)
    for limit, plan in zip(limits, found, strict=True):
        rough = checkpoint_plan.cheapest(costs, limit)
        assert peak_of(costs, rough.segments) == rough.peak_bytes <= limit
        assert plan.recomputed_operations <= rough.recomputed_operations


def test_budgets_are_bytes_or_sizes() -> None:
    assert budget_bytes("64 MiB") == budget_bytes(64 * 2**20) == 64 * 2**20


@pytest.mark.parametrize("seed", range(20))
def test_checkpoints_before_every_block_or_so_many(seed: int) -> None:
    """Without a budget before each block; within one of the even plans the fastest that fits."""
    costs = random_blocks(7, seed)
    even = [checkpoint_plan.at_boundaries(costs, range(0, 7, n)) for n in range(1, 8)]
    assert checkpoint_plan.every_block(costs) == even[0]
    limits = sorted(plan.peak_bytes for plan in even)
    for limit in limits:
        budget = int(limit * (1 + checkpoint_plan.PREDICTION_MARGIN)) + 1
        found = checkpoint_plan.evenly_within(costs, budget)
        fitting = [plan for plan in even if plan.peak_bytes <= limit]
        assert found in fitting
        least = min(plan.recomputed_operations for plan in fitting)
        assert found.recomputed_operations == least
    with pytest.raises(UnsupportedError, match="the least that can be kept is"):
        checkpoint_plan.evenly_within(costs, limits[0] - 1)
