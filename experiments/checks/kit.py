"""Measures what claims ask for, each thing once."""

import functools
from typing import Any

from mem_dfa.experiments import bench
from mem_dfa.experiments.cells.cell import Cell
from mem_dfa.experiments.checks.claim import Known
from mem_dfa.experiments.engine import processes, worker
from mem_dfa.experiments.store import results
from mem_dfa.experiments.terminal import screen

NOTES = {
    "follow": "timeline of {cell.title}",
    "distances": "{cell.model}: gradients in float32 and float64",
    "wide_update": "one wide dense layer, {cell.optimizer}",
}


def kit(out: str) -> Known:
    """What is measured when it is asked for; rows are kept under a folder."""

    def row(cell: Cell, repeats: int) -> processes.Row:
        with screen.progress(cell.title) as report:
            row, _ = processes.measure(cell, report, repeats)
        results.append(out, [row])
        return row

    return Known(functools.cache(row), functools.cache(_result))


def _result(task: str, cells: tuple[Cell, ...]) -> dict[str, Any]:
    """What a task says; one that failed is told."""
    if task == "bench":
        result = bench.take_turns(cells)
    else:
        with screen.progress(NOTES[task].format(cell=cells[0])) as report:
            result = worker.call(task, cells, report)
    if result["status"] != "ok":
        screen.note(f"{result['status']}: {result['error']}")
    return result
