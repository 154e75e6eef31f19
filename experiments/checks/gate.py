"""The gate: its cells, how they are weighed, and what holds of them on any machine.

Bytes are those that operations ask for, which neither the allocator's rounding nor the kind of
processor changes. A chain asks for the same in every process to a fifth of a percent. Where Keras
differentiates the net as one (BP, FA, microbatches) a layer's two gradients run in either order or
at once, which moves the peak by up to 5 %: its tolerance is wider, and what the forward pass leaves
for the backward pass, which no order changes, is judged as closely as all else.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, as_completed
from typing import Any

from mem_dfa.experiments.cells.cell import Cell
from mem_dfa.experiments.checks.baseline import RACING, Weights
from mem_dfa.experiments.checks.claims import GATE, Finding, cells_of, claims, judge
from mem_dfa.experiments.engine import engines, processes, worker
from mem_dfa.experiments.terminal import screen

# Batches are small, because the shape of memory does not depend on them.
COMMON = {"dataset": "synthetic", "steps": 3, "batch_size": 16}
CELLS = cells_of(
    "bp,fa conv20 20; microbatch conv20 20 slices=2; dfa conv20 20; mem_dfa conv20 5,20; "
    # What keeps every activation takes 10 MiB.
    "mem_dfa conv20 10 execution=eager; mem_dfa conv20 10 execution=xla; "
    # Large enough for slices.
    "mem_dfa conv20 10 batch_size=64; "
    "mem_dfa vgg16 - batch_size=8; mem_dfa depth_net 10,60 feedback=regenerated; "
    "checkpoint depth_net 12,24,48; checkpoint_fa conv20 20; "
    "revnet depth_revnet 5,20 execution=eager; revnet depth_revnet 5,20",
    **COMMON,
)
PROCESSES = 2  # most of a cell's time is one thread's
# Of cells, a process each: to start one takes as long as to measure a cell, and few enough follow
# one another that what an earlier one left behind is nothing to them.
GROUPS = 4
# A process that hangs fails; each takes a minute at most. More threads let more operations take
# their memory at once: two, as where the baselines are from, however many cores there are.
LIMITS = worker.Limits(time_s=600, threads=2)


def relations(weights: Weights) -> list[Finding]:
    """Judges what holds anywhere; a claim whose cells were not all measured does not."""
    rows = {}
    for title, parts in weights.items():
        resident = parts["resident"]
        own = [size for name, size in resident.items() if name.endswith("/parameter")]
        rows[title] = {
            "step_requested_bytes": sum(parts["step"].values()),
            "resident_bytes": sum(resident.values()),
            "variable_allocated_bytes": sum(own),
        }
    known = claims(GATE, lambda cell, repeats: rows.get(cell.title, {}), **COMMON)
    return [judge(claim) for claim in known]


def measure(device: str) -> dict[str, dict[str, Any]]:
    """The result of each cell that could be measured, by its title, in the order of the cells.

    What is kept for the backward pass is judged only where the peak is no sharp measure.
    """
    with screen.progress("checking", quiet=True) as report:
        cells = processes.check([dataclasses.replace(one, device=device) for one in CELLS], report)
    results = {}
    with screen.progress(f"measuring {len(cells)} cells") as report:
        for number, (cell, result) in enumerate(weighed(cells), start=1):
            report(f"{number} of {len(cells)}", number / len(cells))
            results[cell.title] = result | ({} if cell.algorithm in RACING else {"kept": {}})
            screen.note(f"{number}/{len(cells)} {cell.title}: {_said(result)}")
    return {c.title: results[c.title] for c in cells if results[c.title]["status"] == "ok"}


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
