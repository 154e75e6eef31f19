"""`Timeline`: a recorded step that draws itself and is kept in files; and opening such files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from mem_dfa.profiling.errors import TraceError
from mem_dfa.profiling.files import write_whole
from mem_dfa.profiling.timeline import storage
from mem_dfa.profiling.timeline.data import TimelineData
from mem_dfa.profiling.timeline.lifetimes import fill
from mem_dfa.profiling.timeline.schema import DamageError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

XPLANE_SUFFIX = ".xplane.pb"


class Timeline(TimelineData):
    """What one device's allocator did while a step ran, to be asked, drawn and saved."""

    def plot(self, path: str | Path | None = None) -> Figure:
        """Draw memory against time; see `render.plot.plot` for several runs in one figure.

        Args:
            path: where to write the picture too, .png, .pdf or .svg.

        Raises:
            TraceError: it is not exact, or the file cannot be written.
        """
        from mem_dfa.profiling.render import plot

        figure = plot.plot(self)
        if path is not None:
            plot.save(figure, path)
        return figure

    def to_html(self, path: str | Path, *others: TimelineData) -> Path:
        """Write a page that any browser shows without a network, beside other runs if given.

        Raises:
            TraceError: one is not exact, or the file cannot be written.
        """
        from mem_dfa.profiling.render.page import page

        return write_whole(path, page([self, *others]).encode())

    def to_csv(self, path: str | Path) -> Path:
        """Write `events`: a row for each, numbers whole, times nanoseconds, sizes bytes.

        Raises:
            TraceError: it is not exact, or the file cannot be written.
        """
        self.require_exact()
        return write_whole(path, self.events.to_csv(index=False, lineterminator="\n").encode())

    def to_perfetto(self, path: str | Path) -> Path:
        """Write JSON for https://ui.perfetto.dev: memory as counters beside the operations.

        Raises:
            TraceError: it is not exact, or the file cannot be written.
        """
        from mem_dfa.profiling.render.perfetto import trace_events

        return write_whole(path, trace_events(self).encode())

    def save(self, path: str | Path) -> Path:
        """Write it to a file that `Timeline.load` reads; see `storage.save`."""
        return storage.save(self, path)

    @staticmethod
    def load(path: str | Path) -> Timeline:
        """Read what `save` wrote; see `storage.load`."""
        return storage.load(Timeline(), path)


def open_timeline(path: str | Path) -> Timeline:
    """A saved timeline, or the one in an XPlane file that anybody recorded.

    An XPlane file knows neither the model nor the allocator's own peak: layers are read from the
    operations' paths, nothing resident is named, and exactness is judged by the events alone.

    Args:
        path: of a file that `Timeline.save` wrote, or of one whose name ends in `.xplane.pb`.

    Raises:
        TraceError: the file cannot be read, is damaged or empty, or holds neither.
    """
    if Path(path).name.endswith(XPLANE_SUFFIX):
        return _from_xplane(Path(path))
    return Timeline.load(path)


def _from_xplane(path: Path) -> Timeline:
    from mem_dfa.profiling.recording import events, spans, xplane

    # Said at once: to read one, TensorFlow is imported.
    if not os.path.isfile(path):
        raise TraceError(f"Cannot read {path} (no such file); name an XPlane file.")
    space = xplane.load(path)
    try:
        found = events.read_events(space)
    except TraceError as error:
        # It was given no path to name.
        raise TraceError(str(error).replace("The recording", str(path), 1)) from error
    # With a GPU the step runs there, and the CPU's allocator only serves it.
    for device in ("GPU:0", "CPU:0"):
        allocator = events.device_allocator(found, device)
        if allocator is not None:
            break
    timeline = fill(
        Timeline(path.name.removesuffix(XPLANE_SUFFIX)),
        found,
        allocator=allocator,
        device=device,
        operations=spans.read_operations(space),
    )
    try:
        storage.content_of(timeline)
    except DamageError as error:
        raise TraceError(f"{path} is damaged: {error}; record it again.") from error
    return timeline
