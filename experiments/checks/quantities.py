"""The quantities that claims are about: each a function of what is known of a claim's cells."""

import math
import statistics
from collections.abc import Sequence
from typing import Any

from mem_dfa.experiments.cells.cell import Cell
from mem_dfa.experiments.checks import reading
from mem_dfa.experiments.checks.claim import Claim, Known, NotMeasuredError

from mem_dfa.units import MEBIBYTE


def _column(name: str, known: Known, claim: Claim) -> list[Any]:
    return known.column(name, claim.cells, claim.repeats)


def _requested(known: Known, claim: Claim) -> list[int]:
    return _column("step_requested_bytes", known, claim)


def step_bytes(known: Known, claim: Claim) -> float:
    """Of a cell's step."""
    return _column("step_bytes", known, claim)[0] / MEBIBYTE


def feedback_bytes(known: Known, claim: Claim) -> int:
    """What a cell's feedback holds."""
    return _column("feedback_bytes", known, claim)[0]


def first_step_time(known: Known, claim: Claim) -> float:
    """How long a cell's first step takes, with tracing."""
    return _column("first_step_s", known, claim)[0]


def requested_spread(known: Known, claim: Claim) -> float:
    """How far apart the cells' requested step bytes are, of the least."""
    sizes = _requested(known, claim)
    return 100 * (max(sizes) - min(sizes)) / min(sizes)


def requested_share(known: Known, claim: Claim) -> float:
    """The first cell's requested step bytes over the second's."""
    one, other = _requested(known, claim)
    return one / other


def requested_a_layer(known: Known, claim: Claim) -> float:
    """By how much requested step bytes grow with a layer, from the first cell to the last."""
    return _a_layer(_requested(known, claim), claim.cells)


def held_a_layer(known: Known, claim: Claim) -> float:
    """By how much what is there before a step grows, but weights and slots."""
    resident = _column("resident_bytes", known, claim)
    variables = _column("variable_allocated_bytes", known, claim)
    return _a_layer([a - b for a, b in zip(resident, variables, strict=True)], claim.cells)


def _a_layer(sizes: Sequence[int], cells: Sequence[Cell]) -> float:
    return (sizes[-1] - sizes[0]) / (cells[-1].layers - cells[0].layers)


def growth(known: Known, claim: Claim, exponent: float) -> float:
    """How far the exponent by which requested bytes grow, at three doubled depths, is from one."""
    low, middle, high = _requested(known, claim)
    if not low < middle < high:
        return math.inf
    # Of c + a·nᵉ at doubled depths the increments have the ratio 2ᵉ.
    return abs(math.log2((high - middle) / (middle - low)) - exponent)


def step_time(known: Known, claim: Claim, cell: float = 1) -> float:
    """The step time of one of the cells, counted from 0, over the first's, all taking turns."""
    return over_first(known, claim.cells)[int(cell)]


def over_first(known: Known, cells: Sequence[Cell]) -> list[float]:
    """Each cell's step time over the first's, the medians of all turns."""
    seconds = known.found("bench", cells)["seconds"]
    return [_median_ratio(times, seconds[0]) for times in seconds]


def _median_ratio(times: Sequence[float], reference: Sequence[float]) -> float:
    return statistics.median(one / other for one, other in zip(times, reference, strict=True))


def gradient_distance(known: Known, claim: Claim) -> float:
    """How far the second cell's gradient is from the first's in float64, over the first's own."""
    reference, own = known.found("distances", claim.cells)["distances"]
    return own / reference


def wide_update_bytes(known: Known, claim: Claim) -> float:
    """Step bytes of one wide dense layer under the cell's optimizer."""
    return known.found("wide_update", claim.cells)["step_bytes"] / MEBIBYTE


def peak_distance(known: Known, claim: Claim) -> int:
    """How far a timeline's peak is from the allocator's, of the cell where that is most."""
    found = [known.found("follow", [cell]) for cell in claim.cells]
    if any(timeline["fault"] for timeline in found):
        raise NotMeasuredError
    return max(abs(one["peak_bytes"] - one["allocator_peak_bytes"]) for one in found)


def unattributed(known: Known, claim: Claim) -> float:
    """The part of a timeline's peak that has no block, phase or category."""
    return 100 * (1 - known.found("follow", claim.cells)["attributed_share"])


def recording_time(known: Known, claim: Claim) -> float:
    """The time of a recorded step over that of a plain one, taking turns."""
    plain, recorded = known.found("follow", claim.cells)["seconds"]
    return _median_ratio(recorded, plain)


def reading_time(known: Known, claim: Claim, events: float) -> float:
    """The time that reading a recording with so many events takes, of no cell."""
    return reading.seconds(int(events))
