"""The quantities that claims are about: each a function of what is known of a claim's cells."""

import math
import statistics
from collections.abc import Callable, Sequence
from typing import Any

from mem_dfa.experiments.cells.cell import Cell
from mem_dfa.experiments.checks import reading
from mem_dfa.experiments.checks.finding import Claim, Known, NotMeasuredError, Quantity

from mem_dfa.units import MEBIBYTE


def quantity(unit: str) -> Callable[[Callable[[Known, Claim], float]], Quantity]:
    """Makes a quantity of a function."""
    return lambda of: Quantity(unit, of)


def _column(known: Known, claim: Claim, name: str) -> list[Any]:
    return known.numbers(claim.cells, name, claim.repeats)


def _requested(known: Known, claim: Claim) -> list[int]:
    return _column(known, claim, "step_requested_bytes")


@quantity("MiB")
def step_bytes(known: Known, claim: Claim) -> float:
    """Of a cell's step."""
    return _column(known, claim, "step_bytes")[0] / MEBIBYTE


@quantity("B")
def feedback_bytes(known: Known, claim: Claim) -> int:
    """What a cell's feedback holds."""
    return _column(known, claim, "feedback_bytes")[0]


@quantity("s")
def first_step_time(known: Known, claim: Claim) -> float:
    """How long a cell's first step takes, with tracing."""
    return _column(known, claim, "first_step_s")[0]


@quantity("%")
def requested_spread(known: Known, claim: Claim) -> float:
    """How far apart the cells' requested step bytes are, of the least."""
    sizes = _requested(known, claim)
    return 100 * (max(sizes) - min(sizes)) / min(sizes)


@quantity("ratio")
def requested_share(known: Known, claim: Claim) -> float:
    """The first cell's requested step bytes over the second's."""
    one, other = _requested(known, claim)
    return one / other


@quantity("B")
def requested_a_layer(known: Known, claim: Claim) -> float:
    """By how much requested step bytes grow with a layer, from the first cell to the last."""
    return _a_layer(_requested(known, claim), claim.cells)


@quantity("B")
def held_a_layer(known: Known, claim: Claim) -> float:
    """By how much what is there before a step grows, but weights and slots."""
    names = ("resident_bytes", "variable_allocated_bytes")
    resident, variables = (_column(known, claim, name) for name in names)
    return _a_layer([a - b for a, b in zip(resident, variables, strict=True)], claim.cells)


def _a_layer(sizes: Sequence[int], cells: Sequence[Cell]) -> float:
    return (sizes[-1] - sizes[0]) / (cells[-1].layers - cells[0].layers)


def growth(exponent: float) -> Quantity:
    """How far requested bytes at three doubled depths are from growing with this exponent."""
    return Quantity("-", lambda known, claim: off_growth(_requested(known, claim), exponent))


def off_growth(sizes: Sequence[float], exponent: float) -> float:
    """How far the exponent by which sizes at three doubled depths grow is from another."""
    low, middle, high = sizes
    if not low < middle < high:
        return math.inf
    # Of c + a·nᵉ at doubled depths the increments have the ratio 2ᵉ.
    return abs(math.log2((high - middle) / (middle - low)) - exponent)


def step_time(cell: int = 1) -> Quantity:
    """The step time of one of the claim's cells over the first's, all taking turns."""
    return Quantity("ratio", lambda known, claim: times_over_first(known, claim.cells)[cell])


def times_over_first(known: Known, cells: Sequence[Cell]) -> list[float]:
    """Each cell's step time over the first's, the medians of all turns."""
    seconds = known.found("bench", cells)["seconds"]
    return [_median_ratio(times, seconds[0]) for times in seconds]


def _median_ratio(times: Sequence[float], reference: Sequence[float]) -> float:
    return statistics.median(one / other for one, other in zip(times, reference, strict=True))


@quantity("ratio")
def gradient_distance(known: Known, claim: Claim) -> float:
    """How far the second cell's gradient is from the first's in float64, over the first's own."""
    reference, own = known.found("distances", claim.cells)["distances"]
    return own / reference


@quantity("MiB")
def wide_update_bytes(known: Known, claim: Claim) -> float:
    """Step bytes of one wide dense layer under the cell's optimizer."""
    return known.found("wide_update", claim.cells)["step_bytes"] / MEBIBYTE


@quantity("bytes")
def peak_distance(known: Known, claim: Claim) -> int:
    """How far a timeline's peak is from the allocator's, of the cell where that is most."""
    found = [known.found("follow", [cell]) for cell in claim.cells]
    if any(timeline["fault"] for timeline in found):
        raise NotMeasuredError
    return max(abs(one["peak_bytes"] - one["allocator_peak_bytes"]) for one in found)


@quantity("%")
def unattributed(known: Known, claim: Claim) -> float:
    """The part of a timeline's peak that has no block, phase or category."""
    return 100 * (1 - known.found("follow", claim.cells)["attributed_share"])


@quantity("ratio")
def recording_time(known: Known, claim: Claim) -> float:
    """The time of a recorded step over that of a plain one, taking turns."""
    plain, recorded = known.found("follow", claim.cells)["seconds"]
    return _median_ratio(recorded, plain)


@quantity("s")
def reading_time(known: Known, claim: Claim) -> float:
    """The time that reading a recording takes, of no cell."""
    return reading.seconds()
