"""The tables of the page, from those that commands left."""

import csv
import html
import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mem_dfa.experiments.cells.cell import Cell
from mem_dfa.experiments.report import fit_table
from mem_dfa.experiments.store import files, fit_rows, measured, results, trainings
from mem_dfa.experiments.store.table import Row
from mem_dfa.experiments.terminal import screen

# Tables with a section of their own, or too long for this page.
_ELSEWHERE = (
    results.FILE_NAME,
    trainings.EPOCHS.name,
    fit_rows.ANSWERS.name,
    fit_rows.TRIES.name,
)
_TITLES = {
    "bench": "Beside Keras and TensorFlow, taking turns",
    "claims_constant": "Claims: constant memory in every execution mode",
    "claims_exact": "Claims: exact gradients",
    "claims_feedback": "Claims: random feedback",
    "claims_timelines": "Claims: timelines",
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


def sections(folder: Path, rows: Sequence[Row]) -> list[Section]:
    """Every table of a folder whose rows of measurements are known."""
    own = [*_accuracies(rows), *_fits(folder)]
    return [*own, *_tables(folder), *_measurements(rows)]


def _tables(folder: Path) -> Iterable[Section]:
    """A section for each table that a command left and that has none of its own."""
    for file in sorted((folder / files.TABLES).glob("*.csv")):
        if file.relative_to(folder).as_posix() not in _ELSEWHERE:
            title = _TITLES.get(file.stem, file.stem.replace("_", " "))
            yield _of_csv(f"table_{file.stem}", title, file)


def _fits(folder: Path) -> Iterable[Section]:
    """The largest batch, and the greatest depth, within a budget, a line for each answer."""
    try:
        rows = list(fit_rows.answers(folder).values())
    except results.ResultsError as error:
        rows, said = [], f"<p>{html.escape(str(error))}</p>"
        yield Section("table_fit", "How large can I go?", said, source=fit_rows.ANSWERS.name)
    if rows:
        heads = ["memory (MiB)", "searched", *fit_table.HEADS, *fit_table.NUMBERS]
        heads += ["dataset", "optimizer", "TensorFlow"]
        limits = [[screen.mebibytes(row["memory_limit_bytes"]), row["over"]] for row in rows]
        rest = [
            [_text(row[name]) for name in ("dataset", "optimizer", "tensorflow")] for row in rows
        ]
        shown = [
            [*own, *line, *more]
            for own, line, more in zip(limits, fit_table.lines(rows), rest, strict=True)
        ]
        table = Table(heads, shown)
        yield Section("table_fit", "How large can I go?", table=table, source=fit_rows.ANSWERS.name)


def _of_csv(name: str, title: str, file: Path) -> Section:
    try:
        return Section(name, title, table=_csv_table(file), source=file.name)
    except (OSError, csv.Error, results.ResultsError) as error:
        said = f"<p>{html.escape(f'{file} cannot be read ({error})')}</p>"
        return Section(name, title, said, source=file.name)


def _csv_table(file: Path) -> Table:
    """A CSV for reading: bytes as MiB, without the columns that are empty."""
    files.check_is_file(file)
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
    if "_bytes" in head and re.fullmatch(r"\d{1,18}", text):
        return screen.mebibytes(int(text))
    return f"{float(text):.4g}" if re.fullmatch(r"\d+\.\d+", text) else text


def versions(rows: Sequence[Row]) -> Table:
    """What the rows of the measurements were measured with."""
    names = ("device", "tensorflow", "keras", "python")
    groups: dict[tuple, list[str]] = {}
    for row in rows:
        groups.setdefault(tuple(row.get(name) or "-" for name in names), []).append(
            row["timestamp"] or "-"
        )
    lines = [[*key, str(len(times)), min(times), max(times)] for key, times in groups.items()]
    return Table([*names, "rows", "first", "last"], lines)


def _accuracies(rows: Sequence[Row]) -> Iterable[Section]:
    """Test accuracy after the last epoch, over the seeds; searches have one of their own."""
    groups: dict[tuple, dict[int, float]] = {}
    trained = [r for r in measured.newest_rows(rows) if r.get("epochs") and r["status"] == "ok"]
    for row in trained:
        if row["accuracy"] is not None:
            key = (Cell.of(row).name, *(row.get(name) for name in _TRAINED_BY))
            groups.setdefault(key, {})[row.get("seed")] = row["accuracy"]
    if not groups:
        return
    trained_by = ["algorithm", *_TRAINED_BY.values()]
    heads = [*trained_by[:_FIRST], "seeds", "mean", "least", "greatest", *trained_by[_FIRST:]]
    lines = [
        [
            *map(_text, key[:_FIRST]),
            ", ".join(map(_text, sorted(seeds, key=str))),
            *(f"{pick(seeds.values()):.2%}" for pick in _SUMMARIES),
            *map(_text, key[_FIRST:]),
        ]
        for key, seeds in groups.items()
    ]
    yield Section("accuracy", "Test accuracy", table=Table(heads, lines), source=results.FILE_NAME)


_SUMMARIES = (statistics.fmean, min, max)
_TRAINED_BY = {
    "model": "model",
    "accuracy_label": "images",
    "epochs": "epochs",
    "optimizer": "optimizer",
    "learning_rate": "learning rate",
    "batch_size": "batch",
    "layers": "layers",
    "execution": "execution",
    "device": "device",
    "tensorflow": "TensorFlow",
}
_FIRST = 6  # of these and the algorithm, before the accuracies; the others rarely differ


def _measurements(rows: Sequence[Row]) -> Iterable[Section]:
    """The newest row of every cell."""
    if not rows:
        return
    heads = ["model", "algorithm", *(name.replace("_", " ") for name in _DECIDING), "status"]
    heads += ["peak (MiB)", "step (MiB)", "step min-max (MiB)", "requested (MiB)", "step (ms)"]
    heads += ["measured on"]
    lines = [_measurement(row) for row in measured.newest_rows(rows)]
    yield Section(
        "measurements", "All measurements", table=Table(heads, lines), source=results.FILE_NAME
    )


_DECIDING = ("layers", "batch_size", "execution", "dataset", "optimizer", "learning_rate")
_DECIDING += ("seed", "steps", "epochs")


def _measurement(row: Mapping[str, Any]) -> list[str]:
    mebibytes = screen.mebibytes
    spread = [mebibytes(row.get(f"step_bytes_{end}")) for end in ("min", "max")]
    return [
        row["model"],
        Cell.of(row).name,
        *(_text(row.get(name)) for name in (*_DECIDING, "status")),
        mebibytes(row["peak_bytes"]),
        mebibytes(row["step_bytes"]),
        "-".join(spread) if row["step_bytes"] is not None else "-",
        mebibytes(row.get("step_requested_bytes")),
        "-" if row["step_time_s"] is None else f"{row['step_time_s'] * 1000:.1f}",
        (row["timestamp"] or "-")[:10],
    ]


def _text(value: object) -> str:
    return "-" if value is None else str(value)
