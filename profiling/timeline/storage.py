"""Timelines on disk: one compressed JSON file each, with a format version that loading enforces."""

from __future__ import annotations

import gzip
import itertools
import json
import os
import re
import reprlib
import zlib
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
from mem_dfa.profiling.errors import TraceError
from mem_dfa.profiling.files import write_whole
from mem_dfa.profiling.timeline import agreement, schema
from mem_dfa.profiling.timeline.data import TimelineData
from mem_dfa.profiling.timeline.schema import DamageError

from mem_dfa.units import MEBIBYTE, show_bytes

Loaded = TypeVar("Loaded", bound=TimelineData)
SUFFIX = ".timeline.json.gz"
FORMAT = "memory timeline"
VERSION = 1
# A hundred times the recording of a step of RevNet-38. Parsed it takes some seven times as much
# memory, and the worst that anybody may write some sixteen times as much.
MOST_BYTES = 128 * MEBIBYTE
# A timeline has one for each column, and four more. Empty ones would take the most memory.
_MOST_LISTS = 100
# All up to the next bracket that is in no text, or to the end. It never goes back, so that it takes
# no memory, and no longer for one content than for another.
_LIST = re.compile(rb'(?:[^"\[{]++|"(?:[^"\\]++|\\.)*+"?+)*+(?:([\[{])|\Z)', re.DOTALL)


def save(timeline: TimelineData, path: str | Path) -> Path:
    """Write a timeline whole or not at all.

    Args:
        timeline: a recorded one.
        path: of the file; its folder is made if missing.

    Returns:
        The path.

    Raises:
        TraceError: nothing is recorded yet, the file cannot be written, or `load` would not read
            it.
    """
    try:
        content = content_of(timeline)
    except DamageError as error:
        raise TraceError(f"Cannot write {path}: {error}.") from error
    unpacked = json.dumps(content).encode()
    if len(unpacked) > MOST_BYTES:
        raise TraceError(
            f"Cannot write {path}: it would unpack to {show_bytes(len(unpacked))}, and no more "
            f"than {show_bytes(MOST_BYTES)} are read; record a shorter piece."
        )
    # Without the time of writing, equal timelines make equal files.
    return write_whole(path, gzip.compress(unpacked, mtime=0))


def content_of(timeline: TimelineData) -> dict[str, Any]:
    """What `save` writes.

    Raises:
        DamageError: a field holds what no timeline may.
        TraceError: nothing is recorded yet.
    """
    content: dict[str, Any] = {"format": FORMAT, "version": VERSION}
    content |= {name: getattr(timeline, name) for name in schema.VALUES}
    content |= {name: getattr(timeline, name).to_dict("list") for name in schema.TABLES}
    schema.check(content)
    return content


def load(timeline: Loaded, path: str | Path) -> Loaded:
    """Give an empty timeline what `save` wrote.

    Args:
        timeline: an empty one.
        path: of the file.

    Returns:
        The timeline.

    Raises:
        TraceError: the file cannot be read, is damaged, is none of `save`, of another version, or
            unpacks to more than `MOST_BYTES`.
    """
    content = _read(path)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise TraceError(f"{path} is JSON but no timeline; name a *{SUFFIX} file.")
    if content.get("version") != VERSION:
        raise TraceError(
            f"{path} has format version {reprlib.repr(content.get('version'))}, this program reads "
            f"{VERSION}; record it again."
        )
    try:
        schema.check(content)
        for name in schema.VALUES:
            setattr(timeline, name, content[name])
        for name, columns in schema.TABLES.items():
            setattr(timeline, name, pd.DataFrame({key: content[name][key] for key in columns}))
        agreement.check(timeline)
    except DamageError as error:
        raise TraceError(f"{path} is damaged: {error}; record it again.") from error
    return timeline


def _read(path: str | Path) -> Any:
    """The file's JSON; no more than `MOST_BYTES` of it are ever unpacked."""
    packed_bytes = 0
    try:
        if Path(path).is_fifo():  # nobody may ever write into it
            raise TraceError(f"Cannot read {path}, a pipe; write it to a file, and name that.")
        with open(path, "rb") as file:
            packed_bytes = os.fstat(file.fileno()).st_size
            unpacked = gzip.GzipFile(fileobj=file).read(MOST_BYTES + 1)
        if len(unpacked) > MOST_BYTES:
            raise TraceError(
                f"{path} has {show_bytes(packed_bytes)} and unpacks to more than "
                f"{show_bytes(MOST_BYTES)}, the most that is read; record a shorter piece."
            )
        return _parsed(unpacked)
    except DamageError as error:
        raise TraceError(f"{path} is damaged: {error}; record it again.") from error
    except TraceError:
        raise
    except (gzip.BadGzipFile, zlib.error, EOFError, ValueError) as error:
        raise TraceError(
            f"{path} ({packed_bytes} bytes) is damaged or no timeline; name a file that "
            f"Timeline.save or --trace wrote (*{SUFFIX})."
        ) from error
    except OSError as error:
        raise TraceError(
            f"Cannot read {path} ({error.strerror}); name a file that Timeline.save or --trace "
            f"wrote (*{SUFFIX})."
        ) from error


def _parsed(unpacked: bytes) -> Any:
    found = itertools.islice(_LIST.finditer(unpacked), _MOST_LISTS + 1)
    if all(match.lastindex for match in found):
        raise DamageError(f"it holds more than {_MOST_LISTS} lists and objects")
    return json.loads(unpacked.decode(), object_pairs_hook=_each_once)


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in found if names.count(name) > 1)
        raise DamageError(f"{reprlib.repr(twice)} is there twice")
    return found
