"""What commands have in common: how they end, what they are compared with, what data they tell."""

import dataclasses
import functools
import signal
import sys
from collections.abc import Callable, Sequence

from mem_dfa.experiments.cells import errors
from mem_dfa.experiments.cells.cell import Cell
from mem_dfa.experiments.store import files
from mem_dfa.experiments.terminal import screen
from mem_dfa.profiling import TraceError

from mem_dfa import registry
from mem_dfa.data import prepared

SIGNALLED = 128  # what shells add to the number of the signal that ended a process
INTERRUPTED = SIGNALLED + signal.SIGINT
Main = Callable[[Sequence[str]], int]


def command(run: Main) -> Callable[..., int]:
    """Makes the main function of a command, whose arguments are by default the program's.

    The errors that a user can cause become one sentence each and exit status 2, those of the
    machine 1. A signal that ends it gives the status that shells report for that.
    """

    @functools.wraps(run)
    def main(argv: Sequence[str] | None = None) -> int:
        with screen.forgiving(), files.interrupting() as came:
            status = _in_sentences(run, sys.argv[1:] if argv is None else argv)
        return SIGNALLED + came[0] if came and status == INTERRUPTED else status

    return main


def _in_sentences(run: Main, argv: Sequence[str]) -> int:
    try:
        return run(argv)
    except (errors.UsageError, errors.ResultsError, TraceError, OSError) as error:
        screen.note(f"error: {error}")
        return 2
    except (errors.MeterSilentError, errors.MachineError) as error:
        screen.note(f"error: {error}")
        return 1
    except KeyboardInterrupt:
        screen.note("interrupted: every cell measured so far is in the results")
        return INTERRUPTED


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
    elif asked == "auto" and cell.model in registry.MODELS:
        own = registry.MODELS[cell.model].dataset
        screen.note(
            f"data: synthetic batches, because {prepared.DATASETS[own].title} is not in "
            f"{prepared.directory(cell.data_dir)}; {prepared.how_to_get(own, cell.data_dir)}, "
            f"or let --dataset {own} download it"
        )
