"""Measures every combination of algorithms, models, depths, batch sizes, executions and seeds.

``python -m experiments.sweep --algo bp,mem_dfa --model conv20,vgg16 --layers 1-15`` appends one
row a cell to ``measurements.csv`` under ``--out`` as soon as it is known. Interrupted or killed, it
goes on where it stopped when it is run again: a cell that has a row is not measured again, unless
it failed and ``--retry`` is given. Several sweeps may share a folder; each cell is measured by one.

Cells that are measured at the same time disturb each other's times, not their bytes.

Exit status: 0 when every cell has a good row or is refused, as one deeper than its model is, 1 when
one failed, 2 for arguments that make no sense.
"""

import argparse
import collections
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent import futures
from dataclasses import dataclass, replace
from pathlib import Path

from mem_dfa.experiments.cells.cell import Cell
from mem_dfa.experiments.cli import screen, sweep_options
from mem_dfa.experiments.cli.board import Board, title
from mem_dfa.experiments.engine import engines, processes, unfinished
from mem_dfa.experiments.engine.worker import Limits
from mem_dfa.experiments.run import guarded, tell_dataset
from mem_dfa.experiments.store import results, stopping, sweep_rows, trainings
from mem_dfa.experiments.store.sweep_rows import Holds

POLL_S = 0.2
EXPECTED = ("ok", "refused")  # not every model has every depth and fits every algorithm


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit status."""
    return guarded(_run, sys.argv[1:] if argv is None else argv)


def _run(argv: Sequence[str]) -> int:
    options = sweep_options.parser().parse(argv)
    cells = sweep_options.cells(options)
    workers, limits = sweep_options.room(options)
    results.check_writable(options.out)
    rows = results.read(options.out)
    with engines.opened(options.scheduler, workers) as engine:
        tasks = _tasks(cells, _survey(cells, engine))
        for cell in {(cell.dataset, cell.input_shape): cell for cell in cells}.values():
            tell_dataset(options.dataset, cell)
        if engine.slots < (options.workers or 1):
            screen.note(f"--memory has room for {engine.slots} cells at once")
        sweep = Sweep(
            options.out, options.repeats, limits, engine, len(rows) if options.retry else 0
        )
        known = sweep.run(tasks)
    return _tell(tasks, known, sweep.gone(known), options)


def _survey(cells: Sequence[Cell], engine: engines.Engine) -> processes.Survey:
    with screen.progress("checking", quiet=True) as report:
        told = report if engine.in_this_process else processes.silent
        return engines.outcome(engine.submit(processes.survey, cells, told))


@dataclass(frozen=True)
class Task:
    """A cell, and what its row will say it is about."""

    cell: Cell
    tensorflow: str

    @property
    def identity(self) -> str:
        """Its row's, see `sweep_rows`."""
        return sweep_rows.identity_of({**self.cell.row(), "tensorflow": self.tensorflow})


def _tasks(cells: Sequence[Cell], survey: processes.Survey) -> list[Task]:
    """What is to be measured, each cell once."""
    tasks = [Task(replace(cell, device=survey.device), survey.tensorflow) for cell in cells]
    return list({task.identity: task for task in tasks}.values())


@dataclass
class Sweep:
    """Measures tasks and keeps their rows."""

    out: str
    repeats: int
    limits: Limits
    engine: engines.Engine
    tried_again: int
    """So many of the oldest rows do not count if they tell of a failure."""

    def __post_init__(self) -> None:
        """Nothing is known yet, of whatever run."""
        self._settled = sweep_rows.Settled(self.out, self.repeats, self.tried_again)

    def gone(self, known: Mapping[str, Mapping[str, object]]) -> int:
        """How many of these rows are not in the CSV any more."""
        settled = self._settled.now()
        return sum(sweep_rows.identity_of(row) not in settled for row in known.values())

    def run(self, tasks: Sequence[Task]) -> dict[str, Mapping[str, object]]:
        """Measures all that is not settled, and returns the row of every task.

        Raises:
            ResultsError: a row cannot be kept.
            MachineError: nothing can be measured any more.
        """
        settled = self._settled.now()
        waiting = [self._resumable(task) for task in tasks if not self._is_known(task, settled)]
        left = {task.identity for task in waiting}
        known = {t.identity: settled[t.identity] for t in tasks if t.identity not in left}
        running: dict[futures.Future, Task] = {}
        board = Board([task.cell for task in waiting], len(tasks) - len(waiting), self.engine.slots)
        with Holds(self.out) as holds, board:
            while waiting or running:
                known |= self._begin(waiting, running, holds, board)
                if not running:  # other sweeps measure what is left
                    time.sleep(POLL_S)
                done, _ = futures.wait(running, POLL_S, futures.FIRST_COMPLETED)
                with stopping.undisturbed():  # what was measured is kept
                    for future in done:
                        task = running.pop(future)
                        row = known[task.identity] = self._keep(task, future)
                        holds.release(task.identity)
                        board.ended(task.cell, row)
        return known

    def _is_known(self, task: Task, known: Mapping[str, Mapping[str, object]]) -> bool:
        """Whether a task has its row and, if that says that it was trained, its history.

        Raises:
            ResultsError: that is damaged, which is told before hours of training.
        """
        row, cell = known.get(task.identity), task.cell
        has_history = not cell.epochs or bool(trainings.read(self.out, cell))
        return row is not None and (has_history or row["status"] != "ok")

    def _resumable(self, task: Task) -> Task:
        """What is kept here is no help to other machines."""
        if not self.engine.in_this_process:
            return task
        return replace(task, cell=unfinished.resumable(self.out, task.cell))

    def _begin(
        self,
        waiting: list[Task],
        running: dict[futures.Future, Task],
        holds: Holds,
        board: Board,
    ) -> dict[str, Mapping[str, object]]:
        """Begins as many of the waiting tasks as there is room for.

        Returns:
            The rows of those that another sweep has measured.
        """
        found: dict[str, Mapping[str, object]] = {}
        for task in list(waiting):
            if len(running) >= self.engine.slots:
                break
            if not holds.take(task.identity):
                continue  # another sweep is measuring it
            waiting.remove(task)
            settled = self._settled.now()
            if self._is_known(task, settled):  # since this sweep began
                holds.release(task.identity)
                board.found(task.cell)
                found[task.identity] = settled[task.identity]
                continue
            report = board.began(task.cell)
            told = report if self.engine.in_this_process else processes.silent
            call = (processes.measure, task.cell, told, self.repeats, self.limits)
            running[self.engine.submit(*call)] = task
        return found

    def _keep(self, task: Task, future: futures.Future) -> Mapping[str, object]:
        """Keeps the row of a task that ended, and its history."""
        try:
            row, epochs = engines.outcome(future)
        except processes.MachineError:
            raise
        except Exception as error:  # becomes a row, and the sweep goes on
            row, epochs = processes.failed(task.cell, error), []
        # A process that died could not tell its version.
        row = {**row, "tensorflow": row["tensorflow"] or task.tensorflow}
        unfinished.keep(self.out, task.cell, row, epochs)
        return row


def _tell(
    tasks: Sequence[Task],
    known: Mapping[str, Mapping[str, object]],
    gone: int,
    options: argparse.Namespace,
) -> int:
    """Says how the cells ended, and returns the exit status."""
    ended = [(task, known[task.identity]) for task in tasks]
    for task, row in ended:
        if row["status"] != "ok":
            screen.note(f"{row['status']}: {title(task.cell)}: {row['error']}")
    failed = any(row["status"] not in EXPECTED for _, row in ended)
    if failed:
        screen.note("the same command with --retry measures what failed again")
    path = Path(options.out, results.FILE_NAME)
    if gone:
        screen.note(
            f"{path} was removed or changed meanwhile: {gone} of these rows are not in it any "
            "more; the same command measures them again"
        )
    counts = collections.Counter(row["status"] for _, row in ended)
    print(f"{len(ended)} cells: {', '.join(f'{n} {status}' for status, n in counts.items())}")
    print(f"one row per cell: {path}")
    return 1 if failed or gone else 0


if __name__ == "__main__":
    sys.exit(main())
