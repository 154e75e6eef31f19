"""Timelines as tables for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd
from mem_dfa.profiling.timeline.data import TimelineData
from mem_dfa.profiling.words import ATTRIBUTIONS
from rich.console import Console
from rich.table import Table

from mem_dfa.units import show_bytes

_SHOWN_ROWS = 10
_KEYS = ("block", "phase", "category")
# Columns of a table that is written to a file, not to a terminal: nothing is squeezed.
_NARROWEST = 140


def console() -> Console:
    """Where tables go: standard output, without a meaning for brackets and colons in names."""
    found = Console(markup=False, emoji=False, highlight=False)
    if not found.is_terminal:
        found.width = max(found.width, _NARROWEST)
    return found


def timeline_tables(timeline: TimelineData) -> Iterator[Table]:
    """The numbers of a timeline, its peak by block, phase and category, its largest tensors."""
    yield _numbers(timeline)
    for key in _KEYS:
        yield _sums(timeline, key)
    yield _largest(timeline)


def difference_table(names: Sequence[str], runs: Sequence[TimelineData]) -> Table | None:
    """What changed at the peak from the first run to the second; None where nothing did.

    Args:
        names: of the two.
        runs: the two.
    """
    differences = runs[0].diff(runs[1])
    shown = int((differences["difference_bytes"] != 0).sum())
    if not shown:
        return None
    title = "Bytes alive at the peak, where they differ"
    return differences_table(title, names, differences, shown, "peak")


def differences_table(
    title: str, names: Sequence[str], differences: pd.DataFrame, shown: int, total: str
) -> Table:
    """Two sums of bytes by block and category beside each other.

    Args:
        title: above the table.
        names: of the two.
        differences: a table of `Timeline.diff` or of `timeline.difference`.
        shown: how many of its first rows are shown; the others are one line.
        total: what the sum of all of them is.
    """
    table = _table(title, "block", "category")
    for name in (*names, "difference", ""):
        table.add_column(name, justify="right", no_wrap=bool(name))
    for (block, category), row in differences.head(shown).iterrows():
        table.add_row(block, category, *_three(*row.tolist()))
    table.add_section()
    table.add_row("all the rest", "", *_three(*map(int, differences.iloc[shown:].sum())))
    table.add_row(total, "", *_three(*map(int, differences.sum())), style="bold")
    return table


def _three(first: int, second: int, difference: int) -> tuple[str, ...]:
    sign = "+" if difference > 0 else ""
    return (
        f"{first:,}",
        f"{second:,}",
        f"{sign}{difference:,}",
        f"{sign}{show_bytes(difference)}",
    )


def _numbers(timeline: TimelineData) -> Table:
    table = _table(timeline.title, "")
    table.add_column("bytes", justify="right", no_wrap=True)
    table.add_column("", justify="right", no_wrap=True)
    numbers = {
        "peak": timeline.peak_bytes,
        "resident": timeline.resident_bytes,
        "step (peak - resident)": timeline.step_bytes,
        "allocator's own peak": timeline.allocator_peak_bytes,
        "predicted peak": timeline.predicted_peak_bytes,
    }
    for name, size in numbers.items():
        shown = ("unknown", "") if size is None else (f"{size:,}", show_bytes(size))
        table.add_row(name, *shown)
    kind = ATTRIBUTIONS[timeline.attribution]
    table.caption = f"{timeline.device}; attribution {kind}"
    if timeline.fault:
        table.caption += f"\nNot exact: {timeline.fault}"
    return table


def _sums(timeline: TimelineData, key: Any) -> Table:
    table = _table(f"Peak by {key}", key)
    table.add_column("bytes", justify="right", no_wrap=True)
    table.add_column("", justify="right", no_wrap=True)
    table.add_column("share", justify="right", no_wrap=True)
    for name, size in timeline.by(key).items():
        share = size / timeline.peak_bytes if timeline.peak_bytes else 0
        table.add_row(str(name), f"{size:,}", show_bytes(size), f"{share:.1%}")
    return table


def _largest(timeline: TimelineData) -> Table:
    live = timeline.live_at_peak()
    shown = live.head(_SHOWN_ROWS)
    table = _table(f"The {len(shown)} largest of {len(live)} tensors alive at the peak")
    table.add_column("bytes", justify="right", no_wrap=True)
    for name in ("shape", "dtype", "block", "phase", "category", "operation or variable"):
        table.add_column(name, overflow="fold")
    for row in shown.itertuples():
        texts = (row.shape, row.dtype, row.block, row.phase, row.category, row.op)
        table.add_row(f"{row.allocated_bytes:,}", *(text or "-" for text in texts))
    return table


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", caption_justify="left")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table
