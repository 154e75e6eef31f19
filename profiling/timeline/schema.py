"""The format of a saved timeline: each field, and what it may hold."""

from __future__ import annotations

import re
import reprlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from mem_dfa.profiling.words import ATTRIBUTIONS, CATEGORIES, OTHER, PHASES, RESIDENT

_GREATEST = 2**53  # bytes or nanoseconds that floats still hold exactly: 8 PiB, or 104 days
_LONGEST = 10_000
_SURROGATE = re.compile("[\ud800-\udfff]")


class DamageError(ValueError):
    """A field is missing, holds what it must not, or contradicts another."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What one field may hold, in words and as a test."""

    words: str
    allows: Callable[[Any], bool]


def _whole(least: int, most: int) -> Kind:
    # JSON's true is an int to Python, but not of that type.
    return Kind(
        f"a whole number from {least} to {most}",
        lambda value: type(value) is int and least <= value <= most,
    )


def _one_of(*texts: str) -> Kind:
    return Kind(f"one of {', '.join(map(repr, texts))}", lambda value: value in texts)


def _or_unknown(kind: Kind) -> Kind:
    return Kind(f"{kind.words}, or null", lambda value: value is None or kind.allows(value))


def _is_text(value: Any) -> bool:
    return type(value) is str and len(value) <= _LONGEST and not _SURROGATE.search(value)


_TEXT = Kind(f"a text of at most {_LONGEST} characters that UTF-8 can hold", _is_text)
_SIZE = _whole(0, _GREATEST)
_TIME = _whole(-_GREATEST, _GREATEST)
# Where events are missing, the row for what nobody could name may have less than nothing.
_REST = _whole(-_GREATEST, _GREATEST)
_PLACE = {
    "op": _TEXT,
    "shape": _TEXT,
    "dtype": _TEXT,
    "layer": _TEXT,
    "block": _TEXT,
    "phase": _one_of(*PHASES, RESIDENT, OTHER),
    "category": _one_of(*CATEGORIES),
}
VALUES = {
    "title": _TEXT,
    "device": _TEXT,
    "attribution": _one_of(*ATTRIBUTIONS),
    "resident_bytes": _SIZE,
    "duration_ns": _SIZE,
    "allocator_peak_bytes": _or_unknown(_SIZE),
    "predicted_peak_bytes": _or_unknown(_SIZE),
    "fault": _TEXT,
}
TABLES = {
    "events": {
        "time_ns": _TIME,
        "kind": _one_of("allocation", "deallocation"),
        "address": _whole(0, 2**64 - 1),
        "allocated_bytes": _SIZE,
        "requested_bytes": _SIZE,
        "running_bytes": _SIZE,
        **_PLACE,
        "tensor": _SIZE,
    },
    "tensors": {
        "address": _whole(0, 2**64 - 1),
        "allocated_bytes": _REST,
        "requested_bytes": _REST,
        **_PLACE,
        "start_ns": _whole(-1, _GREATEST),
        "end_ns": _SIZE,
    },
    "operations": {
        "start_ns": _TIME,
        "end_ns": _TIME,
        "name": _TEXT,
        "thread": _whole(-(2**63), 2**63 - 1),
    },
}


def check(content: Mapping[str, Any]) -> None:
    """Look at every field of a timeline's JSON.

    Args:
        content: what the file holds, an object.

    Raises:
        DamageError: which field, what it holds, and what is allowed.
    """
    for name, kind in VALUES.items():
        value = _of(content, name, name)
        if not kind.allows(value):
            raise _damage(name, value, kind.words)
    for table, columns in TABLES.items():
        given = _of(content, table, table)
        if type(given) is not dict:
            raise _damage(table, given, "an object of columns")
        for column, kind in columns.items():
            _check_column(f"{table}.{column}", _of(given, column, f"{table}.{column}"), kind)
        lengths = {column: len(given[column]) for column in columns}
        if len(set(lengths.values())) > 1:
            raise DamageError(f"the columns of {table} differ in length: {lengths}")
    if not content["events"]["time_ns"]:
        raise DamageError("events has no rows; allowed is at least one")


def _of(content: Mapping[str, Any], key: str, name: str) -> Any:
    if key not in content:
        raise DamageError(f"{name} is missing")
    return content[key]


def _check_column(name: str, values: Any, kind: Kind) -> None:
    if type(values) is not list:
        raise _damage(name, values, "a list")
    for row, value in enumerate(values):
        if not kind.allows(value):
            raise _damage(f"{name}[{row}]", value, kind.words)


def _damage(name: str, value: Any, words: str) -> DamageError:
    return DamageError(f"{name} is {reprlib.repr(value)}; allowed is {words}")
