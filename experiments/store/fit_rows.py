"""The tables of `experiments.fit`: a row for every process, and a row for every answer."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from mem_dfa.experiments.cells.cell import COLUMNS, Cell
from mem_dfa.experiments.store.table import Row, Schema, Table, words

OVER = {"batch": "batch_size", "layers": "layers"}
"""What can be searched, and the field of a cell that it is."""
ACCIDENTS = ("failed", "killed")
"""How a process may have ended for a reason that another one would not meet."""

_VERSIONS = ("tensorflow", "keras")
_SAID = (*(name for name in COLUMNS if name != "epochs"), "memory_limit_bytes")
_MEASURED = (
    *words("peak_bytes process_peak_bytes resident_bytes step_bytes step_time_s first_step_s"),
    *("time_limit_s", *_VERSIONS, "timestamp", "error"),
)
TRIES = Schema(
    "tables/fit_tries.csv",
    "table of tried sizes",
    (*_SAID, "process", "status", *_MEASURED),
    words("algorithm model batch_size status process"),
    ("step_time_s", "process_peak_bytes"),
)
"""One row per process."""
ANSWERS = Schema(
    "tables/fit.csv",
    "table of largest sizes",
    (
        *(*_SAID, *words("over status size image_time_s repeats maximum next_status next_error")),
        *_MEASURED,
    ),
    words("algorithm model batch_size status memory_limit_bytes over"),
    words("size image_time_s repeats process_peak_bytes"),
    ("ok", "maximum"),
)
"""One row per search. ``next_status`` and ``next_error`` are of one more than ``size``."""


def key_of(row: Mapping[str, Any], *free: str) -> str:
    """What is the same for tries of one search, apart from the fields in ``free``."""
    more = [f"{name}={row[name]}" for name in ("memory_limit_bytes", *_VERSIONS)]
    return " ".join([Cell.of(row).key("epochs", *free), *more])


def tries(out: str | os.PathLike[str]) -> dict[tuple[str, int], Row]:
    """What every process said, by its cell and number."""
    return {(key_of(row), row["process"]): row for row in Table(out, TRIES).read()}


def key_of_answer(row: Mapping[str, Any]) -> tuple[str, str]:
    """What an answer is about."""
    return key_of(row, OVER[row["over"]]), row["over"]


def answers(out: str | os.PathLike[str]) -> dict[tuple[str, str], Row]:
    """The newest answer to each question that can be asked."""
    return {key_of_answer(row): row for row in Table(out, ANSWERS).read() if row["over"] in OVER}


def is_settled(row: Row, time_limit_s: int) -> bool:
    """Whether trying again in a later run would tell nothing new."""
    if row["status"] == "timed_out":
        return (row["time_limit_s"] or 0) >= time_limit_s
    return row["status"] not in ACCIDENTS


def merged(rows: Sequence[Row]) -> Row:
    """What the processes of one size say together: a failure of any, or the one in the middle."""
    failures = [row for row in rows if row["status"] != "ok"]
    by_time = failures or sorted(rows, key=lambda row: row["step_time_s"])
    middle = 0 if failures else (len(rows) - 1) // 2
    return {**by_time[middle], "repeats": len(rows)}
