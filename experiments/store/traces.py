"""Timelines of measured cells: where they are kept, their pages and their pictures."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mem_dfa.experiments.cells import names
from mem_dfa.experiments.cells.cell import Cell
from mem_dfa.experiments.store import measured

FOLDER = "timelines"


def with_files(cells: Sequence[Cell], out: str) -> list[Cell]:
    """The cells, each with the file its timeline is to be kept in, below `out`."""
    return [dataclasses.replace(cell, trace_file=str(file_of(cell, out))) for cell in cells]


def file_of(cell: Cell, out: str) -> Path:
    """Where the timeline of a cell is kept, below `out`."""
    from mem_dfa.profiling.timeline.storage import SUFFIX

    own = [f"{name} {value}" for name, value in names.unusual(vars(cell)).items()]
    name = names.shortened(" ".join([cell.title, cell.optimizer, *own]))
    return Path(out, FOLDER, name + SUFFIX)


def found(cell: Cell, out: str) -> Path | None:
    """The timeline of a cell, of whichever device if it names none; None where there is none."""
    places = [dataclasses.replace(cell, device=device) for device in names.places(cell.device)]
    return next((file for file in (file_of(p, out) for p in places) if file.exists()), None)


def render(rows: Sequence[Mapping[str, Any]], out: str) -> list[Path]:
    """Draw the timelines that rows name, each by itself and, where there are several, together.

    A row with an error has none, or one of another step: its file is left alone.

    Returns:
        The pages and pictures.
    """
    from mem_dfa.profiling import Timeline
    from mem_dfa.profiling.timeline.storage import SUFFIX

    timelines, written = [], []
    kept = [row for row in rows if row["status"] == "ok" and not row["error"]]
    for row in kept:
        file = Path(row["trace_file"])
        timeline = Timeline.load(file)
        timelines.append(timeline)
        stem = str(file).removesuffix(SUFFIX)
        written += [timeline.to_html(f"{stem}.html"), _picture([timeline], Path(f"{stem}.png"))]
    if len(timelines) > 1:
        heading, titles = _titles(kept)
        for timeline, title in zip(timelines, titles, strict=True):
            timeline.title = title
        stem = Path(out, FOLDER, names.shortened(f"{heading} {' '.join(titles)}"))
        written.append(timelines[0].to_html(f"{stem}.html", *timelines[1:]))
        written.append(_picture(timelines, Path(f"{stem}.png"), heading))
    return written


def _titles(rows: Sequence[Mapping[str, Any]]) -> tuple[str, list[str]]:
    """What all rows have in common, and what each has of its own."""
    columns = {
        "model": "{}",
        "layers": "{} layers",
        "batch_size": "batch {}",
        "execution": "{}",
        "optimizer": "{}",
    }
    unusual = [names.unusual(row) for row in rows]
    columns |= {name: f"{name.replace('_', ' ')} {{}}" for own in unusual for name in own}
    varying = [name for name in columns if len({row[name] for row in rows}) > 1]
    common = [columns[name].format(rows[0][name]) for name in columns if name not in varying]
    own = [
        " ".join([measured.name_of(row), *(columns[name].format(row[name]) for name in varying)])
        for row in rows
    ]
    return ", ".join(common), own


def _picture(timelines: Sequence[Any], path: Path, heading: str = "") -> Path:
    from mem_dfa.profiling.render import plot

    return plot.save(plot.plot(timelines, heading), path)
