"""The one page with every figure and table, and the index of its folder."""

import base64
import html
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import jinja2
from mem_dfa.experiments.paper.planned_figures import FIGURES
from mem_dfa.experiments.pictures.canvas import Drawn
from mem_dfa.experiments.report import facts, readme, tables
from mem_dfa.experiments.store import results
from mem_dfa.experiments.store.files import TABLES
from mem_dfa.experiments.store.traces import FOLDER, SUFFIX
from mem_dfa.profiling import files
from mem_dfa.profiling.render.palette import INK, QUIET

FILE_NAME = "report.html"
_PNG_WIDTH = slice(16, 20)  # where a PNG file has it
_DOTS_PER_INCH = 160  # of the figures, see `pictures.canvas.save`
_TEMPLATE = Path(__file__).with_name("page.html.jinja")
_NUMBER = re.compile(r"[-+]?\d[\d.,]*( ?(%|x|MiB|s|ms))?|-")


@dataclass(frozen=True)
class Shown:
    """A figure on the page: what it says, its picture as base64, and what draws it."""

    name: str
    title: str
    finding: str
    notes: str
    image: str
    width: int  # in CSS's pixels, of which an inch has 96, so that letters are as large in each
    problem: str
    command: str
    is_open: bool  # whether the picture is there before anybody asks for it


def write(source: str, out: str, drawn: Mapping[str, Drawn], quick: bool = False) -> Path:
    """Writes the page of what was measured, ``source``, and of the figures under ``out``.

    Those that were not drawn just now, the small ones if ``quick``, are of earlier runs. TraceError
    where it cannot be written.
    """
    rows, damaged = [], ""
    try:
        rows = results.read(source)
    except results.ResultsError as error:
        damaged = str(error)
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    environment.filters["marked"] = marked
    page = environment.from_string(_TEMPLATE.read_text(encoding="utf-8")).render(
        ink=INK,
        quiet=QUIET,
        is_number=_NUMBER.fullmatch,
        damaged=damaged,
        headlines=_headlines(source),
        versions=tables.versions(rows),
        machines=sorted({row["machine"] for row in rows if row["machine"]}),
        figures=list(_figures(source, out, drawn, quick)),
        sections=tables.sections(Path(source), rows),
    )
    return files.write_whole(Path(out, FILE_NAME), page.encode())


def _headlines(source: str) -> tuple[list[dict[str, str]], str]:
    """The README's numbers and how many promises hold; neither before all are measured."""
    try:
        return readme.headline_rows(source), readme.promises(source)
    except (KeyError, *tables.UNREADABLE):
        return [], ""


def _figures(source: str, out: str, drawn: Mapping[str, Drawn], quick: bool) -> Iterator[Shown]:
    """Those of the plan; of each kind the first is open, as others show the same of another net.

    But for what explains others: searches, and angles between updates.
    """
    kinds = {"search", "alignment"}
    for figure in FIGURES:
        if figure.wanted(quick):
            known = drawn.get(figure.name, Drawn(None))
            file = Path(out, "figures", f"{figure.name}.png")
            is_there = file.is_file() and (known.figure or figure.name not in drawn)
            content = file.read_bytes() if is_there else b""
            heading = known.figure.get_suptitle() if known.figure else ""
            yield Shown(
                name=figure.name,
                title=figure.title,
                finding=" ".join(heading.split()) or figure.title,
                notes=" ".join(known.notes),
                image=base64.b64encode(content).decode(),
                width=int.from_bytes(content[_PNG_WIDTH], "big") * 96 // _DOTS_PER_INCH,
                problem=known.problem or ("" if content else "Not drawn yet."),
                command=figure.command(source, quick),
                is_open=bool(content) and figure.kind not in kinds,
            )
            kinds |= {figure.kind} if content else set()


def marked(text: str) -> str:
    """Markdown's `**strong**` and `` `code` `` as HTML, all else as text."""
    strong = re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", html.escape(text))
    return re.sub(r"`(.+?)`", r"<code>\1</code>", strong)


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
    unkept = [row for row in facts.claims(folder).values() if row["verdict"] != "holds"]
    if unkept:
        yield from ["", "| promise that does not hold | limit | measured |", "|---|---|---|"]
    for row in unkept:
        limit, measured = (f"{float(row[name]):.2f}" for name in ("limit", "measured"))
        yield f"| {row['claim']} | {limit} {row['unit']} | {measured} |"
    yield from ["", "| figure | |", "|---|---|"]
    for figure in FIGURES:
        name = f"figures/{figure.name}.png"
        if (folder / name).exists():
            yield f"| [{figure.name}]({name}) | {figure.title} |"
    if recordings := len(list((folder / FOLDER).glob(f"*{SUFFIX}"))):
        show = "`python -m profiling show FILE ... --html page.html` makes a page of them"
        yield f"\n{recordings} recorded steps are in [{FOLDER}]({FOLDER}); {show}."
