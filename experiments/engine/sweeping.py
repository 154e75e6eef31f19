"""Cells measured one after another or at once, each one's row kept as soon as it is known."""

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent import futures
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, Self

from mem_dfa.experiments.cells.cell import Cell
from mem_dfa.experiments.engine import engines, processes
from mem_dfa.experiments.engine.worker import Limits, Report
from mem_dfa.experiments.store import stopping, sweep_rows, trainings
from mem_dfa.experiments.store.sweep_rows import Holds

POLL_S = 0.2


class Watcher(Protocol):
    """Who is told what is going on."""

    def began(self, cell: Cell) -> Report:
        """Of a cell whose measurement begins; returns what takes news of it."""

    def found(self, cell: Cell) -> None:
        """Of a cell that another sweep has measured."""

    def ended(self, cell: Cell, row: Mapping[str, object]) -> None:
        """Of a cell and its row."""

    def __enter__(self) -> Self:
        """As the first cell begins."""

    def __exit__(self, *error: object) -> None:
        """When all have ended."""


@dataclass(frozen=True)
class Task:
    """A cell, and what its row will say it is about."""

    cell: Cell
    tensorflow: str

    @property
    def identity(self) -> str:
        """Its row's, see `sweep_rows`."""
        return sweep_rows.identity_of({**self.cell.row(), "tensorflow": self.tensorflow})


def tasks_of(cells: Sequence[Cell], engine: engines.Engine, report: Report) -> list[Task]:
    """What is to be measured, each cell once, if it makes sense; see `processes.survey`."""
    told = report if engine.in_this_process else processes.silent
    survey = engines.outcome(engine.submit(processes.survey, cells, told))
    tasks = [Task(replace(cell, device=survey.device), survey.tensorflow) for cell in cells]
    return list({task.identity: task for task in tasks}.values())


@dataclass
class Sweep:
    """Measures tasks and keeps their rows."""

    out: str
    repeats: int
    limits: Limits
    engine: engines.Engine
    watcher: Callable[[Sequence[Cell], int, int], Watcher]
    """Made of the waiting cells, how many are known, and how many go on at once."""
    tried_again: int = 0
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
        watcher = self.watcher(
            [task.cell for task in waiting], len(tasks) - len(waiting), self.engine.slots
        )
        with Holds(self.out) as holds, watcher:
            while waiting or running:
                known |= self._begin(waiting, running, holds, watcher)
                if not running:  # other sweeps measure what is left
                    time.sleep(POLL_S)
                done, _ = futures.wait(running, POLL_S, futures.FIRST_COMPLETED)
                with stopping.undisturbed():  # what was measured is kept
                    for future in done:
                        task = running.pop(future)
                        row = known[task.identity] = self._keep(task, future)
                        holds.release(task.identity)
                        watcher.ended(task.cell, row)
        return known

    def _is_known(self, task: Task, known: Mapping[str, Mapping[str, object]]) -> bool:
        """Whether a task has its row and, if that says that it was trained, its history.

        Raises:
            ResultsError: that is damaged, which is told before hours of training.
        """
        row, cell = known.get(task.identity), task.cell
        if cell.trace_file and row and row["status"] == "ok" and not Path(cell.trace_file).exists():
            return False
        has_history = not cell.epochs or bool(trainings.read(self.out, cell))
        return row is not None and (has_history or row["status"] != "ok")

    def _resumable(self, task: Task) -> Task:
        """What is kept here is no help to other machines."""
        if not self.engine.in_this_process:
            return task
        return replace(task, cell=trainings.resumable(self.out, task.cell))

    def _begin(
        self,
        waiting: list[Task],
        running: dict[futures.Future, Task],
        holds: Holds,
        watcher: Watcher,
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
                watcher.found(task.cell)
                found[task.identity] = settled[task.identity]
                continue
            report = watcher.began(task.cell)
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
        trainings.keep(self.out, task.cell, row, epochs)
        return row
