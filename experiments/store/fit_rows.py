"""The CSVs of `experiments.fit`: a row for every process, and a row for every answer."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from mem_dfa.experiments.cells.catalogue import ALGORITHM_OPTIONS
from mem_dfa.experiments.store.keyed import KeyedFile, Row

OVER = {"batch": "batch_size", "layers": "layers"}
"""What can be searched, and the field of a cell that it is."""

_SETTINGS = ("algorithm", "model", "layers", "batch_size", "execution", "device", "dataset")
_SETTINGS += ("classes", "optimizer", "learning_rate", "seed", "steps")
_SETTINGS += (*ALGORITHM_OPTIONS, "memory_limit_bytes", "tensorflow", "keras")
_MEASURED = ("peak_bytes", "process_peak_bytes", "resident_bytes", "step_bytes")
_MEASURED += ("step_time_s", "first_step_s")

_WHOLE = ("layers", "batch_size", "classes", "seed", "steps", "every", "slices", "depth")
_WHOLE += ("memory_limit_bytes", "time_limit_s", "process", "repeats", "size", "maximum")
_WHOLE += ("peak_bytes", "process_peak_bytes", "resident_bytes", "step_bytes")
_WHOLE += ("least_memory_bytes",)
_FRACTIONS = ("learning_rate", "step_time_s", "first_step_s", "image_time_s")


def _key_of_try(row: Mapping[str, Any]) -> tuple:
    return tuple(row[name] for name in (*_SETTINGS, "process"))


def _key_of_answer(row: Mapping[str, Any]) -> tuple:
    searched = OVER[row["over"]]
    return tuple(row[name] for name in (*_SETTINGS, "over") if name != searched)


TRIES = KeyedFile(
    name="fit_tries.csv",
    noun="table of tried sizes",
    columns=[
        *(*_SETTINGS, "process", "status", *_MEASURED),
        *("depth", "time_limit_s", "timestamp", "error"),
    ],
    key_of=_key_of_try,
    whole=_WHOLE,
    fractions=_FRACTIONS,
    always=("algorithm", "model", "batch_size", "status", "process"),
    if_good=("step_time_s", "process_peak_bytes"),
)
"""One row per process; ``layers`` is empty where all that the model has were asked for."""

ANSWERS = KeyedFile(
    name="fit.csv",
    noun="table of largest sizes",
    columns=[
        *("algorithm", "model", "layers", "batch_size", "execution", "device", "status"),
        *("memory_limit_bytes", "over", "size", "image_time_s", "repeats"),
        *("next_status", "next_error", "maximum", "least_memory_bytes", *_MEASURED),
        *("dataset", "classes", "optimizer", "learning_rate", "seed", "steps"),
        *(*ALGORITHM_OPTIONS, "time_limit_s"),
        *("tensorflow", "keras", "timestamp", "error"),
    ],
    key_of=_key_of_answer,
    whole=_WHOLE,
    fractions=_FRACTIONS,
    always=("algorithm", "model", "batch_size", "status", "memory_limit_bytes", "over"),
    if_good=("size", "image_time_s", "repeats", "process_peak_bytes"),
    good=("ok", "maximum"),
)
"""One row per search. ``next_status`` and ``next_error`` are of one more than ``size``."""


ACCIDENTS = ("failed", "killed")
"""How a process may have ended for a reason that another one would not meet."""


def is_settled(row: Row, time_limit_s: int) -> bool:
    """Whether trying again in a later run would tell nothing new."""
    if row["status"] == "timed_out":
        return (row["time_limit_s"] or 0) >= time_limit_s
    return row["status"] not in ACCIDENTS


def same_but(row: Mapping[str, Any], other: Mapping[str, Any], *free: str) -> bool:
    """Whether two rows have the same settings, apart from those in ``free``."""
    return all(row[name] == other[name] for name in _SETTINGS if name not in free)


def merged(rows: Sequence[Row]) -> Row:
    """What the processes of one size say together: a failure of any, or the one in the middle."""
    failures = [row for row in rows if row["status"] != "ok"]
    if failures:
        return {**failures[0], "repeats": len(rows)}
    seconds = statistics.median_low(row["step_time_s"] for row in rows)
    middle = next(row for row in rows if row["step_time_s"] == seconds)
    return {**middle, "repeats": len(rows)}
