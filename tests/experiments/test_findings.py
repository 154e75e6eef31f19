"""Titles say what the numbers say, whatever that is, and nothing where nothing can be compared."""

import pytest
from mem_dfa.experiments.pictures import findings
from mem_dfa.experiments.pictures.findings import Cost

LEVEL = [(1, 2.0), (2, 3.0), (10, 3.1), (20, 3.0)]
RISING = [(1, 8.0), (10, 80.0), (20, 1600.0)]
FALLING = [(1, 9.0), (10, 8.0), (20, 2.0)]


def costs(**memory: float) -> list[Cost]:
    return [Cost(name, name, size, "slowly") for name, size in memory.items()]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"bp": 100, "dfa": 110, "mem_dfa": 8.04}, "mem_dfa's peak is 8 % of bp's: 8.0 of 100 MiB"),
        ({"bp": 1024, "dfa": 2048}, "No peak is below bp's 1,024 MiB"),
        ({"bp": 100, "dfa": 100}, "No peak is below bp's 100 MiB"),
        ({"dfa": 100, "mem_dfa": 8}, ""),
        ({"bp": 100}, ""),
        ({}, ""),
    ],
)
def test_who_takes_least(values: dict[str, float], said: str) -> None:
    assert findings.least(values, "peak") == said


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (
            {"bp": RISING, "mem_dfa": LEVEL},
            "mem_dfa's step stays at 3.0 MiB from 2 to 20 layers while bp's grows to 1,600 MiB",
        ),
        (
            {"bp": RISING, "fa": [(1, 8.0), (10, 9.0), (20, 12.0)]},
            "fa's step grows to 12 MiB while bp's grows to 1,600 MiB",
        ),
        (
            {"bp": RISING, "fa": FALLING},
            "fa's step shrinks to 2.0 MiB while bp's grows to 1,600 MiB",
        ),
        # What ends before bp does is not compared where it did not get.
        ({"bp": RISING, "fa": LEVEL[:3]}, "At 20 layers no step is below bp's 1,600 MiB"),
        ({"bp": LEVEL, "fa": RISING}, "At 20 layers no step is below bp's 3.0 MiB"),
        # Nor is what bp did not reach.
        (
            {"bp": RISING, "fa": [*LEVEL, (100, 50.0)]},
            "fa's step stays at 3.0 MiB from 2 to 20 layers while bp's grows to 1,600 MiB",
        ),
        ({"bp": RISING}, ""),
        ({"fa": RISING, "dfa": LEVEL}, ""),
    ],
)
def test_how_memory_grows(lines: dict[str, findings.Points], said: str) -> None:
    assert findings.growth(lines, "step") == said


@pytest.mark.parametrize(
    ("memory", "said"),
    [
        (
            {"bp": 10, "checkpoint": 5, "microbatch": 6, "mem_dfa": 1, "dfa": 11},
            "checkpoint takes 50 % of bp's peak slowly with exact gradients, "
            "mem_dfa 10 % slowly with other gradients",
        ),
        ({"bp": 10, "mem_dfa": 1}, "mem_dfa takes 10 % of bp's peak slowly with other gradients"),
        (
            {"bp": 10, "checkpoint": 11, "mem_dfa": 1},
            "nothing with exact gradients takes less peak than bp, "
            "mem_dfa takes 10 % of bp's peak slowly with other gradients",
        ),
        ({"bp": 10, "dfa": 11}, "nothing with other gradients takes less peak than bp"),
        ({"bp": 10}, ""),
        ({"checkpoint": 5, "mem_dfa": 1}, ""),
    ],
)
def test_what_saves_most_with_either_gradient(memory: dict[str, float], said: str) -> None:
    assert findings.savings(costs(**memory), "peak") == said


def test_gradients_are_exact_where_the_registry_says_so() -> None:
    exact = {"bp", "checkpoint", "microbatch", "revnet", "remat_scope", "recompute_grad"}
    assert {name for name in exact if findings.is_exact(name)} == exact
    random = ("fa", "dfa", "mem_dfa", "checkpoint_fa")
    assert not any(map(findings.is_exact, random))


@pytest.mark.parametrize(
    ("accuracies", "said"),
    [
        (
            {"bp": 99.0, "checkpoint": 99.9, "fa": 90.0, "dfa": 91.04},
            "After 7 epochs dfa, the best of other gradients, is 8.0 points behind bp: "
            "91.0 against 99.0 %",
        ),
        (
            {"bp": 90.0, "dfa": 91.0},
            "After 7 epochs dfa, the best of other gradients, is 1.0 points ahead of bp: "
            "91.0 against 90.0 %",
        ),
        ({"bp": 99.0, "checkpoint": 98.0}, ""),
        ({"dfa": 99.0}, ""),
    ],
)
def test_how_far_random_feedback_is_behind(accuracies: dict[str, float], said: str) -> None:
    assert findings.behind(accuracies, 7) == said


@pytest.mark.parametrize(
    ("accuracies", "said"),
    [
        (
            {"bp": {1: 98, 8: 97.24}, "usf": {1: 99, 8: 96.5}, "dfa": {8: 83}, "fa": {8: 64}},
            "At 8 hidden layers usf is best, 0.7 points behind bp's 97.2 %; 2 of 3 rules are more "
            "than 10 points behind",
        ),
        (
            {"bp": {8: 90}, "usf": {8: 91}, "dfa": {8: 79}},
            "At 8 hidden layers usf is best, 1.0 points ahead of bp's 90.0 %; 1 of 2 rules is more "
            "than 10 points behind",
        ),
        (
            {"bp": {8: 90}, "usf": {8: 90}, "fa": {1: 10}},
            "At 8 hidden layers usf is best, 0.0 points behind bp's 90.0 %; none of 1 rules is "
            "more than 10 points behind",
        ),
        ({"bp": {8: 90}, "fa": {1: 90}}, ""),
        ({"fa": {8: 90}}, ""),
    ],
)
def test_who_learns_at_depth(accuracies: dict[str, dict[int, float]], said: str) -> None:
    assert findings.at_depth(accuracies) == said


@pytest.mark.parametrize(
    ("angles", "said"),
    [
        (
            {"fa": 70.2, "usf": 31, "dfa": 88},
            "After 3 epochs usf's updates are nearest to bp's, 31°, dfa's farthest, 88°",
        ),
        ({"fa": 90.1, "dfa": 89.9}, "After 3 epochs the updates of all rules are 90° from bp's"),
        ({"fa": 70}, ""),
        ({}, ""),
    ],
)
def test_whose_updates_are_nearest(angles: dict[str, float], said: str) -> None:
    assert findings.aligned(angles, 3) == said


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        ({"bp": 400, "microbatch": 1000}, "microbatch trains batches 2.5 times as large as bp's"),
        ({"bp": 4000, "microbatch": 1000}, "No batch is larger than bp's 4,000"),
        ({"microbatch": 1000, "fa": 1}, ""),
        ({"bp": 1}, ""),
    ],
)
def test_who_trains_the_largest_batch(sizes: dict[str, int], said: str) -> None:
    assert findings.largest(sizes) == said
