"""What figures and tables lack: the cells that they want without those that are known."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from mem_dfa.experiments.cells.cell import Cell
from mem_dfa.experiments.paper.planned_figures import ALL, PlannedFigure, Wanted, wanted_by
from mem_dfa.experiments.store import bench_rows, fit_rows, measured, results, traces, trainings
from mem_dfa.experiments.store.files import TABLES
from mem_dfa.experiments.store.table import Row

FIT_MEMORY_BYTES, FIT_MODEL = 2**30, "vgg16"
"""What the table of largest batches is of."""


def missing_of(figure: PlannedFigure, quick: bool, out: str) -> list[Wanted]:
    """What a figure wants and has not, measured in the same way.

    Where a cell of the figure was measured with a newer TensorFlow, that version counts alone, as
    it does for the figure.

    Raises:
        ResultsError: a table is damaged.
    """
    wanted = wanted_by(figure, quick)
    beside = [cell for one in wanted if not one.is_traced for cell in one.cells]
    rows = results.read(out)
    found = [_missing(one, beside, rows, out) for one in wanted]
    return [
        Wanted(tuple(cells), one.repeats, one.is_traced, one.takes_turns, one.limits)
        for one, cells in zip(wanted, found, strict=True)
        if cells
    ]


def _missing(one: Wanted, beside: Sequence[Cell], rows: Sequence[Row], out: str) -> list[Cell]:
    if one.is_traced:
        return [cell for cell in one.cells if not traces.found(cell, out)]
    if one.takes_turns:
        is_whole = len(bench_rows.newest(out, one.cells)) == len(one.cells)
        return [] if is_whole else list(one.cells)
    selection = measured.select(rows, beside, one.repeats)
    lacking = {cell.key() for cell in selection.missing}
    return [
        cell
        for cell in one.cells
        if cell.key() in lacking or (cell.epochs and not trainings.read(out, cell))
    ]


def is_fitted(out: str | os.PathLike[str]) -> bool:
    """Whether the table of largest batches has an answer for every algorithm."""
    answers = fit_rows.answers(out).values()
    known = {
        row["algorithm"]
        for row in answers
        if (row["memory_limit_bytes"], row["model"], row["over"])
        == (FIT_MEMORY_BYTES, FIT_MODEL, "batch")
    }
    return known >= set(ALL)


def recorded_seconds(cells: Iterable[Cell], rows: Sequence[Row]) -> tuple[float, int]:
    """How long cells took when they were measured before, and of how many that is not known."""
    known = {
        Cell.of(row).key(*measured.FREE): row["cell_time_s"] for row in rows if row["cell_time_s"]
    }
    seconds = [known.get(cell.key(*measured.FREE)) for cell in cells]
    return sum(filter(None, seconds)), seconds.count(None)


def is_claimed(part: str, out: str | os.PathLike[str]) -> bool:
    """Whether there is a table of a part of the claims."""
    return Path(out, TABLES, f"claims_{part}.csv").exists()
