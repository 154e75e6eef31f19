"""The index of a folder of results, which whoever opens the folder sees first."""

import csv
from collections.abc import Iterator
from pathlib import Path

from mem_dfa.experiments.paper.planned_figures import FIGURES
from mem_dfa.experiments.report.page import FILE_NAME as PAGE
from mem_dfa.experiments.store import bench_rows, fit_rows, results, trainings
from mem_dfa.experiments.store.files import TABLES
from mem_dfa.experiments.store.traces import FOLDER
from mem_dfa.profiling import files

_NOUNS = {
    results.FILE_NAME: "every measured cell, a row each",
    trainings.EPOCHS.name: "what each epoch of every training gave",
    bench_rows.BENCH.name: "step times of cells that took turns",
    fit_rows.ANSWERS.name: "the largest sizes that train in so much memory",
    fit_rows.TRIES.name: "every size that was tried for that",
}


def write(out: str | Path) -> Path:
    """Writes README.md: the tables, figures and recordings that are in the folder, linked.

    Raises:
        profiling.TraceError: it cannot be written.
    """
    text = "\n".join(_lines(Path(out))) + "\n"
    return files.write_whole(Path(out, "README.md"), text.encode())


def _lines(folder: Path) -> Iterator[str]:
    yield from ["# Results", "", "`python -m experiments.figures` writes this index.", ""]
    if (folder / PAGE).exists():
        yield from [f"[{PAGE}]({PAGE}) shows every figure and table on one page.", ""]
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
    recordings = sorted((folder / FOLDER).glob("*.timeline.json.gz"))
    if recordings:
        yield from [
            "",
            f"{len(recordings)} recorded steps are in [{FOLDER}]({FOLDER}); `python -m profiling "
            "show FILE ... --html page.html` makes a page of them.",
        ]


def _count(file: Path) -> str:
    try:
        with file.open(newline="", encoding="utf-8", errors="replace") as opened:
            return str(max(0, sum(1 for _ in csv.reader(opened)) - 1))
    except (OSError, csv.Error):
        return "-"
