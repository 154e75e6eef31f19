"""How long commands will take: a guess, from what was measured before and a table of step times."""

from collections.abc import Sequence

from mem_dfa.experiments.cells.cell import WARM_UP_STEPS, Cell
from mem_dfa.experiments.paper import commands
from mem_dfa.experiments.store.table import Row

# Seconds of a bp step for each image and layer in graph execution, on 2 cores.
LAYER_S = {
    "conv20": 1.8e-4,
    "depth_net": 1.0e-4,
    "depth_revnet": 1.0e-4,
    "vgg16": 1.1e-3,
    "liao_cifar": 4.0e-4,
    "resnet32": 2.5e-4,
    "revnet38": 3.5e-4,
    "mlp": 2.0e-5,
    "mnist_conv": 1.7e-4,
}
TRACING_S = 0.05  # of each layer, once a process
RECORDED_STEPS = 2  # one more step is recorded, which takes about twice as long
IMAGES = {"mnist": 60_000, "cifar10": 50_000, "synthetic": 0}  # to train on
TESTING = 1.1  # an epoch's time with its test, over that without
UNCERTAINTY = 2.0  # the truth is expected within this factor either way


def seconds_of(
    lines: Sequence[str],
    out: str,
    rows: Sequence[Row],
    runs: Sequence[dict[str, str]],
    process_s: float,
) -> dict[str, float | None]:
    """What is left of each command, in seconds; None where nothing tells.

    Args:
        lines: as in `paper.commands`, in the order in which they are to run.
        out: the folder that they write to.
        rows: what was measured before.
        runs: the commands that ran before.
        process_s: to start a process, build a small model and trace its step.
    """
    took = {run["command"]: float(run["seconds"]) for run in runs}
    counted: dict[Cell, int] = {}
    seconds: dict[str, float | None] = {}
    for line in lines:
        plan = commands.plan_of(line)
        if not plan.cells:
            seconds[line] = took.get(commands.shown(line))
            continue
        # What an earlier command of these measures, a later one finds.
        missing = commands.missing_cells(line, out)
        if plan.is_traced and missing:
            missing = plan.cells  # `run` measures all of them again
        waiting = [cell for cell in missing if counted.get(cell, 0) < plan.repeats]
        counted.update(dict.fromkeys(waiting, plan.repeats))
        parts = (cell_seconds(cell, plan.repeats, rows, process_s) for cell in waiting)
        seconds[line] = process_s + sum(parts)  # it checks before it measures
    return seconds


def cell_seconds(cell: Cell, repeats: int, rows: Sequence[Row], process_s: float) -> float:
    """What measuring a cell takes, and training it where that is asked for."""
    step_s, layers = step_seconds(cell, rows), _layers(cell)
    steps = WARM_UP_STEPS + cell.steps + RECORDED_STEPS
    total = repeats * (process_s + TRACING_S * layers + steps * step_s)
    if cell.epochs:
        epoch_s = TESTING * step_s * IMAGES[cell.dataset] / cell.batch_size
        total += process_s + cell.epochs * epoch_s
    return total


def step_seconds(cell: Cell, rows: Sequence[Row]) -> float:
    """Of one step: in proportion to the most alike row of the model, or from the table."""
    alike = [
        row for row in rows if row["model"] == cell.model and row["step_time_s"] and row["layers"]
    ]
    images = _layers(cell) * cell.batch_size
    if not alike:
        return LAYER_S.get(cell.model, max(LAYER_S.values())) * images
    nearest = min(
        alike,
        key=lambda row: (
            row["execution"] != cell.execution,
            row["algorithm"] != cell.algorithm,
            abs(row["layers"] * row["batch_size"] - images),
        ),
    )
    return nearest["step_time_s"] * images / (nearest["layers"] * nearest["batch_size"])


def _layers(cell: Cell) -> int:
    return cell.depth or 100
