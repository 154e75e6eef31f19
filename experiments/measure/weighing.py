"""What a step asks for, and what it finds there, by block and category. Imports TensorFlow."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import keras
import pandas as pd
from mem_dfa.experiments.cells.cell import Cell
from mem_dfa.experiments.cells.report import Report
from mem_dfa.experiments.measure import measuring
from mem_dfa.profiling.timeline.data import by_block_and_category

from mem_dfa import profiling

UNNAMED = "other/resident"
QUIET_LOOKS = 5


def weigh_all(cells: Sequence[Cell], report: Report) -> dict[str, Any]:
    """The ``weights`` of each cell, by its title, one after another in this process."""
    weights = {}
    for number, cell in enumerate(cells):
        report(cell.title, number / len(cells))
        weights[cell.title] = weigh(cell, report)
        keras.backend.clear_session(free_memory=True)
    return {"weights": weights}


def weigh(cell: Cell, report: Report) -> dict[str, Any]:
    """Bytes that the step in the middle asked for, by "block/category", and what measured them.

    They are ``kept`` for the backward pass, of the ``step`` at its peak, and ``resident`` before.
    Steps differ where operations may run in either order, or a thread is held up between its last
    use of a tensor and its release. TraceError where a step's events are not complete.
    """
    with profiling.trace(title="making", device=cell.device) as making:
        allocator, trainer, batch, _ = measuring.warmed_up(cell, report)
        settle(allocator.current_bytes)
    kept, steps, residents = [], [], []
    for number in range(cell.steps):
        report(f"recording {number + 1} of {cell.steps}", 0.3 + 0.7 * number / cell.steps)
        with profiling.trace(trainer, title=cell.title, allocator=allocator) as timeline:
            measuring.timed_step(trainer, batch)
        timeline.require_exact()
        kept.append(_kept(timeline))
        steps.append(timeline.requested_at_peak())
        residents.append(timeline.requested_resident())
    return {
        "kept": _named(in_the_middle(kept)),
        "step": _named(in_the_middle(steps)),
        "resident": _exact(_named(min(residents, key=pd.Series.sum)), making),
        "device": allocator.device,
        **measuring.VERSIONS,
    }


def settle(current_bytes: Callable[[], int]) -> None:
    """Waits until the allocator's bytes have stayed the same for a tenth of a second.

    A thread that is held up releases what it had after a step, and would seem to keep it.
    """
    looks = [current_bytes()]
    while looks[-1 - QUIET_LOOKS :] != looks[-1:] * (1 + QUIET_LOOKS):
        time.sleep(0.1 / QUIET_LOOKS)
        looks.append(current_bytes())


def in_the_middle(steps: Sequence[pd.Series]) -> pd.Series:
    """The step whose sum of bytes is the median, the greater of two in the middle."""
    return sorted(steps, key=pd.Series.sum)[len(steps) // 2]


def _kept(timeline: profiling.Timeline) -> pd.Series:
    """What is alive, of the step's own, when the first gradient is formed: nothing under XLA."""
    tensors = timeline.tensors
    own = tensors["start_ns"] >= 0
    first_ns = tensors.loc[own & (tensors["phase"] == "backward"), "start_ns"].min()
    alive = own & (tensors["start_ns"] < first_ns) & (tensors["end_ns"] > first_ns)
    return by_block_and_category(tensors, alive * tensors["requested_bytes"])


def _exact(residents: dict[str, int], making: profiling.Timeline) -> dict[str, int]:
    """The same with what nobody could name as it was asked for when it was made."""
    # A step's events tell only its chunk, which may be twice as large, by what happened to be free.
    tensors = making.tensors
    stays = (tensors["start_ns"] >= 0) & (tensors["end_ns"] > making.duration_ns)
    asked_for = int(tensors.loc[stays, "requested_bytes"].sum())
    named = {name: size for name, size in residents.items() if name != UNNAMED}
    return named | {UNNAMED: asked_for - sum(named.values())}


def _named(sums: pd.Series) -> dict[str, int]:
    return {"/".join(place): int(size) for place, size in sums.items()}
