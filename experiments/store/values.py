"""What the fields of a table may hold; whatever else is there, the table is damaged."""

import math
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from mem_dfa.experiments.cells.cell import options_of

MOST = 2**63 - 1
LONGEST = 300  # characters of a name

Kind = Literal[
    "name", "text", "options", "count", "whole", "any", "number", "time", "rate", "share"
]
"""A name that is shown; any text; options of an algorithm; whole numbers from 1 and from 0; numbers
of any size, as a loss, and from 0; seconds and rates above 0; numbers from 0 to 1."""


def typed(column: str, text: str, kind: Kind) -> Any:
    """The value of a field; None for an empty one.

    Raises:
        ValueError: it holds what cannot be.
    """
    if not text:
        return None
    if kind == "text":
        return text
    if kind in ("count", "whole"):
        return _whole(column, text, least=kind == "count")
    if kind in ("name", "options"):
        return _name(column, text, is_options=kind == "options")
    value = _number(text)
    if kind == "any" and not math.isnan(value):
        return value
    most = {"share": 1, "rate": math.inf}.get(kind, MOST)
    if not math.isfinite(value) or not 0 <= value <= most or (not value and kind in _ABOVE_ZERO):
        raise ValueError(_told(column, text))
    return value


_ABOVE_ZERO = ("time", "rate")


def require(row: Mapping[str, Any], columns: Iterable[str]) -> None:
    """Makes sure that a row says what it has to.

    Raises:
        ValueError: it does not.
    """
    for column in columns:
        if row.get(column) is None:
            raise ValueError(f"a row whose status is {row.get('status')} has no {column}")


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _whole(column: str, text: str, least: int) -> int:
    is_number = text.isascii() and text.isdigit() and len(text) <= len(str(MOST))
    if not is_number or not least <= int(text) <= MOST:
        raise ValueError(_told(column, text))
    return int(text)


def _name(column: str, text: str, is_options: bool) -> str:
    """Figures take what stands between dollar signs for formulas."""
    if not text.isprintable() or len(text) > LONGEST or "$" in text:
        raise ValueError(_told(column, text))
    if is_options:
        options_of(text)
    return text


def _told(column: str, text: str) -> str:
    shown = text if len(text) <= 40 else f"{text[:40]}…"
    return f"{column} is {shown!r}"
