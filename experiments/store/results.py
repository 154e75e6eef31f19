"""The table of measurements."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
from mem_dfa.experiments.cells.cell import COLUMNS as CELL_COLUMNS
from mem_dfa.experiments.store.files import TABLES, replace, unwritable, write_markdown
from mem_dfa.experiments.store.files import ResultsError as ResultsError
from mem_dfa.experiments.store.table import Row, Schema, Table
from mem_dfa.experiments.store.values import Kind

FORMAT_VERSION = 6
SPREAD_COLUMNS = ("peak_bytes", "step_bytes", "step_time_s", "step_requested_bytes")
CELL_KINDS: dict[str, Kind] = {
    **dict.fromkeys(CELL_COLUMNS, "name"),
    **dict.fromkeys(("layers", "batch_size", "classes", "steps"), "count"),
    **dict.fromkeys(("seed", "epochs"), "whole"),
    "learning_rate": "rate",
    "options": "options",
}
_SIZES: dict[str, Kind] = dict.fromkeys(("peak_bytes", "resident_bytes", "step_bytes"), "whole")
_FIRST = CELL_COLUMNS[: CELL_COLUMNS.index("device") + 1]
_REST = CELL_COLUMNS[len(_FIRST) :]
_KINDS: dict[str, Kind] = {
    **{name: CELL_KINDS[name] for name in _FIRST},
    **{"status": "name", **_SIZES, "step_time_s": "time"},
    **dict.fromkeys(
        ("step_requested_bytes", "predicted_resident_bytes", "predicted_step_bytes"), "whole"
    ),
    **{name: CELL_KINDS[name] for name in _REST},
    "repeats": "count",
    **{
        f"{name}_{end}": "time" if name == "step_time_s" else "whole"
        for name in SPREAD_COLUMNS
        for end in ("min", "max")
    },
    **dict.fromkeys(("parameter_bytes", "optimizer_bytes", "feedback_bytes"), "whole"),
    # Memory that is given back makes it less than nothing.
    **{"left_over_bytes": "any", "first_step_s": "time"},
    **dict.fromkeys(("variable_allocated_bytes", "whole_update_bytes"), "whole"),
    **{"loss": "any", "accuracy": "share", "accuracy_label": "name"},
    **{"trace_file": "text", "source": "name"},
    **dict.fromkeys(("tensorflow", "keras", "python", "format_version", "timestamp"), "name"),
    **{"machine": "text", "cell_time_s": "number"},
    "error": "text",
}
MEASUREMENTS = Schema(
    "measurements.csv",
    "table of measurements",
    _KINDS,
    always=("algorithm", "model", "execution", "dataset", "optimizer", "status"),
    if_good=(
        *("layers", "batch_size", "device", "tensorflow"),
        *("peak_bytes", "step_bytes", "step_time_s"),
    ),
)
FILE_NAME, COLUMNS = MEASUREMENTS.name, list(_KINDS)


def table(out: str | os.PathLike[str]) -> Table:
    """The table of measurements under a folder."""
    return Table(out, MEASUREMENTS)


def check_writable(out: str | os.PathLike[str]) -> None:
    """Makes sure that measurements can be appended under ``out``; see `Table.check_writable`."""
    table(out).check_writable()


def append(out: str | os.PathLike[str], rows: Sequence[Mapping[str, object]]) -> Path:
    """Appends rows of measurements under ``out``; see `Table.append`."""
    return table(out).append(rows)


def read(out: str | os.PathLike[str]) -> list[Row]:
    """The measurements under ``out``, the newest last, whatever the clock said.

    Raises:
        ResultsError: what is there is no such table, or damaged.
    """
    return table(out).read()


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
    file = Path(out, TABLES, f"{name}.csv")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        replace(file, pd.DataFrame(rows, dtype=object).to_csv(index=False, lineterminator="\n"))
    except OSError as error:
        raise unwritable(out, error) from error
    return write_markdown(out, name, shown, heading)
