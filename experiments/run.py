"""Measures training algorithms and compares them with bp, Keras's own way of training.

``python -m experiments.run --algo mem_dfa --model vgg16``

Exit status: 0 when every cell was measured, 1 when one failed, 2 for arguments that make no sense,
128 and the number of the signal that ended it, such as 130 for Ctrl-C.
"""

import sys
from collections.abc import Sequence

from mem_dfa.experiments.cli import arguments
from mem_dfa.experiments.cli.program import command, tell_dataset, with_baseline
from mem_dfa.experiments.engine import processes
from mem_dfa.experiments.store import results, traces, trainings
from mem_dfa.experiments.terminal import screen


def parser() -> arguments.Parser:
    """All options of `experiments.run`."""
    description = "Measures what training algorithms cost in memory and time, beside bp."
    parser = arguments.Parser("run", description)
    arguments.add_cell_options(parser)
    arguments.add_length_options(parser.group("measurement", "--steps 10"))
    output = parser.group("output", "--out results --wide --trace")
    arguments.add_out_option(output)
    arguments.add_wide_option(output)
    output.add_argument(
        "--trace",
        action="store_true",
        help="also write each cell's timeline, its page and its picture, and one of all cells",
    )
    return parser


@command
def main(argv: Sequence[str]) -> int:
    """Runs the command line and returns its exit status."""
    options = parser().parse_args(argv)
    results.check_writable(options.out)
    with screen.progress("checking", quiet=True) as report:
        cells = processes.check(with_baseline(arguments.cells(options)), report)
    if options.trace:
        cells = traces.with_files(cells, options.out)
    tell_dataset(options.dataset, cells[0])
    # One that is damaged is told before hours of training.
    for number, cell in enumerate(cells):
        if cell.epochs:
            trainings.read(options.out, cell)
            cells[number] = trainings.resumable(options.out, cell)
    rows = []
    for number, cell in enumerate(cells):
        with screen.progress(f"{number + 1}/{len(cells)} {cell.title}") as report:
            row, epochs = processes.measure(cell, report)
        path = trainings.keep(options.out, cell, row, epochs)
        if row["error"]:
            screen.note(f"{cell.title}: {row['status']}: {row['error']}")
        rows.append(row)
    screen.show(screen.comparison(rows, options.wide))
    print(f"one row per cell: {path}")
    if options.trace:
        with screen.progress("drawing timelines"):
            written = traces.render(rows, options.out)
        for file in written:
            print(f"timeline: {file}")
    whole = all(row["status"] == "ok" and not (options.trace and row["error"]) for row in rows)
    return 0 if whole else 1


if __name__ == "__main__":
    sys.exit(main())
