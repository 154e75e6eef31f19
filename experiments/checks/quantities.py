"""Claims, and the quantities that they are about: functions of a claim, some of a number too."""

import itertools
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mem_dfa.experiments.cells.cell import REPEATS, Cell
from mem_dfa.experiments.checks import planning, reading
from mem_dfa.experiments.paper import rules

from mem_dfa.units import MEBIBYTE, parse_bytes


class NotMeasuredError(Exception):
    """What a claim is about failed, so that the claim does not hold."""


@dataclass(frozen=True)
class Claim:
    """A promise: a quantity of these cells is at most the limit."""

    title: str
    quantity: str  # its name in `QUANTITIES`, and the number it takes: "step_bytes", "growth 0.5"
    cells: Sequence[Cell]
    limit: float | str  # in the quantity's unit; where it is measured itself, another quantity
    reference: float | None  # what other code reached
    repeats: int | None  # how many processes measure each cell; None for as many as usual
    row: Callable[[Cell, int], Mapping[str, Any]]  # a cell's measurement, of so many processes
    result: Callable[[str, tuple[Cell, ...]], Mapping[str, Any]] = lambda task, cells: {}
    """What another task of measuring processes says of cells."""

    def column(self, name: str, cells: Sequence[Cell] = (), repeats: int = 0) -> list[Any]:
        """What the rows of cells say; raises NotMeasuredError where one says nothing."""
        repeats = repeats or self.repeats or REPEATS
        values = [self.row(cell, repeats).get(name) for cell in cells or self.cells]
        if None in values:
            raise NotMeasuredError
        return values

    def requested(self) -> list[int]:
        """The requested step bytes of each cell."""
        return self.column("step_requested_bytes")

    def found(self, task: str, cells: Sequence[Cell] = ()) -> Mapping[str, Any]:
        """The result of a task; raises NotMeasuredError where it failed."""
        result = self.result(task, tuple(cells or self.cells))
        if result.get("status") != "ok":
            raise NotMeasuredError
        return result

    def over_first(self, cells: Sequence[Cell] = ()) -> list[float]:
        """Each cell's step time over the first's, the medians of all turns."""
        seconds = self.found("bench", cells)["seconds"]
        return [_median_ratio(seconds[0], times) for times in seconds]

    def a_layer(self, sizes: Sequence[int]) -> float:
        """By how much sizes grow with a layer, from the first cell to the last."""
        first, *_, last = (cell.layers or 0 for cell in self.cells)
        return (sizes[-1] - sizes[0]) / (last - first)

    def budget(self, share: float) -> float:
        """A share of bp's step bytes, of bp and of checkpointing without a budget."""
        return share * self.column("step_bytes", self.cells[:1], REPEATS)[0]

    def within(self, size: float) -> Cell:
        """Checkpointing within a budget of so many bytes."""
        return replace(self.cells[1], options=(("budget", f"{int(size)} B"),))


def _median_ratio(reference: Sequence[float], times: Sequence[float]) -> float:
    return statistics.median(one / other for one, other in zip(times, reference, strict=True))


def _requested_spread(claim: Claim) -> float:
    sizes = claim.requested()
    return 100 * (max(sizes) - min(sizes)) / min(sizes)


def _feedback_spread(claim: Claim) -> int:
    sizes = claim.column("feedback_bytes")
    return max(sizes) - min(sizes)


def _prediction_distance(claim: Claim) -> float:
    ((predicted,), (requested,)) = claim.column("predicted_step_bytes"), claim.requested()
    return 100 * abs(predicted - requested) / requested


def _share_of(claim: Claim, column: str) -> float:
    """What the first cell takes, over the second."""
    own, other = claim.column(column)
    return own / other


def _budgets(claim: Claim) -> list[int]:
    """Of each cell, in whole bytes."""
    return [parse_bytes(str(dict(cell.options)["budget"])) for cell in claim.cells]


def _budget_excess(claim: Claim) -> float:
    """By how much the requested bytes of any cell are above its budget; below it, negative."""
    pairs = zip(claim.requested(), _budgets(claim), strict=True)
    return max(requested - budget for requested, budget in pairs) / MEBIBYTE


def _budget_fall(claim: Claim) -> float:
    """By how much requested bytes fall at most from one budget to a larger one."""
    sizes = [size for _, size in sorted(zip(_budgets(claim), claim.requested(), strict=True))]
    return 100 * max(1 - later / size for size, later in itertools.pairwise(sizes))


def _held_a_layer(claim: Claim) -> float:
    columns = claim.column("resident_bytes"), claim.column("variable_allocated_bytes")
    return claim.a_layer([resident - own for resident, own in zip(*columns, strict=True)])


def _growth(claim: Claim, exponent: float) -> float:
    low, middle, high = claim.requested()
    if not low < middle < high:
        return math.inf
    # Of c + a·nᵉ at doubled depths the increments have the ratio 2ᵉ.
    return abs(math.log2((high - middle) / (middle - low)) - exponent)


def _gradient_distance(claim: Claim) -> float:
    reference, own = claim.found("distances")["distances"]
    return own / reference


def _peak_distance(claim: Claim) -> int:
    found = [claim.found("follow", [cell]) for cell in claim.cells]
    if any(timeline["fault"] for timeline in found):
        raise NotMeasuredError
    return max(abs(one["peak_bytes"] - one["allocator_peak_bytes"]) for one in found)


def _accuracies(claim: Claim) -> dict[str, float]:
    """Test accuracies (%) of rules, the mean over their seeds; of trainings that are recorded."""
    shares = claim.column("accuracy", repeats=1)
    found: dict[str, list[float]] = {}
    for cell, share in zip(claim.cells, shares, strict=True):
        found.setdefault(cell.name, []).append(100 * share)
    return {name: statistics.fmean(own) for name, own in found.items()}


def _accuracy_distance(claim: Claim) -> float:
    """In points, of one rule from what was computed independently, or published."""
    ((name, reached),), first = _accuracies(claim).items(), claim.cells[0]
    return abs(reached - rules.references(first.model)[name, first.layers or 0])


def _accuracy_overlap(claim: Claim, number: float) -> float:
    """By how many points the best of the other rules is above the worst of the first ones."""
    reached = list(_accuracies(claim).values())
    first, others = reached[: int(number)], reached[int(number) :]
    return max(others) - min(first)


def _accuracy_behind(claim: Claim) -> float:
    """By how many points the worst of the other rules is behind the first one."""
    first, *others = _accuracies(claim).values()
    return first - min(others)


def _budget_step_bytes(claim: Claim, share: float) -> float:
    return claim.column("step_bytes", [claim.within(claim.budget(share))])[0] / MEBIBYTE


def _budget_step_time(claim: Claim, number: float) -> float:
    """Of a plan over the one before: without a budget, with one it just fits, and three shares."""
    from mem_dfa.memory.checkpoint_plan import PEAK_TOLERANCE, PREDICTION_MARGIN

    root = claim.cells[1]
    peak = claim.column("predicted_step_bytes", [root])[0]
    fitting = int(peak * (1 + PREDICTION_MARGIN) * (1 + PEAK_TOLERANCE)) + 1
    sizes = [fitting, *map(claim.budget, (0.4, 0.6, 0.8))]
    times = claim.over_first([root, *map(claim.within, sizes)])
    return times[int(number)] / times[int(number) - 1]


QUANTITIES: dict[str, tuple[str, Callable[..., float]]] = {  # the unit, and the function
    "step_bytes": ("MiB", lambda claim: claim.column("step_bytes")[0] / MEBIBYTE),
    "feedback_bytes": ("B", lambda claim: claim.column("feedback_bytes")[0]),
    "feedback_spread": ("B", _feedback_spread),
    "requested_bytes": ("MiB", lambda claim: claim.requested()[0] / MEBIBYTE),
    "budget_excess": ("MiB", _budget_excess),
    "budget_fall": ("%", _budget_fall),
    "prediction_distance": ("%", _prediction_distance),
    "first_step_time": ("s", lambda claim: claim.column("first_step_s")[0]),
    # How far apart the cells are, of the least.
    "requested_spread": ("%", _requested_spread),
    "requested_share": ("ratio", lambda claim: claim.requested()[0] / claim.requested()[1]),
    # The first cell's over the second's: slots, and all there is at the peak of a step.
    "optimizer_share": ("ratio", lambda claim: _share_of(claim, "optimizer_bytes")),
    "peak_share": ("ratio", lambda claim: _share_of(claim, "peak_bytes")),
    "requested_a_layer": ("B", lambda claim: claim.a_layer(claim.requested())),
    # What is there before a step, but weights and slots.
    "held_a_layer": ("B", _held_a_layer),
    # How far the exponent by which requested bytes grow, at three doubled depths, is from one.
    "growth": ("-", _growth),
    # Of a cell, counted from 0, over the first's, all taking turns.
    "step_time": ("ratio", lambda claim, cell=1: claim.over_first()[int(cell)]),
    # The second cell's gradient from the first's in float64, over the first's own.
    "gradient_distance": ("ratio", _gradient_distance),
    # Of one wide dense layer under the cell's optimizer.
    "wide_update_bytes": ("MiB", lambda claim: claim.found("wide_update")["step_bytes"] / MEBIBYTE),
    # From a timeline's peak to the allocator's, of the cell where that is most.
    "peak_distance": ("bytes", _peak_distance),
    # The part of a timeline's peak that has no block, phase or category.
    "unattributed": ("%", lambda claim: 100 * (1 - claim.found("follow")["attributed_share"])),
    # A recorded step's over a plain one's, taking turns.
    "recording_time": ("ratio", lambda claim: _median_ratio(*claim.found("follow")["seconds"])),
    # Of a recording with so many events, of no cell.
    "reading_time": ("s", lambda claim, events: reading.seconds(int(events))),
    # Of a plan for so many blocks, of no cell.
    "planning_time": ("s", lambda claim, blocks: planning.seconds(int(blocks))),
    # After the last epoch, of rules that are trained with one rate.
    "test_error": ("%", lambda claim: 100 - min(_accuracies(claim).values())),
    "accuracy_distance": ("points", _accuracy_distance),
    "accuracy_overlap": ("points", _accuracy_overlap),
    "accuracy_behind": ("points", _accuracy_behind),
    "budget": ("MiB", lambda claim, share: claim.budget(share) / MEBIBYTE),
    "budget_step_bytes": ("MiB", _budget_step_bytes),
    "budget_step_time": ("ratio", _budget_step_time),
}
