"""Cells measured one after another or at once, each one's row kept as soon as it is known."""

import time
from collections.abc import Mapping, Sequence
from concurrent import futures
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mem_dfa.experiments.cells.cell import Cell
from mem_dfa.experiments.engine import engines, processes
from mem_dfa.experiments.engine.worker import Limits, Report, silent
from mem_dfa.experiments.store import files, results, trainings
from mem_dfa.experiments.terminal.board import Board

POLL_S = 0.2
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Task:
    """A cell, and what its row will say it is about."""

    cell: Cell
    tensorflow: str

    @property
    def identity(self) -> str:
        """Its row's, see `results`."""
        return results.identity_of({**self.cell.row(), "tensorflow": self.tensorflow})


def tasks_of(cells: Sequence[Cell], engine: engines.Engine, report: Report) -> list[Task]:
    """What is to be measured, each cell once, if it makes sense; see `processes.survey`."""
    told = report if engine.in_this_process else silent
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
    tried_again: int = 0
    """So many of the oldest rows do not count if they tell of a failure."""

    def _settled(self) -> dict[str, Any]:
        return results.settled(self.out, self.repeats, self.tried_again)

    def run(self, tasks: Sequence[Task]) -> dict[str, Row]:
        """Measures all that is not settled, and returns the row of every task, by its identity.

        Raises:
            ResultsError: a row cannot be kept, or a history is damaged, which is told before hours
                of training.
            MachineError: nothing can be measured any more.
        """
        found = {task.identity: self._found(task) for task in tasks}
        known = {identity: row for identity, row in found.items() if row}
        waiting = [self._resumable(task) for task in tasks if task.identity not in known]
        running: dict[futures.Future, Task] = {}
        board = Board([task.cell for task in waiting], len(known), self.engine.slots)
        with files.Holds(self.out) as holds, board:
            while waiting or running:
                for task in list(waiting):
                    # Where there is no hold to be had another sweep is measuring it.
                    if len(running) == self.engine.slots or not holds.take(task.identity):
                        continue
                    waiting.remove(task)
                    if row := self._found(task):  # measured by another since this one began
                        holds.release(task.identity)
                        board.found(task.cell)
                        known[task.identity] = row
                    else:
                        running[self._begun(task, board.began(task.cell))] = task
                if not running:  # other sweeps measure what is left
                    time.sleep(POLL_S)
                done, _ = futures.wait(running, POLL_S, futures.FIRST_COMPLETED)
                with files.undisturbed():  # what was measured is kept
                    for future in done:
                        task = running.pop(future)
                        row = known[task.identity] = self._kept(task, future)
                        holds.release(task.identity)
                        board.ended(task.cell, row)
        return known

    def _found(self, task: Task) -> Row | None:
        """A task's row where that need not be measured again: one with its timeline and history."""
        row, cell = self._settled().get(task.identity), task.cell
        if row and row["status"] == "ok" and cell.trace_file and not Path(cell.trace_file).exists():
            return None
        # One that is damaged is told even if it is another cell's.
        has_history = not cell.epochs or bool(trainings.read(self.out, cell))
        return row if has_history or (row and row["status"] != "ok") else None

    def _resumable(self, task: Task) -> Task:
        """What is kept here is no help to other machines."""
        if not self.engine.in_this_process:
            return task
        return replace(task, cell=trainings.resumable(self.out, task.cell))

    def _begun(self, task: Task, report: Report) -> futures.Future:
        told = report if self.engine.in_this_process else silent
        return self.engine.submit(processes.measure, task.cell, told, self.repeats, self.limits)

    def _kept(self, task: Task, future: futures.Future) -> Row:
        """The row of a task that ended, kept with its history."""
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
