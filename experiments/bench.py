"""Compares the step times of algorithms that take turns in one process.

``python -m experiments.bench --algo bp,mem_dfa --model conv20``

Turns share what disturbs a machine, so their ratio is steadier than that of two separate runs.
"""

import statistics
import sys
from collections.abc import Sequence

from rich.table import Table

from experiments import arguments, display, sweep, worker
from experiments.plan import Cell
from experiments.run import guarded, tell_dataset


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit status."""
    return guarded(_run, sys.argv[1:] if argv is None else argv)


def _run(argv: Sequence[str]) -> int:
    parser = arguments.Parser(
        prog="python -m experiments.bench",
        description="Step times of algorithms that take turns in one process.",
        allow_abbrev=False,
    )
    arguments.add_cell_options(parser)
    options = parser.parse(argv)
    with display.progress("checking", quiet=True) as report:
        cells = sweep.check(arguments.cells(options), report)
    tell_dataset(options.dataset, cells[0])
    with display.progress("taking turns") as report:
        result = worker.call("bench", cells, report)
    if result["status"] != "ok":
        display.note(f"{result['status']}: {result['error']}")
        return 1
    display.show(_table(cells, result["seconds"]))
    return 0


def _table(cells: Sequence[Cell], seconds: Sequence[Sequence[float]]) -> Table:
    table = Table(title="Time of one training step (ms), and its ratio to the first in each turn")
    for name in ("algorithm", "layers", "median", "min", "max", "ratio", "ratio min", "ratio max"):
        table.add_column(name, justify="right" if name not in ("algorithm", "layers") else "left")
    for cell, times in zip(cells, seconds, strict=True):
        turns = ratios(times, seconds[0])
        table.add_row(
            cell.algorithm,
            str(cell.layers or "all"),
            *(
                f"{value * 1000:.1f}"
                for value in (statistics.median(times), min(times), max(times))
            ),
            *(f"{value:.3f}" for value in (statistics.median(turns), min(turns), max(turns))),
        )
    return table


def ratios(times: Sequence[float], reference: Sequence[float]) -> list[float]:
    """The ratio of two algorithms' step times in each turn."""
    return [time / other for time, other in zip(times, reference, strict=True)]


if __name__ == "__main__":
    sys.exit(main())
