"""Weighs the cells of the gate: many in a process, a few processes at once."""

import dataclasses
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, as_completed
from typing import Any

from mem_dfa.experiments.cells.cell import Cell
from mem_dfa.experiments.checks import gate_cells
from mem_dfa.experiments.engine import engines, processes, worker
from mem_dfa.experiments.terminal import screen

PROCESSES = min(2, os.cpu_count() or 1)  # most of a cell's time is one thread's
# Of cells, a process each: to start one takes as long as to measure a cell, and few enough follow
# one another that what an earlier one left behind is nothing to them.
GROUPS = 4
# A process that hangs fails; each takes a minute at most. More threads let more operations take
# their memory at once: two, as where the baselines are from, however many cores there are.
LIMITS = worker.Limits(time_s=600, threads=2)


def measure(device: str) -> dict[str, dict[str, Any]]:
    """The result of each cell that could be measured, by its title, in the order of the cells."""
    with screen.progress("checking", quiet=True) as report:
        probe = dataclasses.replace(gate_cells.CELLS[0], device=device)
        device = processes.check([probe], report)[0].device
    cells = [dataclasses.replace(cell, device=device) for cell in gate_cells.CELLS]
    results = {}
    with screen.progress(f"measuring {len(cells)} cells") as report:
        for number, (cell, result) in enumerate(weighed(cells), start=1):
            report(f"{number} of {len(cells)}", number / len(cells))
            results[cell.title] = result
            screen.note(f"{number}/{len(cells)} {cell.title}: {_said(result)}")
    return {c.title: results[c.title] for c in cells if results[c.title]["status"] == "ok"}


def _said(result: dict[str, Any]) -> str:
    if result["status"] != "ok":
        return f"{result['status']}: {result['error']}"
    step, resident = (screen.mebibytes(sum(result[name].values())) for name in ("step", "resident"))
    return f"{step} MiB a step, {resident} resident"


def weighed(cells: Sequence[Cell]) -> Iterator[tuple[Cell, dict[str, Any]]]:
    """Each cell and its result, as soon as it is there: many in a process.

    Of a process that fails each cell is measured again in one of its own, so that one which cannot
    be measured takes no other with it.
    """
    with engines.opened(None, PROCESSES) as engine:  # ends what goes on when this is interrupted

        def submit(group: Sequence[Cell]) -> tuple[Future, Sequence[Cell]]:
            return engine.submit(worker.call, "weigh", group, processes.silent, LIMITS), group

        waiting = dict(submit(cells[number::GROUPS]) for number in range(GROUPS))
        while waiting:
            future = next(as_completed(waiting))
            group, result = waiting.pop(future), future.result()
            if result["status"] == "ok":
                for cell in group:
                    yield cell, {"status": "ok", **result["weights"][cell.title]}
            elif len(group) == 1:
                yield group[0], result
            else:
                waiting |= dict(submit([cell]) for cell in group)
