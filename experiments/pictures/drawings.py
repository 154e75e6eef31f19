"""Draws a planned figure, whatever it shows."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

from mem_dfa.experiments.cells.cell import Cell
from mem_dfa.experiments.paper.plan import PlannedFigure
from mem_dfa.experiments.pictures import (
    accuracy_plots,
    alignment_plots,
    budget_plots,
    canvas,
    findings,
    fit_plots,
    memory_accuracy_plots,
    memory_plots,
    published_plots,
    rules_plots,
    search_plots,
    tradeoff_plots,
)
from mem_dfa.experiments.pictures.canvas import Drawn
from mem_dfa.experiments.store import results, traces
from mem_dfa.profiling import Timeline, TraceError
from mem_dfa.profiling.render import plot

from mem_dfa.units import MEBIBYTE

_WIDTH = 6.0  # inches of a heading, beside which the phases are named


def against_time(folder: str, title: str, cells: Sequence[Cell]) -> Drawn:
    """Memory against time of cells whose timelines were recorded, a panel for each."""
    timelines, missing, problems = [], [], []
    for cell in cells:
        file = traces.found(cell, folder)
        try:
            if file:
                timeline = Timeline.load(file)
                timeline.require_exact()
                timeline.title = cell.name
                timelines.append(timeline)
                continue
        except TraceError as error:
            problems.append(str(error))
        missing.append(cell)
    devices = " and ".join(dict.fromkeys(timeline.device for timeline in timelines))
    notes = [
        f"One recorded step each, on {devices}, optimizer {cells[0].optimizer}. Bytes as the "
        "allocator hands them out, in chunks that may be larger than the tensor in them.",
        *canvas.listed("Not recorded", [cell.name for cell in missing]),
    ]
    problem = "; ".join(problems)
    if not timelines:
        return Drawn(None, [], missing, problem)
    peaks = {timeline.title: timeline.peak_bytes / MEBIBYTE for timeline in timelines}
    finding = findings.least(peaks, "peak")
    figure = plot.plot(timelines, canvas.heading(title, finding, _WIDTH))
    canvas.add_caption(figure, notes, title if finding else "")
    return Drawn(figure, notes, missing, problem, finding)


DRAWINGS: dict[str, Callable[[str, str, Sequence[Cell]], Drawn]] = {
    "timelines": against_time,
    "layers": memory_plots.against_layers,
    "batch": memory_plots.against_batch_size,
    "depth": memory_plots.against_depth,
    "pareto": tradeoff_plots.pareto,
    "bench": tradeoff_plots.taking_turns,
    "accuracy": accuracy_plots.against_epoch_and_time,
    "budgets": budget_plots.planned_and_physical,
    "search": search_plots.against_learning_rate,
    "tradeoff": memory_accuracy_plots.memory_accuracy_time,
    "fit": fit_plots.largest_batches,
    "rules": rules_plots.against_depth,
    "published": published_plots.errors_beside_published,
    "alignment": alignment_plots.against_block,
}
"""By the first word of a figure's name; each takes the folder of results, the title and cells."""


def draw(
    figure: PlannedFigure, quick: bool, source: str, stem: Path, kinds: Sequence[str]
) -> Drawn:
    """Draws a figure from ``source``, into a file of each kind; TraceError where it cannot."""
    cells = figure.quick if quick else figure.cells
    if not cells:
        return Drawn(None)
    try:
        drawn = DRAWINGS[figure.kind](source, figure.title, cells)
    except results.ResultsError as error:
        return Drawn(None, problem=str(error))
    if drawn.figure:
        canvas.save(drawn.figure, stem, kinds)
    problems = [drawn.problem] if drawn.problem else []
    if drawn.missing:
        problems.append(f"{len(drawn.missing)} of {len(cells)} cells are missing; measured by")
    if not problems and not drawn.figure:
        problems = ["every cell failed; `experiments.sweep --retry` measures them again, or"]
    return dataclasses.replace(drawn, problem="; ".join(problems))
