"""Memory against time of cells whose timelines were recorded."""

from collections.abc import Sequence

from mem_dfa.experiments.cells.cell import Cell
from mem_dfa.experiments.pictures import canvas
from mem_dfa.experiments.pictures.canvas import Drawn
from mem_dfa.experiments.store import traces
from mem_dfa.profiling import Timeline, TraceError
from mem_dfa.profiling.render import plot


def against_time(folder: str, title: str, cells: Sequence[Cell]) -> Drawn:
    """A panel for each cell, on the same axes."""
    timelines, notes, missing, problems = [], [], [], []
    for cell in cells:
        file = traces.found(cell, folder)
        if file is None:
            missing.append(cell)
            continue
        try:
            timeline = Timeline.load(file)
            timeline.require_exact()
        except TraceError as error:
            problems.append(str(error))
            missing.append(cell)
            continue
        timeline.title = cell.name
        timelines.append(timeline)
    if timelines:
        devices = " and ".join(dict.fromkeys(timeline.device for timeline in timelines))
        notes.append(
            f"One recorded step each, on {devices}, optimizer {cells[0].optimizer}. Bytes as the "
            "allocator hands them out, in chunks that may be larger than the tensor in them."
        )
    if missing:
        notes.append(f"Not recorded: {', '.join(cell.algorithm for cell in missing)}.")
    if not timelines:
        return Drawn(None, notes, missing, "; ".join(problems))
    figure = plot.plot(timelines, title)
    canvas.add_caption(figure, notes)
    return Drawn(figure, notes, missing, "; ".join(problems))
