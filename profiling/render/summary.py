"""What takes the memory of a step, in 80 columns of a terminal."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd
from mem_dfa.profiling.timeline.data import TimelineData
from mem_dfa.profiling.words import ATTRIBUTIONS
from rich.console import Console
from rich.table import Table

from mem_dfa.units import MEBIBYTE

WIDTH = 80
_NARROWEST = 40  # so that titles stay on one line
_SHOWN_ROWS = 10
_SHOWN_SHARE = 0.01  # of the peak


def console() -> Console:
    """Standard output, at most 80 columns wide, without a meaning for brackets in names."""
    found = Console(markup=False, emoji=False, highlight=False)
    found.width = min(found.width, WIDTH) if found.is_terminal else WIDTH
    return found


def tables(timeline: TimelineData) -> Iterator[Table]:
    """The step's numbers, and its peak by layer and by category."""
    yield _numbers(timeline)
    yield _parts(timeline, "layer", timeline.by("layer"))
    yield _parts(timeline, "category", timeline.by("category"))


def mebibytes(size: int) -> str:
    """Bytes as MiB with one decimal, for a column whose head names the unit."""
    return f"{size / MEBIBYTE:,.1f}"


def table_of(title: str, *names: str) -> Table:
    """A table with a column of names for the first, of numbers for the others."""
    made = Table(title=title, title_justify="left", caption_justify="left", min_width=_NARROWEST)
    made.add_column(names[0], overflow="fold")
    for name in names[1:]:
        made.add_column(name, justify="right", no_wrap=True)
    return made


def _numbers(timeline: TimelineData) -> Table:
    made = table_of(f"{timeline.title}, on {timeline.device}", "", "MiB")
    for name, size in {
        "peak": timeline.peak_bytes,
        "resident: alive before the step": timeline.resident_bytes,
        "step: peak - resident": timeline.step_bytes,
    }.items():
        made.add_row(name, mebibytes(size))
    if timeline.attribution != "graph":
        made.caption = f"attribution {ATTRIBUTIONS[timeline.attribution]}"
    if timeline.fault:
        made.caption = f"Not exact: {timeline.fault}"
    return made


def _parts(timeline: TimelineData, name: str, sizes: pd.Series) -> Table:
    made = table_of(f"Alive at the peak, by {name}", name, "MiB", "share")
    is_large = sizes >= _SHOWN_SHARE * timeline.peak_bytes
    rows = [*sizes[is_large].head(_SHOWN_ROWS).items()]
    rest = sizes.iloc[len(rows) :]
    if len(rest):
        rows.append((f"{len(rest)} smaller", rest.sum()))
    for key, size in rows:
        share = size / timeline.peak_bytes if timeline.peak_bytes else 0
        made.add_row(str(key), mebibytes(size), f"{share:.0%}")
    return made
