"""Plans of what is kept of a chain of alike steps, against every plan there is."""

import heapq
import time
from collections.abc import Iterator

import pytest

from mem_dfa import UnsupportedError
from mem_dfa.memory import revolve
from mem_dfa.memory.actions import Action

CASES = [("hidden", 12, 1), ("internal", 12, 1), ("mixed", 12, 2), ("mixed", 9, 3)]


def least_cost(kind: str, steps: int, slots: int, alpha: int) -> int:
    """The least cost of all ways to differentiate `steps` steps, one move at a time.

    A situation is the state at work, the positions of kept states and of kept internals as bits,
    and how many steps are still to be differentiated.
    """
    start = 0 if kind == "internal" else 1  # whether it takes a slot
    waiting = [(0, 0, 1, 0, steps)]
    best = {waiting[0][1:]: 0}
    while waiting:
        cost, *situation = heapq.heappop(waiting)
        if not situation[-1]:
            return cost
        if cost > best[tuple(situation)]:
            continue
        for price, following in moves(kind, *situation):
            _, states, internals, _ = following
            taken = states.bit_count() - 1 + start + alpha * internals.bit_count()
            if taken <= slots and cost + price < best.get(following, 10**9):
                best[following] = cost + price
                heapq.heappush(waiting, (cost + price, *following))
    raise AssertionError("no way")


def moves(
    kind: str, at: int, states: int, internals: int, left: int
) -> Iterator[tuple[int, tuple[int, int, int, int]]]:
    if at < left:
        yield 1, (at + 1, states, internals, left)
        if kind != "hidden":
            yield 1, (at + 1, states, internals | 1 << at, left)
    if kind != "internal" and not states >> at & 1:
        yield 0, (at, states | 1 << at, internals, left)
    for position in range(left + 1):
        after_internals = position and internals >> (position - 1) & 1
        if position != at and (states >> position & 1 or after_internals):
            yield 0, (position, states, internals, left)
        # What is kept stays until what comes after it is done.
        if position == left and states >> position & 1:
            yield 0, (at, states & ~(1 << position), internals, left)
    last = left - 1
    if internals >> last & 1:
        yield 0, (0, states, internals & ~(1 << last), last)
    elif kind != "internal" and at == last:
        yield 1, (0, states, internals, last)


@pytest.mark.parametrize(("kind", "most", "alpha"), CASES)
def test_costs_are_the_least_of_all_plans(kind: revolve.Kind, most: int, alpha: int) -> None:
    for steps in range(1, most + 1):
        for slots in (1, 2, 3, 4, 5):
            assert revolve.cost(kind, steps, slots, alpha) == least_cost(kind, steps, slots, alpha)


@pytest.mark.parametrize(("kind", "most", "alpha"), [*CASES, ("hidden", 200, 1)])
def test_plans_do_what_they_cost(kind: revolve.Kind, most: int, alpha: int) -> None:
    for steps in {1, 2, 3, 7, most}:
        for slots in (1, 2, 3, 5, 50):
            actions = revolve.plan(kind, steps, slots, alpha)
            runs = sum(a.stop - a.start for a in actions if a.kind in ("advance", "record"))
            assert runs == revolve.cost(kind, steps, slots, alpha)
            follow(kind, actions, steps, slots, alpha)


def follow(kind: str, actions: list[Action], steps: int, slots: int, alpha: int) -> None:
    """What each action needs is there, and no more is kept than there are slots."""
    states, internals, left = {0}, set[int](), steps
    for number, action in enumerate(actions):
        if action.kind in ("advance", "record"):
            assert action.start in states and action.stop <= left
            states.add(action.stop)
        if action.kind == "record":
            internals.add(action.start)
        if action.kind == "backward":
            left -= 1
            assert action.start == left
            internals.remove(left)
        if action.kind == "forget":
            states.remove(action.start)
        # The state that a step at work begins with, and its internals, are not counted.
        at_work = {a.start for a in actions[number : number + 2] if a.kind == "record"}
        counted = internals - {left - 1} if kind != "internal" else internals
        own = {s for s in states - at_work if s - 1 not in internals and s < left}
        own -= {0} if kind == "internal" else set()
        assert len(own) + alpha * len(counted) <= slots
    assert not left and states == {0}


# Gruslys et al., figures 3 to 5, as computed for the same recurrences.
@pytest.mark.parametrize(
    ("kind", "slots", "alpha", "expected"),
    [
        *[("hidden", m, 1, c) for m, c in {50: 1.65, 30: 1.82, 20: 1.92, 10: 2.21, 5: 3.1}.items()],
        ("hidden", 3, 1, 5.05),
        ("internal", 50, 1, 1.317),
        ("internal", 10, 1, 1.88),
        ("mixed", 100, 2, 1.317),
        ("mixed", 50, 2, 1.449),
        ("mixed", 100, 5, 1.332),
    ],
)
def test_published_times_of_a_thousand_steps(
    kind: revolve.Kind, slots: int, alpha: int, expected: float
) -> None:
    began = time.process_time()
    runs = revolve.cost(kind, 1000, slots, alpha)
    assert time.process_time() - began < 2
    assert revolve.relative_time(runs, 1000) == pytest.approx(expected, rel=3e-3)


def test_with_room_for_all_nothing_runs_again() -> None:
    assert revolve.cost("internal", 100, 1000) == 100
    assert revolve.cost("hidden", 100, 1000) == 199
    assert revolve.cost("mixed", 30, 1000, 5) == 30


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("hiden", 3, 3), "plan='hiden'.*hidden, internal, mixed"),
        (("hidden", 0, 3), "steps=0.*at least 1"),
        (("hidden", 3, 2.5), r"slots=2\.5.*whole number"),
        (("mixed", 3, 2, -1), "internal_slots=-1.*at least 1"),
    ],
)
def test_numbers_that_make_no_sense_are_refused(arguments: tuple, says: str) -> None:
    with pytest.raises(UnsupportedError, match=says):
        revolve.plan(*arguments)
