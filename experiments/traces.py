"""Timelines of measured cells: where they are kept, their pages and their pictures."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.plan import Cell

FOLDER = "timelines"


def with_files(cells: Sequence[Cell], out: str) -> list[Cell]:
    """The cells, each with the file its timeline is to be kept in, below `out`."""
    return [dataclasses.replace(cell, trace_file=str(_file(cell, out))) for cell in cells]


def _file(cell: Cell, out: str) -> Path:
    from profiling.storage import SUFFIX

    name = re.sub(r"\W+", "_", f"{cell.title} {cell.optimizer}")
    return Path(out, FOLDER, name + SUFFIX)


def render(rows: Sequence[Mapping[str, Any]], out: str) -> list[Path]:
    """Draw the timelines that rows name, each by itself and, where there are several, together.

    Returns:
        The pages and pictures.
    """
    from profiling.storage import SUFFIX
    from profiling.timeline import Timeline

    timelines, written = [], []
    for row in rows:
        if row["status"] != "ok" or not row["trace_file"]:
            continue
        file = Path(row["trace_file"])
        timeline = Timeline.load(file)
        timelines.append(timeline)
        stem = str(file).removesuffix(SUFFIX)
        written += [timeline.to_html(f"{stem}.html"), _picture([timeline], Path(f"{stem}.png"))]
    if len(timelines) > 1:
        stem = Path(out, FOLDER, _together(rows))
        written.append(timelines[0].to_html(f"{stem}.html", *timelines[1:]))
        written.append(_picture(timelines, Path(f"{stem}.png")))
    return written


def _together(rows: Sequence[Mapping[str, Any]]) -> str:
    """A name from what the rows have in common: the model, and the algorithms in turn."""
    algorithms = dict.fromkeys(str(row["algorithm"]) for row in rows)
    depths = dict.fromkeys(str(row["layers"]) for row in rows if row["layers"] is not None)
    words = (rows[0]["model"], *depths, rows[0]["execution"], *algorithms)
    return re.sub(r"\W+", "_", " ".join(map(str, words)))


def _picture(timelines: Sequence[Any], path: Path) -> Path:
    from profiling import plot

    return plot.save(plot.plot(timelines), path)
