"""The tables of the page, from those that commands left."""

import csv
import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from mem_dfa.experiments.cells.cell import Cell
from mem_dfa.experiments.paper import rules
from mem_dfa.experiments.report import fit_table, rules_table
from mem_dfa.experiments.store import files, fit_rows, results, schemas, trainings
from mem_dfa.experiments.store.table import Row
from mem_dfa.experiments.terminal import screen

_TITLES = {
    results.FILE_NAME: "every measured cell, a row each",
    trainings.EPOCHS.name: "what each epoch of every training gave",
    schemas.ALIGNMENTS.name: "how far each block's updates point away from backpropagation's",
    schemas.BENCH.name: "step times of cells that took turns",
    schemas.RECURRENT.name: "nets unrolled in time: bits, memory and time of each run",
    fit_rows.ANSWERS.name: "the largest sizes that train in so much memory",
    fit_rows.TRIES.name: "every size that was tried for that",
}
_TOO_LONG = (trainings.EPOCHS.name, schemas.ALIGNMENTS.name, fit_rows.TRIES.name)  # for the page
_TRAINED = ["algorithm", "model", "accuracy_label", "epochs", "optimizer", "learning_rate"]
_TRAINED_ON = ["batch_size", "layers", "execution", "device", "tensorflow"]
_MEASURED = [
    *("model", "algorithm", "layers", "batch_size", "execution", "dataset", "optimizer"),
    *("learning_rate", "seed", "steps", "epochs", "status", "peak_bytes", "step_bytes"),
    *("step_bytes_min", "step_bytes_max", "step_requested_bytes", "step_time_s", "measured"),
]
UNREADABLE = (OSError, csv.Error, results.ResultsError)
Lines = list[dict[str, str]]  # what is shown, by the heads of the columns, the same in each


@dataclass(frozen=True)
class Section:
    """A table with its title and the file that it is from, or why it cannot be shown."""

    name: str
    title: str
    source: str
    lines: Lines
    problem: str = ""


def title_of(name: str) -> str:
    """What a table is of, by the path of its file below the folder of results."""
    return _TITLES.get(name, Path(name).stem.replace("_", ": ", 1))


def sections(folder: Path, rows: Sequence[Row]) -> list[Section]:
    """Every table of a folder whose rows of measurements are known; none where it has no lines."""
    newest = [
        {**row, "algorithm": Cell.of(row).name, "measured": (row["timestamp"] or "")[:10]}
        for row in results.newest_rows(rows)
    ]
    found = [Section("accuracy", "Test accuracy", results.FILE_NAME, _accuracies(newest))]
    for layers in rules.TABLED:
        title = f"Every rule of learning, {layers} hidden layers: test accuracy (%)"
        lines, problem = [], ""
        try:
            lines = rules_table.lines(folder, layers)
        except UNREADABLE as error:
            problem = f"{trainings.EPOCHS.name} cannot be read ({error})"
        found.append(Section(f"rules_{layers}", title, trainings.EPOCHS.name, lines, problem))
    readers = {fit_rows.ANSWERS.name: _fits}
    for file in sorted((folder / files.TABLES).glob("*.csv")):
        name = f"{files.TABLES}/{file.name}"
        if name not in _TOO_LONG:
            title = title_of(name)[0].upper() + title_of(name)[1:]
            try:
                lines, problem = readers.get(name, _csv)(file), ""
            except UNREADABLE as error:
                lines, problem = [], f"{name} cannot be read ({error})"
            found.append(Section(f"table_{file.stem}", title, name, lines, problem))
    lines = _lines(newest, _MEASURED)
    found.append(Section("measurements", "All measurements", results.FILE_NAME, lines))
    return [section for section in found if section.lines or section.problem]


def _lines(rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> Lines:
    """Columns of rows, for reading: bytes as MiB."""
    heads = {name: name.replace("_bytes", " (MiB)").replace("_", " ") for name in columns}
    return [{head: _cell(name, row.get(name)) for name, head in heads.items()} for row in rows]


def _cell(name: str, value: object) -> str:
    text = "" if value is None else str(value)
    if "_bytes" in name and re.fullmatch(r"\d{1,18}", text):
        return screen.mebibytes(int(text))
    return f"{float(text):.4g}" if re.fullmatch(r"\d+\.\d+", text) else text or "-"


def _rows(file: Path) -> list[dict[str, str]]:
    """Those of any CSV that are whole."""
    files.check_is_file(file)
    with file.open(newline="", encoding="utf-8", errors="replace") as opened:
        return [row for row in csv.DictReader(opened) if None not in (*row, *row.values())]


def count(file: Path) -> str:
    """How many rows a CSV has, as far as it can be read."""
    try:
        return str(len(_rows(file)))
    except UNREADABLE:
        return "-"


def _csv(file: Path) -> Lines:
    """A CSV without the columns that are empty."""
    rows = _rows(file)
    return _lines(rows, [name for name in (rows or [{}])[0] if any(row[name] for row in rows)])


def _fits(file: Path) -> Lines:
    """The largest batch, and the greatest depth, within a budget, a line for each answer."""
    rows = list(fit_rows.answers(file.parents[1]).values())
    first, last = ("memory_limit_bytes", "over"), ("dataset", "optimizer", "tensorflow")
    return [
        {**before, **fit_table.line(row, rows), **after}
        for row, before, after in zip(rows, _lines(rows, first), _lines(rows, last), strict=True)
    ]


def versions(rows: Sequence[Row]) -> Lines:
    """What the rows of the measurements were measured with."""
    names = ["device", "tensorflow", "keras", "python"]
    frame = pd.DataFrame(rows, columns=[*names, "timestamp"], dtype=object).fillna("-")
    groups = frame.groupby(names, sort=False)["timestamp"]
    lines = groups.agg(rows="size", first="min", last="max").reset_index()
    return lines.astype(str).to_dict("records")


def _accuracies(rows: Sequence[Row]) -> Lines:
    """Test accuracy after the last epoch, over the seeds; searches have one of their own."""
    good = [row for row in rows if row["epochs"] and row["status"] == "ok"]
    told = [row for row in good if row["accuracy"] is not None]
    own = [*_TRAINED, *_TRAINED_ON]
    frame = pd.DataFrame(told, columns=[*own, "seed", "accuracy"], dtype=object).fillna("-")
    groups = frame.groupby(own, sort=False)
    shown = groups["seed"].agg(seeds=lambda seeds: ", ".join(sorted(map(str, seeds))))
    for name, of in {"mean": statistics.fmean, "least": min, "greatest": max}.items():
        shown[name] = groups["accuracy"].agg(of).map("{:.2%}".format)
    columns = [*_TRAINED, "seeds", "mean", "least", "greatest", *_TRAINED_ON]
    return _lines(shown.reset_index().to_dict("records"), columns)
