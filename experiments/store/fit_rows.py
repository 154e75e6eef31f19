"""What was tried to find the largest sizes, and what was found."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from mem_dfa.experiments.cells.cell import Cell
from mem_dfa.experiments.store.schemas import ANSWERS, TRIES, Row
from mem_dfa.experiments.store.table import Table

# What can be searched, and the field of a cell that it is.
OVER = {"batch": "batch_size", "layers": "layers"}
ACCIDENTS = ("failed", "killed")  # endings for a reason that another process would not meet


def key_of(row: Mapping[str, Any], *free: str) -> str:
    """What is the same for tries of one search, apart from the fields in ``free``."""
    more = [f"{name}={row[name]}" for name in ("memory_limit_bytes", "tensorflow", "keras")]
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


def largest_batches(out: str | os.PathLike[str], model: str, memory_bytes: int) -> list[Row]:
    """The answers about a model's batches within so much memory that have one, rising."""
    asked = {"model": model, "over": "batch", "memory_limit_bytes": memory_bytes}
    found = [row for row in answers(out).values() if row["size"] and asked.items() <= row.items()]
    return sorted(found, key=lambda row: row["size"])


def is_settled(row: Row, time_limit_s: int) -> bool:
    """Whether trying again in a later run would tell nothing new."""
    has_time = row["status"] != "timed_out" or (row["time_limit_s"] or 0) >= time_limit_s
    return has_time and row["status"] not in ACCIDENTS


def merged(rows: Sequence[Row]) -> Row:
    """What the processes of one size say together: a failure of any, or the one in the middle."""
    failures = [row for row in rows if row["status"] != "ok"]
    told = failures[:1] or sorted(rows, key=lambda row: row["step_time_s"])
    return {**told[(len(told) - 1) // 2], "repeats": len(rows)}
