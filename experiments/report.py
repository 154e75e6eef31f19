"""The one page with every figure and table, and with what is behind them."""

from __future__ import annotations

import base64
import csv
import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
import markdown_it

from experiments import commands, depth_rows, display, measured, paper, results
from profiling import files
from profiling.palette import INK, QUIET

if TYPE_CHECKING:
    from experiments.figures import Outcome

FILE_NAME = "report.html"
_TEMPLATE = Path(__file__).with_name("report.html.jinja")
# Tables with a section of their own, or too long for this page.
_ELSEWHERE = (results.FILE_NAME, depth_rows.FILE_NAME, "fit_tries.csv")
_TITLES = {
    "bench": "Beside Keras and TensorFlow, taking turns",
    "claims_exact": "Claims: exact gradients",
    "claims_feedback": "Claims: random feedback",
    "claims_timelines": "Claims: timelines",
    "commands": "Commands, when they ran and on what",
    "fit": "The largest batch or depth within a budget",
}


@dataclass(frozen=True)
class Table:
    """A table as text."""

    heads: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Section:
    """A table with its title, as HTML or to be laid out."""

    name: str
    title: str
    html: str = ""
    table: Table | None = None
    source: str = ""
    """The file it is from."""


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
        rows = measured.read(source)
        machines = sorted({run["machine"] for run in commands.read_runs(source)})
    except results.ResultsError as error:
        damaged.append(str(error))
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    environment.filters["is_number"] = lambda text: bool(_NUMBER.fullmatch(text))
    page = environment.from_string(_TEMPLATE.read_text(encoding="utf-8")).render(
        ink=INK,
        quiet=QUIET,
        damaged=damaged,
        versions=_versions(rows),
        machines=machines,
        figures=_figures(outcomes, source, out, quick),
        sections=[*_accuracies(rows), *_tables(Path(source)), *_measurements(rows)],
        lines=[commands.shown(line, source) for line in paper.all_lines(quick)],
    )
    return files.write_whole(Path(out, FILE_NAME), page.encode())


_MEDIA_TYPES = {"svg": "image/svg+xml", "png": "image/png"}
_NUMBER = re.compile(r"[-+]?\d[\d.,]*( ?(%|x|MiB|s|ms))?|-")


def _figures(
    outcomes: Sequence[Outcome], source: str, out: str, quick: bool
) -> list[dict[str, Any]]:
    known = {outcome.figure.name: outcome for outcome in outcomes}
    shown = []
    for figure in paper.FIGURES:
        lines = paper.lines_of(figure, quick)
        if not lines:
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
                "lines": [commands.shown(line, source) for line in lines],
            }
        )
    return shown


def _data_uri(pictures: Sequence[Path]) -> str:
    """The smallest of the files of one figure: lines are so as SVG, areas as PNG."""
    smallest = min(pictures, key=lambda file: file.stat().st_size)
    content = base64.b64encode(smallest.read_bytes()).decode()
    return f"data:{_MEDIA_TYPES[smallest.suffix[1:]]};base64,{content}"


def _tables(folder: Path) -> Iterable[Section]:
    """A section for each table that a command left: as it was written for readers, or its CSV."""
    markdown = markdown_it.MarkdownIt("commonmark", {"html": False}).enable("table")
    stems = {file.stem for kind in ("md", "csv") for file in folder.glob(f"*.{kind}")}
    for stem in sorted(stems):
        text, table = folder / f"{stem}.md", folder / f"{stem}.csv"
        title = _TITLES.get(stem, stem.replace("_", " "))
        if text.is_file():
            html = markdown.render(text.read_text(encoding="utf-8", errors="replace"))
            yield Section(f"table_{stem}", title, html=html, source=text.name)
        elif table.name not in _ELSEWHERE and not stem.startswith("history_"):
            yield Section(f"table_{stem}", title, table=_csv_table(table), source=table.name)


def _csv_table(file: Path) -> Table:
    """A CSV for reading: bytes as MiB, without the columns that are empty."""
    with file.open(newline="", encoding="utf-8", errors="replace") as opened:
        heads, *rows = list(csv.reader(opened)) or [[]]
    rows = [row for row in rows if len(row) == len(heads)]
    full = [n for n in range(len(heads)) if any(row[n] for row in rows)]
    return Table(
        [heads[n].replace("_bytes", " (MiB)").replace("_", " ") for n in full],
        [[_cell(heads[n], row[n]) for n in full] for row in rows],
    )


def _cell(head: str, text: str) -> str:
    if not text:
        return "-"
    if "_bytes" in head and text.isdecimal():
        return display.mebibytes(int(text))
    return f"{float(text):.4g}" if re.fullmatch(r"\d+\.\d+", text) else text


def _versions(rows: Sequence[measured.Row]) -> Table:
    """What the rows of the measurements were measured with."""
    names = ("device", "tensorflow", "keras", "python")
    groups: dict[tuple, list[str]] = {}
    for row in rows:
        groups.setdefault(tuple(row.get(name) or "-" for name in names), []).append(
            row["timestamp"] or "-"
        )
    lines = [[*key, str(len(times)), min(times), max(times)] for key, times in groups.items()]
    return Table([*names, "rows", "first", "last"], lines)


def _accuracies(rows: Sequence[measured.Row]) -> Iterable[Section]:
    """Test accuracy after the last epoch, over the seeds."""
    groups: dict[tuple, list[float]] = {}
    trained = [r for r in measured.newest_rows(rows) if r.get("epochs") and r["status"] == "ok"]
    for row in trained:
        if row["accuracy"] is not None:
            key = (measured.name_of(row), *(row.get(name) for name in _TRAINED_BY))
            groups.setdefault(key, []).append(row["accuracy"])
    if not groups:
        return
    heads = ["algorithm", *_TRAINED_BY, "seeds", "mean", "least", "greatest"]
    lines = [
        [*map(_text, key), str(len(values)), *(f"{pick(values):.2%}" for pick in _SUMMARIES)]
        for key, values in groups.items()
    ]
    yield Section("accuracy", "Test accuracy", table=Table(heads, lines), source=results.FILE_NAME)


_SUMMARIES = (statistics.fmean, min, max)
_TRAINED_BY = ("model", "accuracy_label", "epochs", "batch_size", "optimizer", "learning_rate")


def _measurements(rows: Sequence[measured.Row]) -> Iterable[Section]:
    """The newest row of every cell."""
    if not rows:
        return
    heads = ["model", "algorithm", "layers", "batch", "execution", "dataset", "optimizer", "status"]
    heads += ["peak (MiB)", "step (MiB)", "min-max", "requested (MiB)", "step (ms)", "measured"]
    lines = [_measurement(row) for row in measured.newest_rows(rows)]
    yield Section(
        "measurements", "All measurements", table=Table(heads, lines), source=results.FILE_NAME
    )


def _measurement(row: Mapping[str, Any]) -> list[str]:
    mebibytes = display.mebibytes
    spread = [mebibytes(row.get(f"step_bytes_{end}")) for end in ("min", "max")]
    return [
        row["model"],
        measured.name_of(row),
        *(_text(row[name]) for name in ("layers", "batch_size", "execution", "dataset")),
        *(_text(row[name]) for name in ("optimizer", "status")),
        mebibytes(row["peak_bytes"]),
        mebibytes(row["step_bytes"]),
        "-".join(spread) if row["step_bytes"] is not None else "-",
        mebibytes(row.get("step_requested_bytes")),
        "-" if row["step_time_s"] is None else f"{row['step_time_s'] * 1000:.1f}",
        (row["timestamp"] or "-")[:10],
    ]


def _text(value: object) -> str:
    return "-" if value is None else str(value)
