"""Timelines of measured cells: where they are kept, their pages and their pictures."""

import dataclasses
import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mem_dfa.experiments.cells.cell import LONGEST, Cell, differing, on_devices

from mem_dfa import registry

FOLDER = "timelines"


def with_files(cells: Sequence[Cell], out: str) -> list[Cell]:
    """The cells, each with the file its timeline is to be kept in, below `out`."""
    return [dataclasses.replace(cell, trace_file=str(file_of(cell, out))) for cell in cells]


def file_of(cell: Cell, out: str) -> Path:
    """Where the timeline of a cell is kept, below `out`."""
    from mem_dfa.profiling.timeline.storage import SUFFIX

    return Path(out, FOLDER, cell.file_stem + SUFFIX)


def found(cell: Cell, out: str) -> Path | None:
    """The timeline of a cell, of whichever device if it names none; None where there is none.

    Memory does not depend on what images show, so that those of synthetic ones will do for it.
    """
    data = dict.fromkeys([cell.dataset, registry.MODELS[cell.model].dataset, "synthetic"])
    files = [
        file_of(dataclasses.replace(one, dataset=name), out)
        for one in on_devices(cell)
        for name in data
    ]
    return next((file for file in files if file.exists()), None)


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
        heading, titles = _titles([Cell.of(row) for row in kept])
        for timeline, title in zip(timelines, titles, strict=True):
            timeline.title = title
        stem = Path(out, FOLDER, _stem([Cell.of(row) for row in kept]))
        written.append(timelines[0].to_html(f"{stem}.html", *timelines[1:]))
        written.append(_picture(timelines, Path(f"{stem}.png"), heading))
    return written


def _titles(cells: Sequence[Cell]) -> tuple[str, list[str]]:
    """What all cells have in common, and what each has of its own."""
    told = {"model": "{}", "layers": "{} layers", "batch_size": "batch {}", "execution": "{}"}
    varying = [name for name in differing(cells) if name not in ("algorithm", "options")]
    common = [
        text.format(getattr(cells[0], name)) for name, text in told.items() if name not in varying
    ]
    told |= {name: f"{name.replace('_', ' ')} {{}}" for name in varying if name not in told}
    own = [
        " ".join([cell.name, *(told[name].format(getattr(cell, name)) for name in varying)])
        for cell in cells
    ]
    return ", ".join(common), own


def _stem(cells: Sequence[Cell]) -> str:
    """The name of files of several cells together."""
    told = re.sub(r"\W+", "_", " ".join([cells[0].model, *(cell.name for cell in cells)]))
    digest = hashlib.sha256("\n".join(cell.key() for cell in cells).encode()).hexdigest()
    return f"{told[:LONGEST]}_{digest[:10]}"


def _picture(timelines: Sequence[Any], path: Path, heading: str = "") -> Path:
    from mem_dfa.profiling.render import plot

    return plot.save(plot.plot(timelines, heading), path)
