"""Measures training algorithms and compares them with bp, Keras's own way of training.

``python -m experiments.run --algo mem_dfa --model vgg16``

Exit status: 0 when every cell was measured, 1 when one failed, 2 for arguments that make no sense,
128 and the number of the signal that ended it, such as 130 for Ctrl-C.
"""

import dataclasses
import signal
import sys
from collections.abc import Callable, Sequence

from mem_dfa.experiments.cells.cell import Cell
from mem_dfa.experiments.cli import arguments
from mem_dfa.experiments.cli.program import called
from mem_dfa.experiments.engine import processes
from mem_dfa.experiments.store import results, stopping, traces, trainings
from mem_dfa.experiments.terminal import screen
from mem_dfa.profiling import TraceError

from mem_dfa import registry
from mem_dfa.data import prepared

SIGNALLED = 128  # what shells add to the number of the signal that ended a process
INTERRUPTED = SIGNALLED + signal.SIGINT


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit status."""
    return guarded(_run, sys.argv[1:] if argv is None else argv)


def guarded(command: Callable[[Sequence[str]], int], argv: Sequence[str]) -> int:
    """Runs ``command`` and turns the errors that a user can cause into one sentence each.

    A signal that ends it gives the status that shells report for that.
    """
    with screen.forgiving(), stopping.interrupting() as came:
        status = _in_sentences(command, argv)
    return SIGNALLED + came[0] if came and status == INTERRUPTED else status


def _in_sentences(command: Callable[[Sequence[str]], int], argv: Sequence[str]) -> int:
    try:
        return command(argv)
    except (arguments.UsageError, results.ResultsError, TraceError) as error:
        screen.note(f"error: {error}")
        return 2
    except (processes.MeterSilentError, processes.MachineError) as error:
        screen.note(f"error: {error}")
        return 1
    except KeyboardInterrupt:
        screen.note("interrupted: every cell measured so far is in the results")
        return INTERRUPTED


def parser() -> arguments.Parser:
    """All options of `experiments.run`."""
    parser = arguments.Parser(
        prog=called("run"),
        description="Measures what training algorithms cost in memory and time, beside bp.",
        allow_abbrev=False,
    )
    arguments.add_cell_options(parser)
    arguments.add_length_options(parser)
    arguments.add_out_option(parser)
    arguments.add_trace_option(parser)
    return parser


def _run(argv: Sequence[str]) -> int:
    options = parser().parse(argv)
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
    screen.show(screen.comparison(rows))
    print(f"one row per cell: {path}")
    if options.trace:
        with screen.progress("drawing timelines"):
            written = traces.render(rows, options.out)
        for file in written:
            print(f"timeline: {file}")
    whole = all(row["status"] == "ok" and not (options.trace and row["error"]) for row in rows)
    return 0 if whole else 1


def with_baseline(cells: Sequence[Cell]) -> list[Cell]:
    """Puts bp before each depth where it is missing; it is measured there, not trained."""
    if any(cell.algorithm == "bp" for cell in cells):
        return list(cells)
    complete: list[Cell] = []
    for cell in cells:
        if not complete or complete[-1].layers != cell.layers:
            complete.append(dataclasses.replace(cell, algorithm="bp", epochs=0, options=()))
        complete.append(cell)
    return complete


def tell_dataset(asked: str, cell: Cell) -> None:
    """Says which data the numbers are from and, if synthetic by default, how to get real ones."""
    if cell.dataset != "synthetic":
        screen.note(f"data: {prepared.label(cell.dataset, cell.data_dir)}")
    elif asked == "auto":
        own = registry.MODELS[cell.model].dataset
        screen.note(
            f"data: synthetic batches, because {prepared.DATASETS[own].title} is not in "
            f"{prepared.directory(cell.data_dir)}; {prepared.how_to_get(own, cell.data_dir)}, "
            f"or let --dataset {own} download it"
        )


if __name__ == "__main__":
    sys.exit(main())
