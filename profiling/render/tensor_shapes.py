"""Tensors as shapes stacked over time: what is below falls away, what is above comes down."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from mem_dfa.profiling.timeline.data import TimelineData
from mem_dfa.profiling.words import CATEGORIES


@dataclass(slots=True)
class Shape:
    """Where one tensor lies in the stack while it is alive.

    Attributes:
        tensor: its row in `Timeline.tensors`.
        size: its bytes, the shape's height.
        starts_ns: when it came to each of its `bottoms`.
        bottoms: bytes of the shapes below it, from each of `starts_ns` on.
        end_ns: when it was freed, or the recording's end.
    """

    tensor: int
    size: int
    starts_ns: list[int] = field(default_factory=list)
    bottoms: list[int] = field(default_factory=list)
    end_ns: int = 0

    def move(self, time_ns: int, bottom: int) -> None:
        """Put it somewhere else from a time on."""
        if self.starts_ns and self.starts_ns[-1] == time_ns:
            self.bottoms[-1] = bottom
        else:
            self.starts_ns.append(time_ns)
            self.bottoms.append(bottom)

    def outline(self) -> tuple[np.ndarray, np.ndarray]:
        """Times and bytes of its corners: along the bottom, and back along the top."""
        times = np.repeat([*self.starts_ns, self.end_ns], 2)[1:-1]
        bottoms = np.repeat(self.bottoms, 2)
        return np.append(times, times[::-1]), np.append(bottoms, bottoms[::-1] + self.size)


def largest(timeline: TimelineData, count: int) -> np.ndarray:
    """Rows of the `count` largest tensors that take memory, in the table's order."""
    sizes = timeline.tensors["allocated_bytes"].to_numpy()
    rows = np.argsort(-sizes, kind="stable")[:count]
    return np.sort(rows[sizes[rows] > 0])


def stacked(timeline: TimelineData, rows: np.ndarray) -> list[Shape]:
    """The shapes of some tensors: at the bottom those there before, by category, then as they came.

    Args:
        timeline: a recorded one.
        rows: of its tensors; the others are left out, and leave no gaps.
    """
    tensors, events = timeline.tensors, timeline.events
    sizes, ends = tensors["allocated_bytes"].to_numpy(), tensors["end_ns"].to_numpy()
    shapes = {int(row): Shape(int(row), int(sizes[row])) for row in rows}
    stack: list[Shape] = []
    before = tensors.loc[rows, "category"][tensors.loc[rows, "start_ns"] < 0]
    for row in sorted(before.index, key=lambda row: CATEGORIES.index(before[row])):
        _put(stack, shapes[row], 0)
    chosen = events[events["tensor"].isin(rows)]
    for time_ns, kind, row in zip(
        chosen["time_ns"].tolist(), chosen["kind"], chosen["tensor"].tolist(), strict=True
    ):
        if kind == "allocation":
            _put(stack, shapes[row], time_ns)
        else:
            _take(stack, shapes[row], time_ns)
    for row, shape in shapes.items():
        shape.end_ns = min(int(ends[row]), timeline.duration_ns)
    return [shape for shape in shapes.values() if shape.end_ns > shape.starts_ns[0]]


def _put(stack: list[Shape], shape: Shape, time_ns: int) -> None:
    shape.move(time_ns, stack[-1].bottoms[-1] + stack[-1].size if stack else 0)
    stack.append(shape)


def _take(stack: list[Shape], shape: Shape, time_ns: int) -> None:
    index = next(index for index, other in enumerate(stack) if other is shape)
    del stack[index]
    for other in stack[index:]:
        other.move(time_ns, other.bottoms[-1] - shape.size)


def remainder(timeline: TimelineData, rows: np.ndarray) -> pd.DataFrame:
    """Bytes of some tensors and of all the others together, by time_ns.

    Returns:
        Index as of `Timeline.running_bytes`; columns stacked, others, whose sum is the running
        bytes.
    """
    total = timeline.running_bytes()
    events, tensors = timeline.events, timeline.tensors
    sizes = events["allocated_bytes"].to_numpy()
    signs = np.where(events["kind"] == "allocation", 1, -1)
    changes = np.where(events["tensor"].isin(rows), signs * sizes, 0)
    chosen = tensors.loc[rows]
    before = chosen.loc[chosen["start_ns"] < 0, "allocated_bytes"].sum()
    together = np.concatenate([[before], changes]).cumsum()
    return pd.DataFrame({"stacked": together, "others": total.to_numpy() - together}, total.index)
