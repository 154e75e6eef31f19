"""Timelines as tables for a terminal of 80 columns: one, two beside each other, its tensors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pandas as pd
from mem_dfa.profiling.render.summary import (
    SHOWN_SHARE,
    console,
    mebibytes,
    numbers,
    parts,
    table_of,
)
from mem_dfa.profiling.timeline.data import TimelineData
from rich.table import Table

_SHOWN_TENSORS = 10


def timeline_tables(timeline: TimelineData) -> Iterator[Table]:
    """The numbers of a timeline, its peak by layer, phase and category, its largest tensors."""
    yield numbers(
        timeline,
        {
            "the allocator's own peak": timeline.allocator_peak_bytes,
            "predicted peak": timeline.predicted_peak_bytes,
        },
    )
    yield parts(timeline, "layer")
    yield parts(timeline, "phase")
    yield parts(timeline, "category")
    live = timeline.live_at_peak()
    title = f"The largest of {len(live)} tensors alive at the peak"
    yield tensor_table(title, timeline, live)


def difference_table(runs: Sequence[TimelineData]) -> Table | None:
    """What changed at the peak from the first run to the second; None where nothing did."""
    first, second = runs
    differences = first.diff(second)
    changes = differences["difference_bytes"].abs()
    if not changes.any():
        return None
    least = SHOWN_SHARE * max(first.peak_bytes, second.peak_bytes)
    shown = int((changes >= least).sum())
    title = (
        "MiB alive at the peak, where they differ by 1 % of the greater peak or more\n"
        f"first:  {first.title}\n"
        f"second: {second.title}"
    )
    return differences_table(title, ("first", "second"), differences, shown, "peak")


def differences_table(
    title: str, names: Sequence[str], differences: pd.DataFrame, shown: int, total: str
) -> Table:
    """Two sums of bytes, by layer or block and by category, beside each other in MiB.

    Args:
        title: above the table.
        names: of the two.
        differences: a table of `Timeline.diff` or of `timeline.difference`.
        shown: how many of its first rows are shown; the other changes are one line.
        total: what the sum of all of them is.
    """
    greatest = int(differences[["bytes", "other_bytes"]].sum().max())
    table = table_of(title, *differences.index.names, *names, "difference", words=2)

    def add(name: str, category: str, sizes: pd.Series, style: str = "") -> None:
        *sides, change = (mebibytes(int(size), greatest) for size in sizes)
        is_more = sizes["difference_bytes"] > 0 and change.strip("0.")
        table.add_row(name, category, *sides, f"+{change}" if is_more else change, style=style)

    for (name, category), sizes in differences.head(shown).iterrows():
        add(name, category, sizes)
    table.add_section()
    rest = differences.iloc[shown:]
    is_changed = rest["difference_bytes"] != 0
    for kind, rows in (("smaller", rest[is_changed]), ("unchanged", rest[~is_changed])):
        if len(rows):
            add(f"{len(rows)} {kind}", "", rows.sum())
    add(total, "", differences.sum(), style="bold")
    return table


def tensor_table(title: str, timeline: TimelineData, live: pd.DataFrame) -> Table:
    """The largest of some tensors, and the operation or variable that each is of.

    Args:
        title: above the table.
        timeline: that they are of.
        live: rows of its `tensors`, largest first; what has under 1 % of the first is left out.
    """
    greatest = live["allocated_bytes"].max()
    shown = live[live["allocated_bytes"] >= SHOWN_SHARE * greatest].head(_SHOWN_TENSORS)
    shown = shown.assign(layer=timeline.layers_of(shown))
    made = table_of(title, "MiB", "shape", "layer", "category", "operation or variable", words=5)
    made.columns[0].justify = "right"
    for row in shown.itertuples():
        texts = (row.shape, row.layer, row.category, row.op)
        size = mebibytes(row.allocated_bytes, greatest)
        made.add_row(size, *(text or "-" for text in texts))
    return made


def tensors_text(title: str, timeline: TimelineData, live: pd.DataFrame) -> str:
    """What `tensor_table` shows, without colours and without spaces at the ends of lines."""
    screen = console()
    with screen.capture() as captured:
        screen.print(tensor_table(title, timeline, live))
    return "\n".join(line.rstrip() for line in captured.get().splitlines())
