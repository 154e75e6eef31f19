"""Measures every combination of algorithms, models, depths, batch sizes, executions and seeds.

``python -m experiments.sweep --algo bp,mem_dfa --model conv20,vgg16 --layers 1-15`` appends one
row a cell to ``measurements.csv`` under ``--out`` as soon as it is known. Interrupted or killed, it
goes on where it stopped when it is run again: a cell that has a row is not measured again, unless
it failed and ``--retry`` is given. Several sweeps may share a folder; each cell is measured by one.

Cells that are measured at the same time disturb each other's times, not their bytes.

Exit status: 0 when every cell has a good row or is refused, as one deeper than its model is, 1 when
one failed, 2 for arguments that make no sense.
"""

import collections
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from mem_dfa.experiments.cells.cell import Cell
from mem_dfa.experiments.cli import arguments, room
from mem_dfa.experiments.cli.program import command, tell_dataset
from mem_dfa.experiments.engine import engines, sweeping
from mem_dfa.experiments.engine.sweeping import Sweep
from mem_dfa.experiments.engine.worker import Limits
from mem_dfa.experiments.store import results, traces
from mem_dfa.experiments.terminal import screen
from mem_dfa.experiments.terminal.board import title

EXPECTED = {"ok", "refused"}  # not every model has every depth and fits every algorithm


def parser() -> arguments.Parser:
    """All options of `experiments.sweep`."""
    parser = arguments.Parser(
        "sweep",
        "Measures every combination of algorithms, models, depths, batch sizes, executions and "
        "seeds, each cell in processes of its own; goes on where it stopped.",
    )
    arguments.add_cell_options(parser, lists=arguments.LISTS)
    measurement = parser.group("measurement", "--steps 10 --repeats 1 --retry")
    arguments.add_length_options(measurement)
    arguments.add_repeats_option(measurement)
    measurement.add_argument(
        "--retry", action="store_true", help="measure again what failed, such as by lack of memory"
    )
    room.add_options(parser.group("room", "--workers 2 --total-memory 16GiB"))
    output = parser.group("output", "--out results --wide")
    arguments.add_out_option(output)
    arguments.add_wide_option(output)
    return parser


@command
def main(argv: Sequence[str]) -> int:
    """Runs the command line and returns its exit status."""
    options = parser().parse_args(argv)
    cells = arguments.cells(options)
    workers, limits = room.of(options)
    with engines.opened(options.scheduler, workers) as engine:
        for cell in {(cell.dataset, cell.input_shape): cell for cell in cells}.values():
            tell_dataset(options.dataset, cell)
        if engine.slots < (options.workers or 1):
            screen.note(f"--total-memory has room for {engine.slots} cells at once")
        status = measure(
            cells, options.out, options.repeats, limits, engine, options.retry, wide=options.wide
        )
    if status:
        screen.note("the same command with --retry measures what failed again")
    return status


def measure(
    cells: Sequence[Cell],
    out: str,
    repeats: int,
    limits: Limits,
    engine: engines.Engine,
    retry: bool = False,
    is_traced: bool = False,
    wide: bool = False,
) -> int:
    """Measures those cells that have no row yet, tells how all ended, and returns the status.

    With ``is_traced`` also those without a timeline, which is named after the device, too.
    """
    results.check_writable(out)
    rows = results.read(out)
    with screen.progress("checking", quiet=True) as report:
        tasks = sweeping.tasks_of(cells, engine, report)
    if is_traced:
        recorded = traces.with_files([task.cell for task in tasks], out)
        tasks = [replace(task, cell=cell) for task, cell in zip(tasks, recorded, strict=True)]
    known = Sweep(out, repeats, limits, engine, len(rows) if retry else 0).run(tasks)
    ended = [known[task.identity] for task in tasks]
    for task, row in zip(tasks, ended, strict=True):
        if row["status"] != "ok":
            screen.note(f"{row['status']}: {title(task.cell)}: {row['error']}")
    screen.show(screen.comparison(ended, wide))
    counts = collections.Counter(row["status"] for row in ended)
    print(f"{len(ended)} cells: {', '.join(f'{n} {status}' for status, n in counts.items())}")
    print(f"one row per cell: {Path(out, results.FILE_NAME)}")
    return 0 if set(counts) <= EXPECTED else 1


if __name__ == "__main__":
    sys.exit(main())
