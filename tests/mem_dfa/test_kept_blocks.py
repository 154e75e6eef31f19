"""MEM-DFA within a budget: plans against every plan there is, the step, and the bytes it takes."""

import itertools
import random
import re
from collections.abc import Callable, Iterator, Sequence

import keras
import numpy as np
import pytest
import tensorflow as tf

from mem_dfa import DFA, MemDFA, UnsupportedError
from mem_dfa.memory.budget import PREDICTION_MARGIN
from mem_dfa.memory.kept_blocks import BlockCost, Part, cheapest, least_peak
from tests.mem_dfa.comparison import EXECUTIONS, LOSS, batch, change, compiled, distance, recorded

layers = keras.layers


def random_blocks(count: int, seed: int) -> list[BlockCost]:
    draw = random.Random(seed).randint
    costs, inputs = [], 0
    for _ in range(count):
        output, replay = draw(1, 30), inputs + draw(1, 40)
        kept = output + draw(0, 1) * draw(1, 20)
        forward, update = inputs + output + draw(0, 9), kept + draw(1, 30)
        is_sliced = bool(draw(0, 1))
        least = replay if is_sliced else forward + draw(1, 30)
        costs.append(
            BlockCost(
                kept,
                inputs,
                output,
                forward,
                update,
                replay_peak=least,
                start_peak=least + draw(0, 5),
                is_sliced=is_sliced,
                operations=draw(1, 20),
            )
        )
        inputs = output
    return costs


def every_plan(count: int) -> Iterator[tuple[Part, ...]]:
    """All ways to keep some blocks and recompute the others."""
    for recomputed in itertools.product((False, True), repeat=count):
        grouped = itertools.groupby(range(count), key=lambda number: recomputed[number])
        blocks = [(again, list(numbers)) for again, numbers in grouped]
        choices = [(False, True) if again else (False,) for again, _ in blocks]
        for sliced in itertools.product(*choices):
            yield tuple(
                Part(numbers[0], numbers[-1] + 1, again, in_slices)
                for (again, numbers), in_slices in zip(blocks, sliced, strict=True)
            )


def peak_of(costs: Sequence[BlockCost], parts: Sequence[Part]) -> int:
    """Bytes of a step's three phases, one block after another; `held` says what of is there."""
    held: dict[str, int] = {}
    peaks = []
    for part in parts:
        for number in range(part.start, part.stop):
            cost = costs[number]
            follows_run = number == part.start > 0 and not part.recomputed
            if follows_run:  # a part before a kept one is a run
                run = parts[parts.index(part) - 1]
                copies = 2 if run.sliced and costs[number - 1].is_sliced else 1
                peaks.append(sum(held.values()) + copies * cost.input)
                held[f"input of {number}"] = cost.input
            beside = sum(held.values())
            starts = part.recomputed and number == part.start
            again = cost.start_peak if starts else cost.replay_peak
            own = again if part.sliced and cost.is_sliced else cost.forward_peak
            if part.recomputed:
                peaks.append(beside + own - (cost.input if starts else 0))
            else:
                peaks.append(beside + max(cost.kept, cost.forward_peak - cost.input))
                held[f"kept of {number}"] = cost.kept
    runs = [part for part in parts if part.recomputed]
    starts = {run.start - 1: costs[run.start].input for run in runs if run.start}
    for part in reversed(parts):
        for number in reversed(range(part.start, part.stop)):
            if part.recomputed:
                continue
            cost = costs[number]
            del held[f"kept of {number}"]
            beside = sum(size for position, size in starts.items() if position > number)
            if number in starts and cost.kept > cost.output:
                beside += cost.output
            peaks.append(sum(held.values()) + cost.update_peak + beside)
            held.pop(f"input of {number}", None)
    for run in reversed(runs):
        beside = sum(size for position, size in starts.items() if position < run.start - 1)
        peaks.append(beside + costs[run.start].start_peak)
        peaks += [beside + cost.replay_peak for cost in costs[run.start + 1 : run.stop]]
    return max(peaks)


def price_of(costs: Sequence[BlockCost], parts: Sequence[Part]) -> tuple[int, int]:
    """Operations that run again, and those of them in slices in the first pass."""
    runs = [(sum(c.operations for c in costs[p.start : p.stop]), p) for p in parts if p.recomputed]
    return sum(count for count, _ in runs), sum(count for count, run in runs if run.sliced)


@pytest.mark.parametrize("count", range(1, 7))
def test_no_plan_is_better_than_the_one_found(count: int) -> None:
    for seed in range(5):
        costs = random_blocks(count, 100 * count + seed)
        plans = [
            (peak_of(costs, parts), price_of(costs, parts), parts) for parts in every_plan(count)
        ]
        least = min(peak for peak, _, _ in plans)
        assert least_peak(costs) == least
        for limit in range(least - 1, max(peak for peak, _, _ in plans) + 2, 7):
            found = cheapest(costs, limit)
            fitting = [price for peak, price, _ in plans if peak <= limit]
            assert (found is None) == (not fitting)
            if found is not None:
                parts, peak = found
                assert price_of(costs, parts) == min(fitting)
                assert peak == peak_of(costs, parts) <= limit
                assert [p.start for p in parts[1:]] == [p.stop for p in parts[:-1]]
                assert (parts[0].start, parts[-1].stop) == (0, count)
