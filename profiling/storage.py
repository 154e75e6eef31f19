"""Timelines on disk: one compressed JSON file each, with a format version that loading enforces."""

from __future__ import annotations

import gzip
import json
import zlib
from pathlib import Path

import pandas as pd

from profiling.files import write_whole
from profiling.timeline import ATTRIBUTIONS, Timeline
from profiling.xplane import TraceError

SUFFIX = ".timeline.json.gz"
FORMAT = "memory timeline"
VERSION = 1
_OF_BOTH = ("address", "allocated_bytes", "requested_bytes", "op", "shape", "dtype", "layer")
_OF_BOTH += ("block", "phase", "category")
_TABLES = {
    "events": ("time_ns", "kind", "running_bytes", "tensor", *_OF_BOTH),
    "tensors": ("start_ns", "end_ns", *_OF_BOTH),
    "operations": ("start_ns", "end_ns", "name", "thread"),
}
_VALUES = (
    "title",
    "device",
    "attribution",
    "resident_bytes",
    "duration_ns",
    "allocator_peak_bytes",
    "predicted_peak_bytes",
    "fault",
)


def save(timeline: Timeline, path: str | Path) -> Path:
    """Write a timeline whole or not at all.

    Args:
        timeline: a recorded one.
        path: of the file; its folder is made if missing.

    Returns:
        The path.

    Raises:
        TraceError: nothing is recorded yet, or the file cannot be written.
    """
    content = {"format": FORMAT, "version": VERSION}
    content |= {name: getattr(timeline, name) for name in _VALUES}
    content |= {name: getattr(timeline, name).to_dict("list") for name in _TABLES}
    # Without the time of writing, equal timelines make equal files.
    return write_whole(path, gzip.compress(json.dumps(content).encode(), mtime=0))


def load(path: str | Path) -> Timeline:
    """Read a timeline that `save` wrote.

    Raises:
        TraceError: the file cannot be read, is damaged, is none of `save`, or of another version.
    """
    try:
        packed = Path(path).read_bytes()
    except OSError as error:
        raise TraceError(
            f"Cannot read {path} ({error.strerror}); name a file that Timeline.save or --trace "
            f"wrote (*{SUFFIX})."
        ) from error
    try:
        content = json.loads(gzip.decompress(packed))
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise TraceError(
            f"{path} ({len(packed)} bytes) is damaged or no timeline; name a file that "
            f"Timeline.save or --trace wrote (*{SUFFIX})."
        ) from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise TraceError(f"{path} is JSON but no timeline; name a *{SUFFIX} file.")
    if content.get("version") != VERSION:
        raise TraceError(
            f"{path} has format version {content.get('version')!r}, this program reads {VERSION}; "
            "record it again."
        )
    timeline = Timeline()
    try:
        for name in _VALUES:
            setattr(timeline, name, content[name])
        for name, columns in _TABLES.items():
            setattr(timeline, name, pd.DataFrame(content[name]))
            missing = sorted({*columns} - {*getattr(timeline, name)})
            if missing:
                raise KeyError(f"{name}: {', '.join(missing)}")
        if timeline.attribution not in ATTRIBUTIONS:
            raise KeyError(f"attribution, which is {timeline.attribution!r},")
    except (KeyError, ValueError, TypeError) as error:
        raise TraceError(f"{path} is damaged: {error} is missing; record it again.") from error
    return timeline
