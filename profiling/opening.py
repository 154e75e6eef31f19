"""Whatever holds a recording, opened as a timeline."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from mem_dfa.profiling.record.xplane import TraceError

if TYPE_CHECKING:
    from mem_dfa.profiling.timeline.data import Timeline

XPLANE_SUFFIX = ".xplane.pb"


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
    from mem_dfa.profiling.timeline import storage

    return storage.load(path)


def _from_xplane(path: Path) -> Timeline:
    from mem_dfa.profiling.record import xplane
    from mem_dfa.profiling.record.events import device_allocator, read_events
    from mem_dfa.profiling.record.spans import read_operations
    from mem_dfa.profiling.timeline import storage
    from mem_dfa.profiling.timeline.data import Timeline
    from mem_dfa.profiling.timeline.lifetimes import fill
    from mem_dfa.profiling.timeline.schema import DamageError

    # Said at once: to read one, TensorFlow is imported.
    if not os.path.isfile(path):
        raise TraceError(f"Cannot read {path} (no such file); name an XPlane file.")
    space = xplane.load(path)
    try:
        events = read_events(space)
    except TraceError as error:
        # It was given no path to name.
        raise TraceError(str(error).replace("The recording", str(path), 1)) from error
    # With a GPU the step runs there, and the CPU's allocator only serves it.
    for device in ("GPU:0", "CPU:0"):
        allocator = device_allocator(events, device)
        if allocator is not None:
            break
    timeline = fill(
        Timeline(path.name.removesuffix(XPLANE_SUFFIX)),
        events,
        allocator=allocator,
        device=device,
        operations=read_operations(space),
    )
    try:
        storage.content_of(timeline)
    except DamageError as error:
        raise TraceError(f"{path} is damaged: {error}; record it again.") from error
    return timeline
