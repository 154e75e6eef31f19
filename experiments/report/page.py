"""The one page with every figure and table, and the index of its folder."""

import base64
import csv
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jinja2
from mem_dfa.experiments.paper.planned_figures import FIGURES
from mem_dfa.experiments.pictures.canvas import Drawn
from mem_dfa.experiments.report import tables
from mem_dfa.experiments.store import bench_rows, fit_rows, results, trainings
from mem_dfa.experiments.store.files import TABLES
from mem_dfa.experiments.store.traces import FOLDER
from mem_dfa.profiling import files
from mem_dfa.profiling.render.palette import INK, QUIET

FILE_NAME = "report.html"
_TEMPLATE = Path(__file__).with_name("page.html.jinja")
_MEDIA_TYPES = {"svg": "image/svg+xml", "png": "image/png"}
_NUMBER = re.compile(r"[-+]?\d[\d.,]*( ?(%|x|MiB|s|ms))?|-")
_NOUNS = {
    results.FILE_NAME: "every measured cell, a row each",
    trainings.EPOCHS.name: "what each epoch of every training gave",
    bench_rows.BENCH.name: "step times of cells that took turns",
    fit_rows.ANSWERS.name: "the largest sizes that train in so much memory",
    fit_rows.TRIES.name: "every size that was tried for that",
}


def write(source: str, out: str, drawn: Mapping[str, Drawn], quick: bool = False) -> Path:
    """Writes the page from the files under a folder and the figures that were drawn.

    Args:
        source: the folder of what was measured.
        out: the folder of the page and, below it, of the figures.
        drawn: figures by name; of others the page shows what earlier runs left.
        quick: whether the figures are those of the quick commands.

    Raises:
        profiling.TraceError: the page cannot be written.
    """
    rows, damaged = [], ""
    try:
        rows = results.read(source)
    except results.ResultsError as error:
        damaged = str(error)
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    environment.filters["is_number"] = lambda text: bool(_NUMBER.fullmatch(text))
    page = environment.from_string(_TEMPLATE.read_text(encoding="utf-8")).render(
        ink=INK,
        quiet=QUIET,
        damaged=damaged,
        versions=tables.versions(rows),
        machines=sorted({row["machine"] for row in rows if row["machine"]}),
        figures=list(_figures(drawn, source, out, quick)),
        sections=tables.sections(Path(source), rows),
    )
    return files.write_whole(Path(out, FILE_NAME), page.encode())


def _figures(
    every: Mapping[str, Drawn], source: str, out: str, quick: bool
) -> Iterator[dict[str, Any]]:
    for figure in FIGURES:
        if figure.wanted(quick):
            drawn = every.get(figure.name, Drawn(None))
            kinds = [Path(out, "figures", f"{figure.name}.{kind}") for kind in _MEDIA_TYPES]
            pictures = [file for file in kinds if file.is_file()]
            is_there = pictures and (drawn.figure or figure.name not in every)
            yield {
                "name": figure.name,
                "title": figure.title,
                "image": _data_uri(pictures) if is_there else "",
                "notes": " ".join(drawn.notes),
                "problem": drawn.problem,
                "command": figure.command(source, quick),
            }


def _data_uri(pictures: list[Path]) -> str:
    """The smallest of the files of one figure: lines are so as SVG, areas as PNG."""
    smallest = min(pictures, key=lambda file: file.stat().st_size)
    content = base64.b64encode(smallest.read_bytes()).decode()
    return f"data:{_MEDIA_TYPES[smallest.suffix[1:]]};base64,{content}"


def write_index(out: str | Path) -> Path:
    """Writes README.md: the tables, figures and recordings that are in the folder, linked.

    Raises:
        profiling.TraceError: it cannot be written.
    """
    text = "\n".join(_index(Path(out))) + "\n"
    return files.write_whole(Path(out, "README.md"), text.encode())


def _index(folder: Path) -> Iterator[str]:
    yield from ["# Results", "", "`python -m experiments.figures` writes this index.", ""]
    yield from [f"[{FILE_NAME}]({FILE_NAME}) shows every figure and table on one page.", ""]
    yield from ["| table | rows | what |", "|---|---|---|"]
    for file in [*folder.glob("*.csv"), *sorted((folder / TABLES).glob("*.csv"))]:
        name = file.relative_to(folder).as_posix()
        noun = _NOUNS.get(name, file.stem.replace("_", " "))
        text = file.with_suffix(".md")
        shown = f" ([to read]({text.relative_to(folder).as_posix()}))" if text.exists() else ""
        yield f"| [{name}]({name}) | {_count(file)} | {noun}{shown} |"
    yield from ["", "| figure | |", "|---|---|"]
    for figure in FIGURES:
        name = f"figures/{figure.name}.png"
        if (folder / name).exists():
            yield f"| [{figure.name}]({name}) | {figure.title} |"
    recordings = len(list((folder / FOLDER).glob("*.timeline.json.gz")))
    if recordings:
        yield from [
            "",
            f"{recordings} recorded steps are in [{FOLDER}]({FOLDER}); `python -m profiling "
            "show FILE ... --html page.html` makes a page of them.",
        ]


def _count(file: Path) -> str:
    try:
        with file.open(newline="", encoding="utf-8", errors="replace") as opened:
            return str(max(0, sum(1 for _ in csv.reader(opened)) - 1))
    except (OSError, csv.Error):
        return "-"
