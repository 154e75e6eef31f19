"""The tables of the page, to sort by any column."""

from __future__ import annotations

import numpy as np
from bokeh.models import ColumnDataSource, DataTable, NumberFormatter, TableColumn
from mem_dfa.profiling.render.curves import NANOSECONDS
from mem_dfa.profiling.render.page_pictures import PLACE
from mem_dfa.profiling.timeline.data import TimelineData


def peak_table(timeline: TimelineData) -> DataTable:
    """What is alive at the peak, largest first."""
    live = timeline.live_at_peak()
    columns = {name: live[name].tolist() for name in PLACE}
    columns["bytes"] = live["allocated_bytes"].to_numpy()
    starts, ends = live["start_ns"].to_numpy(), live["end_ns"].to_numpy()
    columns["from (ms)"] = np.where(starts < 0, np.nan, starts / NANOSECONDS)
    columns["to (ms)"] = np.where(ends > timeline.duration_ns, np.nan, ends / NANOSECONDS)
    formats = {
        "bytes": NumberFormatter(format="0,0", text_align="right"),
        "from (ms)": NumberFormatter(format="0.000", text_align="right", nan_format="before"),
        "to (ms)": NumberFormatter(format="0.000", text_align="right", nan_format="after"),
    }
    return _table(columns, formats, {"op": 260, "shape": 110, "bytes": 90})


def difference_table(first: TimelineData, other: TimelineData) -> DataTable:
    """What is alive at the two peaks by layer and category; see `Timeline.diff`."""
    table = first.diff(other).reset_index()
    columns = {
        "layer": table["layer"].tolist(),
        "category": table["category"].tolist(),
        "bytes": table["bytes"].to_numpy(),
        "other bytes": table["other_bytes"].to_numpy(),
        "difference": table["difference_bytes"].to_numpy(),
    }
    number = NumberFormatter(format="0,0", text_align="right")
    return _table(columns, dict.fromkeys(("bytes", "other bytes", "difference"), number), {})


def _table(
    columns: dict[str, object], formats: dict[str, NumberFormatter], widths: dict[str, int]
) -> DataTable:
    return DataTable(
        source=ColumnDataSource(columns),
        columns=[
            TableColumn(
                field=name,
                title=name,
                width=widths.get(name, 80),
                **({"formatter": formats[name]} if name in formats else {}),
            )
            for name in columns
        ],
        height=300,
        sizing_mode="stretch_width",
        index_position=None,
        row_height=24,
        reorderable=False,
    )
