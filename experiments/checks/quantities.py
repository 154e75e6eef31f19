"""The quantities that claims are about: each a function of what is known of a claim's cells."""

import math
import statistics
from collections.abc import Sequence
from typing import Any, Protocol

from mem_dfa.experiments.cells.cell import Cell
from mem_dfa.experiments.checks import reading
from mem_dfa.experiments.checks.finding import Claim, Known, NotMeasuredError, Quantity

from mem_dfa.units import MEBIBYTE


class Measuring(Known, Protocol):
    """What measures more of cells than a column of measurements says."""

    def seconds(self, cells: Sequence[Cell]) -> list[list[float]]:
        """Each cell's step times, turn by turn."""

    def result(self, task: str, cells: Sequence[Cell], note: str) -> dict[str, Any]:
        """What a task in a process of its own found."""


def _all(known: Known, claim: Claim, what: str) -> list[Any]:
    return known.numbers(claim.cells, what, claim.repeats)


def _requested(known: Known, claim: Claim) -> list[int]:
    return _all(known, claim, "step_requested_bytes")


STEP_BYTES = Quantity("MiB", lambda known, claim: _all(known, claim, "step_bytes")[0] / MEBIBYTE)
FEEDBACK_BYTES = Quantity("B", lambda known, claim: _all(known, claim, "feedback_bytes")[0])
FIRST_STEP_TIME = Quantity("s", lambda known, claim: _all(known, claim, "first_step_s")[0])


def _spread(known: Known, claim: Claim) -> float:
    sizes = _requested(known, claim)
    return 100 * (max(sizes) - min(sizes)) / min(sizes)


REQUESTED_SPREAD = Quantity("%", _spread)
"""How far apart the cells' requested step bytes are, of the least."""


def _share(known: Known, claim: Claim) -> float:
    one, other = _requested(known, claim)
    return one / other


REQUESTED_SHARE = Quantity("ratio", _share)
"""The first cell's requested step bytes over the second's."""


def _a_layer(sizes: Sequence[int], cells: Sequence[Cell]) -> float:
    return (sizes[-1] - sizes[0]) / (cells[-1].layers - cells[0].layers)


def _held_a_layer(known: Known, claim: Claim) -> float:
    pairs = zip(
        _all(known, claim, "resident_bytes"),
        _all(known, claim, "variable_allocated_bytes"),
        strict=True,
    )
    return _a_layer([resident - variables for resident, variables in pairs], claim.cells)


REQUESTED_A_LAYER = Quantity(
    "B", lambda known, claim: _a_layer(_requested(known, claim), claim.cells)
)
"""By how much requested step bytes grow with a layer, from the first cell to the last."""
HELD_A_LAYER = Quantity("B", _held_a_layer)
"""By how much what is there before a step grows, but weights and slots."""


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
    return Quantity("ratio", lambda kit, claim: times_over_first(kit, claim.cells)[cell])


def times_over_first(kit: Measuring, cells: Sequence[Cell]) -> list[float]:
    """Each cell's step time over the first's, the medians of all turns."""
    seconds = kit.seconds(cells)
    return [_median_ratio(times, seconds[0]) for times in seconds]


def _median_ratio(times: Sequence[float], reference: Sequence[float]) -> float:
    return statistics.median(time / other for time, other in zip(times, reference, strict=True))


def _distance(kit: Measuring, claim: Claim) -> float:
    note = f"{claim.cells[0].model}: gradients in float32 and float64"
    reference, own = kit.result("distances", claim.cells, note)["distances"]
    return own / reference


GRADIENT_DISTANCE = Quantity("ratio", _distance)
"""How far the second cell's gradient is from the first's in float64, over the first's own."""


def _wide_update(kit: Measuring, claim: Claim) -> float:
    note = f"one wide dense layer, {claim.cells[0].optimizer}"
    return kit.result("wide_update", claim.cells, note)["step_bytes"] / MEBIBYTE


WIDE_UPDATE_BYTES = Quantity("MiB", _wide_update)
"""Step bytes of one wide dense layer under the cell's optimizer."""


def _timeline(kit: Measuring, cell: Cell) -> dict[str, Any]:
    return kit.result("follow", [cell], f"timeline of {cell.title}")


def _peak_distance(kit: Measuring, claim: Claim) -> int:
    found = [_timeline(kit, cell) for cell in claim.cells]
    if any(timeline["fault"] for timeline in found):
        raise NotMeasuredError
    return max(abs(t["peak_bytes"] - t["allocator_peak_bytes"]) for t in found)


PEAK_DISTANCE = Quantity("bytes", _peak_distance)
"""How far a timeline's peak is from the allocator's, of the cell where that is most."""
UNATTRIBUTED = Quantity(
    "%", lambda kit, claim: 100 * (1 - _timeline(kit, claim.cells[0])["attributed_share"])
)
"""The part of a timeline's peak that has no block, phase or category."""


def _recording_time(kit: Measuring, claim: Claim) -> float:
    plain, recorded = _timeline(kit, claim.cells[0])["seconds"]
    return _median_ratio(recorded, plain)


RECORDING_TIME = Quantity("ratio", _recording_time)
"""The time of a recorded step over that of a plain one, taking turns."""
READING_TIME = Quantity("s", lambda kit, claim: reading.seconds())
"""The time that reading a recording takes."""
