"""What a figure of the reproduction is: of which cells, how they are measured, what it lacks."""

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mem_dfa.experiments.cells.cell import REPEATS, Cell
from mem_dfa.experiments.engine.worker import Limits
from mem_dfa.experiments.paper import rules
from mem_dfa.experiments.store import fit_rows, results, traces, trainings
from mem_dfa.experiments.store.table import Row

# With a median of several processes; what shows how memory grows, or no memory at all, needs none.
_REPEATED = ("pareto", "timelines", "accuracy", "tradeoff")
FIT_MEMORY_BYTES = 2**30
"""Within which the largest batches are searched."""


@dataclass(frozen=True)
class How:
    """How cells are measured."""

    repeats: int
    is_traced: bool = False  # whether a timeline of each is kept
    takes_turns: bool = False  # whether their steps are timed in turns, beside each other
    limits: Limits | None = None  # of each process; None for those that a sweep has by default
    is_fitted: bool = False  # whether the largest batch is searched, in place of measuring one


Wanted = dict[How, list[Cell]]


@dataclass(frozen=True)
class PlannedFigure:
    """A figure: of which cells, and of which in small; without the latter it has no small one."""

    name: str
    title: str
    cells: tuple[Cell, ...]
    quick: tuple[Cell, ...] = ()

    @property
    def kind(self) -> str:
        """What it shows: a key of `pictures.drawings.DRAWINGS`."""
        return self.name.partition("_")[0]

    def wanted(self, quick: bool) -> Wanted:
        """Its cells, or those in small, by how they are measured."""
        is_traced, takes_turns = self.kind == "timelines", self.kind == "bench"
        limits = Limits(time_s=1200, memory_bytes=8 * 2**30) if self.kind == "depth" else None
        wanted: Wanted = {}
        for cell in self.quick if quick else self.cells:
            is_single = cell.epochs or (quick and not is_traced) or self.kind not in _REPEATED
            repeats = 1 if is_single else REPEATS
            how = How(repeats, is_traced, takes_turns, limits, is_fitted=self.kind == "fit")
            wanted.setdefault(how, []).append(cell)
        return wanted

    def command(self, out: str, quick: bool) -> str:
        """What measures the cells that it lacks."""
        words = ["python", "-m", "experiments.reproduce", "--figure", self.name]
        return shlex.join([*words, *(["--quick"] if quick else []), "--out", out])


def missing(wanted: Wanted, out: str) -> Wanted:
    """What of the cells of one figure is not known yet, measured in the same way.

    Where one of them was measured with a newer TensorFlow, that version counts alone, as it does
    for the figure. ResultsError where a table is damaged.
    """
    rows, every = results.read(out), [cell for cells in wanted.values() for cell in cells]
    found: Wanted = {}
    for how, cells in wanted.items():
        if how.is_traced:
            found[how] = [cell for cell in cells if not traces.found(cell, out)]
        elif how.is_fitted:
            answered = [
                row["algorithm"]
                for row in fit_rows.largest_batches(out, cells[0].model, FIT_MEMORY_BYTES)
            ]
            found[how] = [cell for cell in cells if cell.algorithm not in answered]
        elif how.takes_turns:
            found[how] = cells if len(results.turns(out, cells)) < len(cells) else []
        else:
            lacking = {cell.key() for cell in results.select(rows, every, how.repeats).missing}
            lacking |= {c.key() for c in cells if c.epochs and not trainings.read(out, c)}
            lacking -= {cell.key() for cell in rules.passed_over(out, cells)}
            found[how] = [cell for cell in cells if cell.key() in lacking]
    return {how: cells for how, cells in found.items() if cells}


def recorded_seconds(cells: Iterable[Cell], rows: Sequence[Row]) -> tuple[float, int]:
    """How long cells took when they were measured before, and of how many that is not known."""
    free, timed = results.FREE, [row for row in rows if row["cell_time_s"]]
    known = {Cell.of(row).key(*free): row["cell_time_s"] for row in timed}
    seconds = [known.get(cell.key(*free)) for cell in cells]
    return sum(filter(None, seconds)), seconds.count(None)
