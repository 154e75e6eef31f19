"""The CSV of measurements, and tables made from it."""

import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
from mem_dfa.experiments.cells.catalogue import ALGORITHM_OPTIONS
from mem_dfa.experiments.store.appended import AppendedFile, Row
from mem_dfa.experiments.store.files import ResultsError as ResultsError
from mem_dfa.experiments.store.files import behind_links, check_is_file, replace, unwritable

FORMAT_VERSION = 5
FILE_NAME = "measurements.csv"
FREE_BYTES = 2**14  # what a row takes, and more
SPREAD_COLUMNS = ("peak_bytes", "step_bytes", "step_time_s", "step_requested_bytes")
COLUMNS = [
    *("algorithm", "model", "layers", "batch_size", "execution", "device", "status"),
    *("peak_bytes", "resident_bytes", "step_bytes", "step_time_s"),
    *("step_requested_bytes", "predicted_resident_bytes", "predicted_step_bytes"),
    *("dataset", "optimizer", "learning_rate", "seed", "steps", "epochs", "repeats"),
    *ALGORITHM_OPTIONS,
    *(f"{column}_{end}" for column in SPREAD_COLUMNS for end in ("min", "max")),
    *("parameter_bytes", "optimizer_bytes", "feedback_bytes", "left_over_bytes"),
    *("first_step_s", "classes", "variable_allocated_bytes", "whole_update_bytes"),
    *("loss", "accuracy", "accuracy_label", "trace_file", "source"),
    *("tensorflow", "keras", "python", "format_version", "timestamp", "error"),
]


def table(out: str | os.PathLike[str]) -> AppendedFile:
    """The CSV under a folder."""
    return AppendedFile(behind_links(Path(out, FILE_NAME)), COLUMNS)


def check_writable(out: str | os.PathLike[str]) -> None:
    """Makes sure, before anything is measured, that rows can be appended under ``out``.

    What earlier runs could only put aside is in the CSV from now on.

    Raises:
        ResultsError: the folder cannot be made or written, or its CSV is not one of these.
    """
    try:
        file = table(out)
        file.settle()
        size = len(file.read()[0])
        lock = file.path.with_name(f".{file.path.name}.lock")
        check_is_file(lock)
        for path in (file.path, lock):
            if path.exists():
                path.open("r+b").close()
        folders = (file.path.parent, *file.path.parent.parents)
        with tempfile.TemporaryFile(dir=next(f for f in folders if f.exists())) as stand_in:
            stand_in.seek(size)  # to be as long as the CSV will be
            stand_in.write(bytes(FREE_BYTES))
    except OSError as error:
        raise unwritable(out, error) from error


def append(out: str | os.PathLike[str], rows: Sequence[Mapping[str, object]]) -> Path:
    """Appends ``rows`` to the CSV under ``out`` and returns its path.

    Each is there whole or not at all, whenever whoever writes it is killed.

    Raises:
        ResultsError: it cannot be written, or what is there is not such a CSV.
    """
    lines = pd.DataFrame(rows, columns=COLUMNS, dtype=object)  # keeps integers whole
    text = lines.to_csv(index=False, header=False, lineterminator="\n")
    try:
        # A carriage return is written without quotes, and nobody could read the file any more.
        table(out).add(text.replace("\r", " "))
    except OSError as error:
        raise unwritable(out, error) from error
    return Path(out, FILE_NAME)


def read(path: Path) -> str:
    """The text of a CSV written by `append`; empty where there is none yet.

    Raises:
        ResultsError: the file was not written by this version of the format, or is damaged.
    """
    return AppendedFile(behind_links(path), COLUMNS).read()[0].decode()


def rows(out: str | os.PathLike[str]) -> list[Row]:
    """The rows under ``out``, oldest first, as they are written: what is unknown is "".

    Raises:
        ResultsError: what is there is not such a CSV, or cannot be read.
    """
    try:
        return table(out).read()[1]
    except OSError as error:
        raise unwritable(out, error) from error


def write_table(
    out: str | os.PathLike[str],
    name: str,
    rows: Sequence[Mapping],
    shown: Sequence[Sequence[str]],
    heading: str = "",
) -> Path:
    """Writes ``rows`` as name.csv, and name.md with what is shown of them, each whole.

    Args:
        out: the folder.
        name: of both files.
        rows: all that is known.
        shown: the table's lines; the first one names its columns.
        heading: a line above the table.

    Returns:
        The Markdown file.

    Raises:
        ResultsError: they cannot be written.
    """
    lines = [shown[0], ["---"] * len(shown[0]), *shown[1:]]
    text = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    folder = Path(out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        csv_text = pd.DataFrame(rows, dtype=object).to_csv(index=False, lineterminator="\n")
        replace(folder / f"{name}.csv", csv_text)
        replace(folder / f"{name}.md", f"{heading}\n\n{text}" if heading else text)
    except OSError as error:
        raise unwritable(out, error) from error
    return folder / f"{name}.md"
