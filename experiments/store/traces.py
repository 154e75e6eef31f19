"""Timelines of measured cells: where they are kept, their pages and their pictures."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mem_dfa.experiments.cells.cell import Cell, on_devices, stem

from mem_dfa import registry

FOLDER, SUFFIX = "timelines", ".timeline.json.gz"


def with_files(cells: Sequence[Cell], out: str) -> list[Cell]:
    """The cells, each with the file its timeline is to be kept in, below `out`."""
    return [dataclasses.replace(cell, trace_file=str(file_of(cell, out))) for cell in cells]


def file_of(cell: Cell, out: str) -> Path:
    """Where the timeline of a cell is kept, below `out`."""
    return Path(out, FOLDER, cell.file_stem + SUFFIX)


def found(cell: Cell, out: str) -> Path | None:
    """The timeline of a cell, of whichever device if it names none; None where there is none."""
    # Memory does not depend on what images show, so that synthetic ones will do.
    model = registry.MODELS.get(cell.model)
    data = dict.fromkeys([cell.dataset, model.dataset if model else "synthetic", "synthetic"])
    alike = (dataclasses.replace(one, dataset=name) for one in on_devices(cell) for name in data)
    return next((file for one in alike if (file := file_of(one, out)).exists()), None)


def render(rows: Sequence[Mapping[str, Any]], out: str) -> list[Path]:
    """Pages and pictures of the timelines that rows name, each alone and, if several, together."""
    from mem_dfa.profiling import Timeline

    # A row with an error has none, or one of another step.
    kept = [row for row in rows if row["status"] == "ok" and not row["error"]]
    cells, timelines = [Cell.of(row) for row in kept], []
    written: list[Path] = []
    for row in kept:
        timelines.append(Timeline.load(Path(row["trace_file"])))
        written += _drawn(timelines[-1:], row["trace_file"].removesuffix(SUFFIX))
    if len(kept) > 1:
        first, depths = cells[0], {f"{cell.depth} layers" for cell in cells}
        is_one = len(depths) == 1
        for cell, timeline in zip(cells, timelines, strict=True):
            timeline.title = cell.name if is_one else f"{cell.name} {cell.depth} layers"
        said = [first.model, *(depths if is_one else ()), f"batch {first.batch_size}"]
        told = " ".join([first.model, *(cell.name for cell in cells)])
        together = Path(out, FOLDER, stem(told, "\n".join(cell.key() for cell in cells)))
        written += _drawn(timelines, str(together), ", ".join([*said, first.execution]))
    return written


def _drawn(timelines: Sequence[Any], path: str, heading: str = "") -> list[Path]:
    from mem_dfa.profiling.render import plot

    page = timelines[0].to_html(f"{path}.html", *timelines[1:])
    return [page, plot.save(plot.plot(timelines, heading), Path(f"{path}.png"))]
