"""The one page with every figure and table, and with what is behind them."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
from mem_dfa.experiments.paper import planned_figures
from mem_dfa.experiments.paper.outcome import Outcome, command_of
from mem_dfa.experiments.report import tables
from mem_dfa.experiments.store import results
from mem_dfa.profiling import files
from mem_dfa.profiling.render.palette import INK, QUIET

FILE_NAME = "report.html"
_TEMPLATE = Path(__file__).with_name("page.html.jinja")


def write(source: str, out: str, outcomes: Sequence[Outcome], quick: bool = False) -> Path:
    """Writes the page from the files under a folder and the figures that were drawn.

    Args:
        source: the folder of what was measured.
        out: the folder of the page and, below it, of the figures.
        outcomes: what became of figures; of others the page shows what earlier runs left.
        quick: whether the figures are those of the quick commands.

    Raises:
        profiling.TraceError: the page cannot be written.
    """
    damaged = []
    rows, machines = [], []
    try:
        rows = results.read(source)
        machines = sorted({row["machine"] for row in rows if row["machine"]})
    except results.ResultsError as error:
        damaged.append(str(error))
    sections = tables.sections(Path(source), rows)
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    environment.filters["is_number"] = lambda text: bool(_NUMBER.fullmatch(text))
    page = environment.from_string(_TEMPLATE.read_text(encoding="utf-8")).render(
        ink=INK,
        quiet=QUIET,
        damaged=damaged,
        versions=tables.versions(rows),
        machines=machines,
        figures=_figures(outcomes, source, out, quick),
        sections=sections,
    )
    return files.write_whole(Path(out, FILE_NAME), page.encode())


_MEDIA_TYPES = {"svg": "image/svg+xml", "png": "image/png"}
_NUMBER = re.compile(r"[-+]?\d[\d.,]*( ?(%|x|MiB|s|ms))?|-")


def _figures(
    outcomes: Sequence[Outcome], source: str, out: str, quick: bool
) -> list[dict[str, Any]]:
    known = {outcome.figure.name: outcome for outcome in outcomes}
    shown = []
    for figure in planned_figures.FIGURES:
        if not planned_figures.wanted_by(figure, quick):
            continue
        outcome = known.get(figure.name)
        kinds = [Path(out, "figures", f"{figure.name}.{kind}") for kind in _MEDIA_TYPES]
        pictures = [file for file in kinds if file.is_file()]
        is_there = pictures and (outcome is None or outcome.is_drawn)
        shown.append(
            {
                "name": figure.name,
                "title": figure.title,
                "image": _data_uri(pictures) if is_there else "",
                "notes": " ".join(outcome.notes) if outcome else "",
                "problem": outcome.problem if outcome else "",
                "command": command_of(figure, source, quick),
            }
        )
    return shown


def _data_uri(pictures: Sequence[Path]) -> str:
    """The smallest of the files of one figure: lines are so as SVG, areas as PNG."""
    smallest = min(pictures, key=lambda file: file.stat().st_size)
    content = base64.b64encode(smallest.read_bytes()).decode()
    return f"data:{_MEDIA_TYPES[smallest.suffix[1:]]};base64,{content}"
