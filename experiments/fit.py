"""How large can I go? The largest batch, or depth, that trains within so much memory.

``python -m experiments.fit --memory 8GiB --model vgg16 --algo bp,mem_dfa``

Each size is tried by real training steps in a process of its own, whose allocator has the limit;
the answer is a size that trained, and one more did not. Every try is a row of ``fit_tries.csv`` in
``tables`` under ``--out`` at once, so a rerun goes on where the last one ended, and every answer
one of ``fit.csv``. Exit status: 0 when every algorithm has an answer, 1 when one has none, 2 for
arguments that make no sense, as memory in which no algorithm trains.
"""

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mem_dfa.experiments.cells import catalogue
from mem_dfa.experiments.cells.cell import Cell
from mem_dfa.experiments.cells.errors import UsageError
from mem_dfa.experiments.cli import arguments, room, values
from mem_dfa.experiments.cli.program import command, tell_dataset
from mem_dfa.experiments.engine import processes
from mem_dfa.experiments.engine.search import ANSWERED, MIB, Search
from mem_dfa.experiments.engine.worker import Limits
from mem_dfa.experiments.report import fit_table
from mem_dfa.experiments.store import fit_rows, results
from mem_dfa.experiments.store.table import Row, Table
from mem_dfa.experiments.terminal import screen

from mem_dfa import units
from mem_dfa.data import prepared
from mem_dfa.machine_memory import memory_limit_bytes


@command
def main(argv: Sequence[str]) -> int:
    """Runs the command line and returns its exit status."""
    options = _parser().parse_args(argv)
    field = fit_rows.OVER[options.over]
    if getattr(options, field) not in (None, [None]):
        raise UsageError(
            f"--{field.replace('_', '-')} is what --over {options.over} searches; leave one of "
            "them out"
        )
    limit = units.parse_bytes(options.memory) // MIB
    if not limit:
        raise UsageError(f"--memory {options.memory} is too little; take 1 MiB or more")
    results.check_writable(options.out)
    for schema in (fit_rows.TRIES, fit_rows.ANSWERS):
        Table(options.out, schema).check_writable()  # is told before anything is tried
    smallest: dict[str, Any] = {field: 1}
    cells = [dataclasses.replace(cell, **smallest) for cell in arguments.cells(options)]
    with screen.progress("checking", quiet=True) as report:
        cells = processes.check(cells, report)
    most = memory_limit_bytes()
    if cells[0].device.startswith("CPU") and limit > most // MIB:
        raise UsageError(
            f"--memory {options.memory} is more than this machine has or allows, "
            f"{units.show_bytes(most)}; take less"
        )
    tell_dataset(options.dataset, cells[0])
    screen.note(f"limit of each process: {limit} MiB")
    limits = Limits(options.time_limit or room.TIME_LIMIT_S, limit * MIB)
    rows = [_search(cell, limits, options) for cell in cells]
    screen.show(fit_table.table(rows, options.over, limit * MIB))
    print(f"one row per answer: {Path(options.out, fit_rows.ANSWERS.name)}")
    if all(row["status"] == "too_little_memory" for row in rows):
        return 2
    return 0 if all(row["status"] in ANSWERED for row in rows) else 1


def _parser() -> arguments.Parser:
    description = "The largest batch, or depth, that trains within so much memory."
    parser = arguments.Parser("fit", description)
    search = parser.group("search", "--memory 8GiB --over batch")
    search.add_argument(
        "--memory",
        type=values.size,
        required=True,
        metavar="SIZE",
        help="of the device, for everything the process holds there, such as 8GiB; whole MiB, "
        "rounded down",
    )
    search.add_argument(
        "--over",
        type=values.one_of("something to search", fit_rows.OVER),
        default="batch",
        metavar="NAME",
        help=f"{', '.join(fit_rows.OVER)} (default: batch)",
    )
    search.add_argument(
        "--maximum",
        type=values.count,
        metavar="N",
        help="no larger size is tried (default: the images of the data set)",
    )
    arguments.add_cell_options(parser, catalogue.PEERS)
    measurement = parser.group("measurement", "--steps 3 --repeats 1 --time-limit 1200")
    arguments.add_steps_option(measurement)
    arguments.add_repeats_option(measurement)
    room.add_time_limit_option(measurement)
    arguments.add_out_option(parser.group("output", "--out results"))
    return parser


def _search(cell: Cell, limits: Limits, options: argparse.Namespace) -> Row:
    maximum = options.maximum or values.MAXIMUM_COUNT
    if options.over == "layers":
        maximum = min(maximum, values.MAXIMUM_LAYERS)
    else:
        known = cell.dataset in prepared.DATASETS
        images = prepared.training_images(cell.dataset, cell.data_dir) if known else None
        maximum = min(maximum, images or maximum)
    search = Search(cell, options.over, limits, maximum, options.repeats, options.out)
    if search.remembered:
        screen.note(
            f"{cell.algorithm}: {search.remembered} tries are known from "
            f"{Path(options.out, fit_rows.TRIES.name)}; move it away to try them again"
        )
    row = search.run()
    if row["status"] == "too_little_memory":
        limit = f"--memory {units.show_bytes(limits.memory_bytes or 0)} is too little"
        screen.note(f"error: {limit} for {cell.algorithm} with {options.over} 1; give more")
    elif row["status"] == "maximum":
        screen.note(f"{cell.algorithm}: {options.over} {maximum} trains, which is the maximum")
    return row


if __name__ == "__main__":
    sys.exit(main())
