"""The way to the largest size: it ends at a right pair, in few tries, whatever the machine does."""

import itertools
import math
import random
from collections.abc import Callable
from typing import Any

import pytest
from mem_dfa.experiments.engine import search

LIMIT_BYTES = 2**30
Rows = dict[int, dict[str, Any]]


def trained(peak_bytes: float, repeats: int = 1) -> dict[str, Any]:
    return {"status": "ok", "process_peak_bytes": int(peak_bytes), "repeats": repeats}


FAILED = {"status": "out_of_memory", "process_peak_bytes": None, "repeats": 1}


def found(
    trains: Callable[[int], bool],
    peak: Callable[[int], float],
    maximum: int = 10**9,
    repeats: int = 1,
) -> tuple[Rows, list[int]]:
    """Searches in a made-up machine: what is known in the end, and the tries in their order."""
    rows: Rows = {}
    tries: list[int] = []
    while (size := search.next_size(rows, maximum, LIMIT_BYTES, repeats)) is not None:
        assert 1 <= size <= maximum
        tries.append(size)
        before = rows.get(size, {"repeats": 0})["repeats"]
        rows[size] = trained(peak(size), before + 1) if trains(size) else FAILED
        assert len(tries) < 200, "it does not end"
    return rows, tries


@pytest.mark.parametrize("usable", [0.6, 0.9, 1.0, 1.2], ids=lambda part: f"usable {part}")
@pytest.mark.parametrize("capacity", [1, 2, 3, 10, 170, 1_001, 65_536, 1_234_567])
def test_ends_at_neighbours(capacity: int, usable: float) -> None:
    """A line leads near it; where it leads too far or not far enough, doublings and halvings do."""
    slope = LIMIT_BYTES * usable / capacity
    rows, tries = found(lambda size: size <= capacity, lambda size: slope * size)
    assert search.bracket(rows, 10**9) == (capacity, capacity + 1)
    assert {capacity, capacity + 1} <= rows.keys()
    assert len(set(tries)) == len(tries), "a size was tried twice"
    assert len(tries) <= 12 + 2 * math.log2(capacity)


def test_a_line_saves_tries() -> None:
    """Where the peak is linear and nothing is lost, the answer is found without halving."""
    slope = LIMIT_BYTES / 1000.5
    _, tries = found(lambda size: size <= 1000, lambda size: slope * size)
    assert tries == [1, 16, 256, 1000, 1001]


def test_peaks_at_the_limit() -> None:
    """A step that takes whatever there is tells nothing by its peak either."""
    rows, tries = found(lambda size: size <= 5000, lambda size: min(size * 2**20, LIMIT_BYTES))
    assert search.bracket(rows, 10**9)[0] == 5000
    assert len(tries) < 40


@pytest.mark.parametrize("peak", [lambda size: 1000, lambda size: 1000 / size])
def test_peaks_that_do_not_grow(peak: Callable[[int], float]) -> None:
    """They tell nothing, so larger and larger sizes are tried."""
    rows, tries = found(lambda size: size <= 5000, peak)
    assert search.bracket(rows, 10**9)[0] == 5000
    assert tries[:4] == [1, 16, 256, 4096]


@pytest.mark.parametrize("seed", range(20))
def test_not_monotonic(seed: int) -> None:
    """Between 800 and 1000 each size trains or not; what is found is such a pair all the same."""
    draw = random.Random(seed)
    outcome = {size: draw.random() < 0.5 for size in range(800, 1000)}
    rows, _ = found(lambda size: outcome.get(size, size < 800), lambda size: size * 2**20)
    low, high = search.bracket(rows, 10**9)
    assert high == low + 1
    assert 799 <= low <= 999
    assert outcome.get(low, low < 800)
    assert not outcome.get(high, high < 800)


def test_an_answer_is_confirmed() -> None:
    """It trains in as many processes as asked for; where it fails in one of them, it is none."""
    rows, tries = found(lambda size: size <= 20, lambda size: size, repeats=3)
    assert tries.count(20) == 3
    assert rows[20]["repeats"] == 3
    outcomes = {20: itertools.chain([True], itertools.repeat(False)), 19: itertools.repeat(True)}

    def trains(size: int) -> bool:
        return next(outcomes[size]) if size in outcomes else size < 19

    rows, tries = found(trains, lambda size: size, repeats=3)
    assert search.bracket(rows, 10**9) == (19, 20)
    assert rows[19]["repeats"] == 3


@pytest.mark.parametrize("maximum", [1, 2, 16, 100])
def test_no_size_beyond_the_maximum(maximum: int) -> None:
    rows, tries = found(lambda size: True, lambda size: size, maximum, repeats=2)
    assert search.bracket(rows, maximum) == (maximum, maximum + 1)
    assert rows[maximum]["repeats"] == 2
    assert max(tries) == maximum


def test_earlier_tries_beyond_the_maximum() -> None:
    """They came from a run with a larger one, and are no answer to this."""
    rows = {1: trained(10), 50: trained(500), 60: FAILED}
    assert search.bracket(rows, 20) == (1, 21)
    assert search.next_size(rows, 20, LIMIT_BYTES, 1) in range(2, 21)


def test_nothing_trains() -> None:
    rows, tries = found(lambda size: False, lambda size: size)
    assert tries == [1]
    assert search.bracket(rows, 10**9) == (0, 1)
