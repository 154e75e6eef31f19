"""Measures what claims ask for, each thing once."""

from collections.abc import Callable, Sequence
from typing import Any

from mem_dfa.experiments import bench
from mem_dfa.experiments.cells.cell import REPEATS, Cell
from mem_dfa.experiments.checks.cells import make_cell
from mem_dfa.experiments.checks.finding import NotMeasuredError
from mem_dfa.experiments.cli import screen
from mem_dfa.experiments.engine import processes, worker
from mem_dfa.experiments.store import results


class Kit:
    """What claims are judged by: it measures on one device and keeps the rows under a folder."""

    def __init__(self, out: str, data_dir: str | None, device: str) -> None:
        """Nothing is measured yet."""
        self._out, self._data_dir, self._device = out, data_dir, device
        self._known: dict[tuple, Any] = {}

    def cell(self, algorithm: str, model: str, layers: int | None = None, **changes: Any) -> Cell:
        """A cell with every default of the command line but `changes`."""
        where = {"device": self._device, "data_dir": self._data_dir}
        return make_cell(algorithm, model, layers, **where, **changes)

    def numbers(self, cells: Sequence[Cell], what: str, repeats: int = REPEATS) -> list[Any]:
        """See `Known.numbers`."""
        rows = [self._once(self._row, cell, repeats) for cell in cells]
        numbers = [row[what] for row in rows]
        if None in numbers:
            raise NotMeasuredError
        return numbers

    def seconds(self, cells: Sequence[Cell]) -> list[list[float]]:
        """See `Measuring.seconds`."""
        return self._good(_turns, tuple(cells))["seconds"]

    def result(self, task: str, cells: Sequence[Cell], note: str) -> dict[str, Any]:
        """See `Measuring.result`."""
        return self._good(_task, task, tuple(cells), note)

    def _good(self, measure: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
        result = self._once(measure, *arguments)
        if result["status"] != "ok":
            raise NotMeasuredError
        return result

    def _once(self, measure: Callable[..., Any], *arguments: Any) -> Any:
        key = (measure, *arguments)
        if key not in self._known:
            self._known[key] = measure(*arguments)
        return self._known[key]

    def _row(self, cell: Cell, repeats: int) -> processes.Row:
        with screen.progress(cell.title) as report:
            row, _ = processes.measure(cell, report, repeats)
        results.append(self._out, [row])
        return row


def _turns(cells: Sequence[Cell]) -> dict[str, Any]:
    return _told(bench.take_turns(cells))


def _task(task: str, cells: Sequence[Cell], note: str) -> dict[str, Any]:
    with screen.progress(note) as report:
        return _told(worker.call(task, cells, report))


def _told(result: dict[str, Any]) -> dict[str, Any]:
    """The result; one that failed is told."""
    if result["status"] != "ok":
        screen.note(f"{result['status']}: {result['error']}")
    return result
