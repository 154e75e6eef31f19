"""The tables of `experiments.fit`: a row for every process, and a row for every answer."""

import os
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from mem_dfa.experiments.cells.cell import Cell
from mem_dfa.experiments.store.files import ResultsError
from mem_dfa.experiments.store.results import CELL_KINDS
from mem_dfa.experiments.store.table import Row, Schema, Table
from mem_dfa.experiments.store.values import Kind

OVER = {"batch": "batch_size", "layers": "layers"}
"""What can be searched, and the field of a cell that it is."""

_VERSIONS = ("tensorflow", "keras")
_SAID = {name: kind for name, kind in CELL_KINDS.items() if name != "epochs"}
_MEASURED: dict[str, Kind] = {
    **dict.fromkeys(("peak_bytes", "process_peak_bytes"), "count"),
    **dict.fromkeys(("resident_bytes", "step_bytes"), "whole"),
    **dict.fromkeys(("step_time_s", "first_step_s"), "time"),
}
_ENDED: dict[str, Kind] = {
    "time_limit_s": "whole",
    **dict.fromkeys((*_VERSIONS, "timestamp"), "name"),
    "error": "text",
}
TRIES = Schema(
    "tables/fit_tries.csv",
    "table of tried sizes",
    {
        **_SAID,
        **{"memory_limit_bytes": "count", "process": "count", "status": "name"},
        **_MEASURED,
        **_ENDED,
    },
    always=("algorithm", "model", "batch_size", "status", "process"),
    if_good=("step_time_s", "process_peak_bytes"),
)
"""One row per process."""

ANSWERS = Schema(
    "tables/fit.csv",
    "table of largest sizes",
    {
        **_SAID,
        **{"memory_limit_bytes": "count", "over": "name", "status": "name", "size": "count"},
        **{"image_time_s": "time", "repeats": "count", "maximum": "count"},
        **{"next_status": "name", "next_error": "text"},
        **_MEASURED,
        **_ENDED,
    },
    always=("algorithm", "model", "batch_size", "status", "memory_limit_bytes", "over"),
    if_good=("size", "image_time_s", "repeats", "process_peak_bytes"),
    good=("ok", "maximum"),
)
"""One row per search. ``next_status`` and ``next_error`` are of one more than ``size``."""

ACCIDENTS = ("failed", "killed")
"""How a process may have ended for a reason that another one would not meet."""


def key_of(row: Mapping[str, Any], *free: str) -> str:
    """What is the same for tries of one search, apart from the fields in ``free``."""
    more = [f"{name}={row[name]}" for name in ("memory_limit_bytes", *_VERSIONS)]
    return " ".join([Cell.of(row).key("epochs", *free), *more])


def tries(out: str | os.PathLike[str]) -> dict[tuple[str, int], Row]:
    """What every process said, by its cell and number.

    Raises:
        ResultsError: what is there is no such table, or damaged.
    """
    return {(key_of(row), row["process"]): row for row in Table(out, TRIES).read()}


def key_of_answer(row: Mapping[str, Any]) -> tuple[str, str]:
    """What an answer is about."""
    return key_of(row, OVER[row["over"]]), row["over"]


def answers(out: str | os.PathLike[str]) -> dict[tuple[str, str], Row]:
    """The newest answer to each question.

    Raises:
        ResultsError: what is there is no such table, or damaged.
    """
    rows = Table(out, ANSWERS).read()
    for row in rows:
        if row["over"] not in OVER:
            raise ResultsError(f"{ANSWERS.name} in {out} is damaged: over is {row['over']!r}")
    return {key_of_answer(row): row for row in rows}


def is_settled(row: Row, time_limit_s: int) -> bool:
    """Whether trying again in a later run would tell nothing new."""
    if row["status"] == "timed_out":
        return (row["time_limit_s"] or 0) >= time_limit_s
    return row["status"] not in ACCIDENTS


def merged(rows: Sequence[Row]) -> Row:
    """What the processes of one size say together: a failure of any, or the one in the middle."""
    failures = [row for row in rows if row["status"] != "ok"]
    if failures:
        return {**failures[0], "repeats": len(rows)}
    seconds = statistics.median_low(row["step_time_s"] for row in rows)
    middle = next(row for row in rows if row["step_time_s"] == seconds)
    return {**middle, "repeats": len(rows)}
