"""The one page with every figure and table, and the index of its folder."""

import base64
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import jinja2
from mem_dfa.experiments.paper.planned_figures import FIGURES
from mem_dfa.experiments.pictures.canvas import Drawn
from mem_dfa.experiments.report import tables
from mem_dfa.experiments.store import results
from mem_dfa.experiments.store.files import TABLES
from mem_dfa.experiments.store.traces import FOLDER, SUFFIX
from mem_dfa.profiling import files
from mem_dfa.profiling.render.palette import INK, QUIET

FILE_NAME = "report.html"
_TEMPLATE = Path(__file__).with_name("page.html.jinja")
_NUMBER = re.compile(r"[-+]?\d[\d.,]*( ?(%|x|MiB|s|ms))?|-")


def write(source: str, out: str, drawn: Mapping[str, Drawn], quick: bool = False) -> Path:
    """Writes the page of what was measured, ``source``, and of the figures under ``out``.

    Those that were not drawn just now, the small ones if ``quick``, are of earlier runs. TraceError
    where it cannot be written.
    """
    figures, rows, damaged = [], [], ""
    try:
        rows = results.read(source)
    except results.ResultsError as error:
        damaged = str(error)
    for figure in FIGURES:
        if figure.wanted(quick):
            known = drawn.get(figure.name, Drawn(None))
            file = Path(out, "figures", f"{figure.name}.png")
            is_there = file.is_file() and (known.figure or figure.name not in drawn)
            image = base64.b64encode(file.read_bytes()).decode() if is_there else ""
            figures.append((figure, known, image, figure.command(source, quick)))
    text = _TEMPLATE.read_text(encoding="utf-8")
    page = jinja2.Template(text, autoescape=True, undefined=jinja2.StrictUndefined).render(
        ink=INK,
        quiet=QUIET,
        is_number=_NUMBER.fullmatch,
        damaged=damaged,
        versions=tables.versions(rows),
        machines=sorted({row["machine"] for row in rows if row["machine"]}),
        figures=figures,
        sections=tables.sections(Path(source), rows),
    )
    return files.write_whole(Path(out, FILE_NAME), page.encode())


def write_index(out: str) -> Path:
    """Writes README.md: the tables, figures and recordings that are in the folder, linked."""
    text = "\n".join(_index(Path(out))) + "\n"
    return files.write_whole(Path(out, "README.md"), text.encode())


def _index(folder: Path) -> Iterator[str]:
    yield from ["# Results", "", "`python -m experiments.figures` writes this index.", ""]
    yield from [f"[{FILE_NAME}]({FILE_NAME}) shows every figure and table on one page.", ""]
    yield from ["| table | rows | what |", "|---|---|---|"]
    for file in [*folder.glob("*.csv"), *sorted((folder / TABLES).glob("*.csv"))]:
        name, text = (one.relative_to(folder).as_posix() for one in (file, file.with_suffix(".md")))
        shown = f" ([to read]({text}))" if (folder / text).exists() else ""
        yield f"| [{name}]({name}) | {tables.count(file)} | {tables.title_of(name)}{shown} |"
    yield from ["", "| figure | |", "|---|---|"]
    for figure in FIGURES:
        name = f"figures/{figure.name}.png"
        if (folder / name).exists():
            yield f"| [{figure.name}]({name}) | {figure.title} |"
    if recordings := len(list((folder / FOLDER).glob(f"*{SUFFIX}"))):
        show = "`python -m profiling show FILE ... --html page.html` makes a page of them"
        yield f"\n{recordings} recorded steps are in [{FOLDER}]({FOLDER}); {show}."
