"""What the fields of a table may hold; whatever else is there, the table is damaged."""

import math
from collections.abc import Collection, Iterable, Mapping
from typing import Any

MOST = 2**63 - 1
LONGEST = 300  # characters of a name
_COUNTS = ("layers", "batch_size", "repeats", "steps", "every", "slices", "classes", "size")
_COUNTS += ("process", "rounds", "peak_bytes", "process_peak_bytes")
_ABOVE_ZERO = ("step_time_s", "image_time_s", "learning_rate")
_SHARES = ("accuracy", "train_accuracy", "test_accuracy")
_TEXTS = ("error", "next_error", "command", "trace_file", "budget", "machine")

Row = dict[str, Any]


def typed(
    row: Mapping[str | None, str | None], whole: Collection[str], fractions: Collection[str]
) -> Row:
    """The values of a row; None for an empty field.

    Args:
        row: as `csv.DictReader` gives it.
        whole: the columns of whole numbers.
        fractions: the columns of other numbers. All the rest are names.

    Raises:
        ValueError: a field holds what cannot be.
    """
    if None in row or None in row.values():
        raise ValueError("a row is not whole")
    read = {**dict.fromkeys(whole, _whole), **dict.fromkeys(fractions, fraction)}
    return {
        column: read.get(column, _name)(column, text) if text else None
        for column, text in row.items()
    }


def require(row: Row, columns: Iterable[str]) -> None:
    """Makes sure that a row says what it has to.

    Raises:
        ValueError: it does not.
    """
    for column in columns:
        if row.get(column) is None:
            raise ValueError(f"a row whose status is {row.get('status')} has no {column}")


def fraction(column: str, text: str) -> float:
    """A finite number, not below zero.

    Raises:
        ValueError: it is none.
    """
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    most = {**dict.fromkeys(_SHARES, 1), "learning_rate": math.inf}.get(column, MOST)
    if not math.isfinite(value) or not 0 <= value <= most or (not value and column in _ABOVE_ZERO):
        raise ValueError(_told(column, text))
    return value


def _whole(column: str, text: str) -> int:
    is_number = text.isascii() and text.isdigit() and len(text) <= len(str(MOST))
    if not is_number or not (column in _COUNTS) <= int(text) <= MOST:
        raise ValueError(_told(column, text))
    return int(text)


def _name(column: str, text: str) -> str:
    """Figures take what stands between dollar signs for formulas."""
    is_shown = column not in _TEXTS
    if is_shown and not (text.isprintable() and len(text) <= LONGEST and "$" not in text):
        raise ValueError(_told(column, text))
    return text


def _told(column: str, text: str) -> str:
    shown = text if len(text) <= 40 else f"{text[:40]}…"
    return f"{column} is {shown!r}"
