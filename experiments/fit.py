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

from mem_dfa.experiments.cells import catalogue
from mem_dfa.experiments.cells.cell import REPEATS, Cell
from mem_dfa.experiments.cli import arguments
from mem_dfa.experiments.cli.program import called
from mem_dfa.experiments.engine import processes
from mem_dfa.experiments.engine.search import ANSWERED, MIB, Search
from mem_dfa.experiments.engine.worker import Limits
from mem_dfa.experiments.report import fit_table
from mem_dfa.experiments.run import guarded, tell_dataset
from mem_dfa.experiments.store import fit_rows, results
from mem_dfa.experiments.store.table import Row, Table
from mem_dfa.experiments.terminal import screen

from mem_dfa import units
from mem_dfa.data import prepared
from mem_dfa.machine_memory import memory_limit_bytes

TIME_LIMIT_S = 1200
STEPS = 3


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit status."""
    return guarded(_run, sys.argv[1:] if argv is None else argv)


def _run(argv: Sequence[str]) -> int:
    options = _parser().parse(argv)
    field = fit_rows.OVER[options.over]
    if getattr(options, field) not in (None, [None]):
        raise arguments.UsageError(
            f"--{field.replace('_', '-')} is what --over {options.over} searches; leave one of "
            "them out"
        )
    results.check_writable(options.out)
    for schema in (fit_rows.TRIES, fit_rows.ANSWERS):
        Table(options.out, schema).check_writable()  # is told before anything is tried
    cells = [dataclasses.replace(cell, **{field: 1}) for cell in arguments.cells(options)]
    with screen.progress("checking", quiet=True) as report:
        cells = processes.check(cells, report)
    _check_memory(options.memory, cells[0].device)
    tell_dataset(options.dataset, cells[0])
    limits = Limits(options.time_limit, options.memory // MIB * MIB)
    screen.note(f"limit of each process: {limits.memory_bytes // MIB} MiB")
    rows = [_search(cell, limits, options) for cell in cells]
    screen.show(fit_table.table(rows, options.over, limits))
    print(f"one row per answer: {Path(options.out, fit_rows.ANSWERS.name)}")
    if all(row["status"] == "too_little_memory" for row in rows):
        return 2
    return 0 if all(row["status"] in ANSWERED for row in rows) else 1


def _parser() -> arguments.Parser:
    parser = arguments.Parser(
        prog=called("fit"),
        description="The largest batch, or depth, that trains within so much memory.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--memory",
        type=memory,
        required=True,
        metavar="SIZE",
        help="of the device, for everything the process holds there, such as 8GiB; whole MiB, "
        "rounded down",
    )
    parser.add_argument(
        "--over",
        type=arguments.one_of("something to search", fit_rows.OVER),
        default="batch",
        help=f"{', '.join(fit_rows.OVER)} (default: batch)",
    )
    parser.add_argument(
        "--maximum",
        type=arguments.count,
        metavar="N",
        help="no larger size is tried (default: the images of the data set)",
    )
    arguments.add_cell_options(parser, catalogue.PEERS, data="synthetic")
    arguments.add_count(parser, "--steps", STEPS, "that a size has to train, after a first one")
    arguments.add_count(parser, "--repeats", REPEATS, "processes in which the answer has to train")
    arguments.add_count(
        parser, "--time-limit", TIME_LIMIT_S, "of a process, with tracing and compiling", "SECONDS"
    )
    arguments.add_out_option(parser)
    return parser


def memory(text: str) -> int:
    """Bytes of a limit, at least one MiB, which is the allocator's unit."""
    size = units.parse_bytes(arguments.size(text))
    if size < MIB:
        raise argparse.ArgumentTypeError(f"{text!r} is too little; take 1 MiB or more")
    return size


def _check_memory(asked_bytes: int, device: str) -> None:
    """Refuse a limit that the machine would not let a process reach."""
    has_bytes = memory_limit_bytes()
    if device.startswith("CPU") and asked_bytes > has_bytes:
        raise arguments.UsageError(
            f"--memory {units.show_bytes(asked_bytes)} is more than this machine has or allows, "
            f"{units.show_bytes(has_bytes)}; take less"
        )


def _search(cell: Cell, limits: Limits, options: argparse.Namespace) -> Row:
    maximum = options.maximum or arguments.MAXIMUM_COUNT
    if options.over == "layers":
        maximum = min(maximum, arguments.MAXIMUM_LAYERS)
    else:
        images = prepared.training_images(cell.dataset, cell.data_dir)
        maximum = min(maximum, images or maximum)
    search = Search(cell, options.over, limits, maximum, options.repeats, options.out)
    if search.remembered:
        screen.note(
            f"{cell.algorithm}: {search.remembered} tries are known from "
            f"{Path(options.out, fit_rows.TRIES.name)}; move it away to try them again"
        )
    row = search.run()
    if row["status"] == "too_little_memory":
        screen.note(_too_little(row))
    elif row["status"] == "maximum":
        screen.note(f"{cell.algorithm}: {options.over} {maximum} trains, which is the maximum")
    return row


def _too_little(row: Row) -> str:
    limit, size = units.show_bytes(row["memory_limit_bytes"]), f"{row['over']} 1"
    return f"error: --memory {limit} is too little for {row['algorithm']} with {size}; give more"


if __name__ == "__main__":
    sys.exit(main())
