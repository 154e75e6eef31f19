"""What takes the memory of a step, in 80 columns of a terminal."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from mem_dfa.profiling.timeline.data import Key, TimelineData
from mem_dfa.profiling.words import ATTRIBUTIONS
from rich.console import Console
from rich.table import Table

from mem_dfa.units import MEBIBYTE

WIDTH = 80
SHOWN_SHARE = 0.01  # of the peak
_NARROWEST = 40  # so that titles stay on one line
_SHOWN_ROWS = 10


def console() -> Console:
    """Standard output, at most 80 columns wide, without a meaning for brackets in names."""
    found = Console(markup=False, emoji=False, highlight=False)
    found.width = min(found.width, WIDTH) if found.is_terminal else WIDTH
    return found


def tables(timeline: TimelineData) -> Iterator[Table]:
    """The step's numbers, and its peak by layer and by category."""
    yield numbers(timeline)
    yield parts(timeline, "layer", _SHOWN_ROWS)
    yield parts(timeline, "category", _SHOWN_ROWS)


def mebibytes(size: int, total: int) -> str:
    """Bytes as MiB, for a column whose head names the unit.

    Args:
        size: to be shown.
        total: the column's greatest number, of which three digits are shown, or all before the
            point and one more.
    """
    whole = abs(total) / MEBIBYTE
    decimals = max(1, 2 - math.floor(math.log10(whole))) if whole else 1
    return f"{size / MEBIBYTE:z,.{decimals}f}"


def table_of(title: str, *names: str, words: int = 1) -> Table:
    """A table of columns, of which so many first ones hold words and the others numbers."""
    made = Table(title=title, title_justify="left", caption_justify="left", min_width=_NARROWEST)
    for name in names[:words]:
        made.add_column(name, overflow="fold")
    for name in names[words:]:
        made.add_column(name, justify="right", no_wrap=True)
    return made


def numbers(timeline: TimelineData, more: Mapping[str, int | None] | None = None) -> Table:
    """The bytes of the whole step.

    Args:
        timeline: of the step.
        more: other sizes that are known of it, by name; those that are None are left out.
    """
    sizes = {
        "peak": timeline.peak_bytes,
        "resident: alive before the step": timeline.resident_bytes,
        "step: peak - resident": timeline.step_bytes,
        **(more or {}),
    }
    made = table_of(f"{timeline.title}, on {timeline.device}", "", "MiB")
    for name, size in sizes.items():
        if size is not None:
            made.add_row(name, mebibytes(size, timeline.peak_bytes))
    if timeline.attribution != "graph":
        made.caption = f"attribution {ATTRIBUTIONS[timeline.attribution]}"
    if timeline.fault:
        made.caption = f"Not exact: {timeline.fault}"
    return made


def parts(timeline: TimelineData, key: Key, most: int | None = None) -> Table:
    """What is alive at the peak, largest first; what is under 1 % of it is one line.

    Args:
        timeline: of the step.
        key: what is added up.
        most: how many lines there are at most before that one.
    """
    sizes = timeline.by(key)
    made = table_of(f"Alive at the peak, by {key}", key, "MiB", "share")
    is_large = sizes >= SHOWN_SHARE * timeline.peak_bytes
    rows = [*sizes[is_large].head(most).items()]
    rest = sizes.iloc[len(rows) :]
    if len(rest):
        rows.append((f"{len(rest)} smaller" if len(rest) > 1 else rest.index[0], rest.sum()))
    for name, size in rows:
        share = size / timeline.peak_bytes if timeline.peak_bytes else 0
        made.add_row(str(name), mebibytes(size, timeline.peak_bytes), f"{share:.0%}")
    return made
