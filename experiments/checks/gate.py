"""The gate's cells weighed, and its relations judged.

Bytes are those that operations ask for, which neither the allocator's rounding nor the kind of
processor changes. A chain asks for the same in every process to a fifth of a percent. Where Keras
differentiates the net as one (BP, FA, microbatches, a model's own `fit`) a layer's two gradients
run in either order or at once, which moves the peak by up to 5 %: its tolerance is wider, and what
the forward pass leaves for the backward pass, which no order changes, is judged as closely as all
else.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, as_completed
from typing import Any

from mem_dfa.experiments.cells.cell import Cell
from mem_dfa.experiments.checks.claims import Finding, judge
from mem_dfa.experiments.checks.gate_file import GateFile, is_whole, name_of
from mem_dfa.experiments.checks.quantities import Claim
from mem_dfa.experiments.engine import engines, processes, worker
from mem_dfa.experiments.terminal import screen
from mem_dfa.profiling.baseline import Weights

QUANTITIES = ("kept", "step", "resident")
PROCESSES = 2  # most of a cell's time is one thread's
# Of cells, a process each: to start one takes as long as to measure a cell, and few enough follow
# one another that what an earlier one left behind is nothing to them.
GROUPS = 4
# A process that hangs fails. More threads let more operations take their memory at once: two, as
# where the baselines are from, however many cores there are.
LIMITS = worker.Limits(time_s=3600, threads=2)


def relations(gate: GateFile, weights: Weights) -> list[Finding]:
    """Judges what holds anywhere; a claim whose cells were not all measured does not."""
    rows = {}
    for name, parts in weights.items():
        resident = parts["resident"]
        own = [size for place, size in resident.items() if place.endswith("/parameter")]
        rows[name] = {
            "step_requested_bytes": sum(parts["step"].values()),
            "resident_bytes": sum(resident.values()),
            "variable_allocated_bytes": sum(own),
        }

    def row(cell: Cell, repeats: int) -> Mapping[str, Any]:
        return rows.get(name_of(cell), {})

    return [
        judge(Claim(one.claim, one.quantity, one.cells, one.limit, None, None, row))
        for one in gate.relations
    ]


def measure(gate: GateFile, device: str) -> dict[str, dict[str, Any]]:
    """The result of each cell that could be measured, by its name, in the order of the cells.

    What is kept for the backward pass is judged only where the peak is no sharp measure.
    """
    asked = [dataclasses.replace(one, device=device) for one in gate.cells.values()]
    with screen.progress("checking", quiet=True) as report:
        cells = processes.check(asked, report)
    results = {}
    with screen.progress(f"measuring {len(cells)} cells") as report:
        for number, (cell, result) in enumerate(weighed(cells), start=1):
            name = name_of(cell)
            report(f"{number} of {len(cells)}", number / len(cells))
            results[name] = result | ({} if is_whole(cell) else {"kept": {}})
            screen.note(f"{number}/{len(cells)} {name}: {_said(result)}")
    return {name: results[name] for name in gate.cells if results[name]["status"] == "ok"}


def _said(result: dict[str, Any]) -> str:
    if result["status"] != "ok":
        return f"{result['status']}: {result['error']}"
    step, resident = (screen.mebibytes(sum(result[name].values())) for name in ("step", "resident"))
    return f"{step} MiB a step, {resident} resident"


def weighed(cells: Sequence[Cell]) -> Iterator[tuple[Cell, dict[str, Any]]]:
    """Each cell and its result, as soon as it is there: many in a process.

    Of a process that fails each cell is measured again in its own, to take no other with it.
    """
    with engines.opened(None, PROCESSES) as engine:  # ends what goes on when this is interrupted

        def submit(group: Sequence[Cell]) -> tuple[Future, Sequence[Cell]]:
            return engine.submit(worker.call, "weigh", group, worker.silent, LIMITS), group

        waiting = dict(submit(cells[n::GROUPS]) for n in range(min(GROUPS, len(cells))))
        while waiting:
            future = next(as_completed(waiting))
            group, result = waiting.pop(future), future.result()
            if result["status"] == "ok":
                for cell, weights in zip(group, result["weights"], strict=True):
                    yield cell, {"status": "ok", **weights}
            elif len(group) == 1:
                yield group[0], result
            else:
                waiting |= dict(submit([cell]) for cell in group)
