"""The tables of the page, from those that commands left."""

import csv
import re
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
from mem_dfa.experiments.cells.cell import Cell
from mem_dfa.experiments.report import fit_table
from mem_dfa.experiments.store import files, fit_rows, measured, results, trainings
from mem_dfa.experiments.store.table import Row
from mem_dfa.experiments.terminal import screen

# Tables with a section of their own, or too long for this page.
_ELSEWHERE = (trainings.EPOCHS.name, fit_rows.ANSWERS.name, fit_rows.TRIES.name)
_TITLES = {
    "bench": "Beside Keras and TensorFlow, taking turns",
    "claims_constant": "Claims: constant memory in every execution mode",
    "claims_exact": "Claims: exact gradients",
    "claims_feedback": "Claims: random feedback",
    "claims_timelines": "Claims: timelines",
}


@dataclass(frozen=True)
class Section:
    """A table with its title, or why it cannot be shown."""

    name: str
    title: str
    source: str
    """The file it is from."""
    lines: list[dict[str, str]] = field(default_factory=list)
    """By the names of the columns, which are those of the first line."""
    problem: str = ""


def sections(folder: Path, rows: Sequence[Row]) -> list[Section]:
    """Every table of a folder whose rows of measurements are known; none where it has no lines."""
    newest = measured.newest_rows(rows)
    own = [
        Section("accuracy", "Test accuracy", results.FILE_NAME, _accuracies(newest)),
        _fits(folder),
        *_tables(folder),
        Section(
            "measurements", "All measurements", results.FILE_NAME, list(map(_measurement, newest))
        ),
    ]
    return [section for section in own if section.lines or section.problem]


def _tables(folder: Path) -> Iterable[Section]:
    """A section for each table that a command left and that has none of its own."""
    for file in sorted((folder / files.TABLES).glob("*.csv")):
        if file.relative_to(folder).as_posix() not in _ELSEWHERE:
            said = (f"table_{file.stem}", _TITLES.get(file.stem, file.stem.replace("_", " ")))
            try:
                yield Section(*said, file.name, _csv_lines(file))
            except (OSError, csv.Error, results.ResultsError) as error:
                yield Section(*said, file.name, problem=f"{file} cannot be read ({error})")


def _csv_lines(file: Path) -> list[dict[str, str]]:
    """A CSV for reading: bytes as MiB, without the columns that are empty."""
    files.check_is_file(file)
    with file.open(newline="", encoding="utf-8", errors="replace") as opened:
        rows = [row for row in csv.DictReader(opened) if None not in {*row, *row.values()}]
    full = [head for head in (rows[0] if rows else ()) if any(row[head] for row in rows)]
    names = [head.replace("_bytes", " (MiB)").replace("_", " ") for head in full]
    return [
        dict(zip(names, (_cell(head, row[head]) for head in full), strict=True)) for row in rows
    ]


def _cell(head: str, text: str) -> str:
    if "_bytes" in head and re.fullmatch(r"\d{1,18}", text):
        return screen.mebibytes(int(text))
    return f"{float(text):.4g}" if re.fullmatch(r"\d+\.\d+", text) else text or "-"


def _fits(folder: Path) -> Section:
    """The largest batch, and the greatest depth, within a budget, a line for each answer."""
    said = ("table_fit", "How large can I go?", fit_rows.ANSWERS.name)
    try:
        rows = list(fit_rows.answers(folder).values())
    except results.ResultsError as error:
        return Section(*said, problem=str(error))
    lines = [
        {
            "memory (MiB)": screen.mebibytes(row["memory_limit_bytes"]),
            "searched": row["over"],
            **fit_table.line(row, rows),
            **{name: _text(row[name]) for name in ("dataset", "optimizer")},
            "TensorFlow": _text(row["tensorflow"]),
        }
        for row in rows
    ]
    return Section(*said, lines)


def versions(rows: Sequence[Row]) -> list[dict[str, str]]:
    """What the rows of the measurements were measured with."""
    names = ["device", "tensorflow", "keras", "python"]
    frame = pd.DataFrame(rows, columns=[*names, "timestamp"], dtype=object).fillna("-")
    groups = frame.groupby(names, sort=False)["timestamp"]
    lines = groups.agg(rows="size", first="min", last="max").reset_index()
    return lines.astype(str).to_dict("records")


def _accuracies(rows: Sequence[Row]) -> list[dict[str, str]]:
    """Test accuracy after the last epoch, over the seeds; searches have one of their own."""
    groups: dict[tuple[tuple[str, str], ...], list[Row]] = {}
    for row in rows:
        if row.get("epochs") and row["status"] == "ok" and row["accuracy"] is not None:
            told = {name: _text(row.get(column)) for name, column in _TRAINED_BY.items()}
            told["algorithm"] = Cell.of(row).name
            groups.setdefault(tuple(told.items()), []).append(row)
    lines = []
    for group, own in groups.items():
        found = [row["accuracy"] for row in own]
        numbers = {
            "seeds": ", ".join(sorted(_text(row.get("seed")) for row in own)),
            "mean": f"{statistics.fmean(found):.2%}",
            "least": f"{min(found):.2%}",
            "greatest": f"{max(found):.2%}",
        }
        lines.append({**dict(group[:_FIRST]), **numbers, **dict(group[_FIRST:])})
    return lines


_FIRST = 6  # of what follows, before the accuracies; the others rarely differ
_TRAINED_BY = {
    **{name: name for name in ("algorithm", "model")},
    **{"images": "accuracy_label", "epochs": "epochs", "optimizer": "optimizer"},
    **{"learning rate": "learning_rate", "batch": "batch_size", "layers": "layers"},
    **{"execution": "execution", "device": "device", "TensorFlow": "tensorflow"},
}
_DECIDING = ("layers", "batch_size", "execution", "dataset", "optimizer", "learning_rate")
_DECIDING += ("seed", "steps", "epochs", "status")


def _measurement(row: Row) -> dict[str, str]:
    mebibytes, time_s = screen.mebibytes, row["step_time_s"]
    spread = [mebibytes(row.get(f"step_bytes_{end}")) for end in ("min", "max")]
    return {
        "model": row["model"],
        "algorithm": Cell.of(row).name,
        **{name.replace("_", " "): _text(row.get(name)) for name in _DECIDING},
        "peak (MiB)": mebibytes(row["peak_bytes"]),
        "step (MiB)": mebibytes(row["step_bytes"]),
        "step min-max (MiB)": "-" if row["step_bytes"] is None else "-".join(spread),
        "requested (MiB)": mebibytes(row.get("step_requested_bytes")),
        "step (ms)": "-" if time_s is None else f"{time_s * 1000:.1f}",
        "measured on": (row["timestamp"] or "-")[:10],
    }


def _text(value: object) -> str:
    return "-" if value is None else str(value)
