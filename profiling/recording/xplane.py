"""XPlane files, TensorFlow's profiler recordings: load one, or say what is wrong with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import attrgetter
from pathlib import Path
from typing import Any

from mem_dfa.profiling.errors import TraceError

# Of the fields for an event's statistics, those that hold a text or a whole number.
_KINDS = {"str_value": str, "ref_value": str, "int64_value": int, "uint64_value": int}


def load(path: str | Path) -> Any:
    """The XSpace message in an XPlane file.

    Args:
        path: the `.xplane.pb` file of a recording, see `find_trace`.

    Raises:
        TraceError: the file cannot be read, is no XPlane file, or is damaged.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise TraceError(
            f"Cannot read {path} ({error.strerror}); name an XPlane file (*.xplane.pb)."
        ) from error
    from google.protobuf.message import DecodeError
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    space = xplane_pb2.XSpace()
    try:
        space.ParseFromString(content)
    except DecodeError as error:
        raise TraceError(
            f"{path} is damaged or no XPlane file ({error}); record it again."
        ) from error
    # Unknown fields parse without complaint, so a foreign file may look like an empty one.
    if not space.planes:
        raise TraceError(
            f"{path} ({len(content)} bytes) is empty or no XPlane file; name the *.xplane.pb file "
            "of a recording."
        )
    return space


def stat_names(plane: Any) -> dict[int, str]:
    """Names of a plane's statistics, and the strings that statistics refer to."""
    return {key: metadata.name for key, metadata in plane.stat_metadata.items()}


class StatReader:
    """Reads the statistics of a plane's events, each kind of statistic in the field it uses.

    A recording uses one field for one statistic; asking protobuf which one, once for each value,
    costs more than all the rest of reading.
    """

    def __init__(self, names: dict[int, str], kinds: Mapping[str, type]) -> None:
        """Take a plane's `stat_names`, and the kind of those that are wanted: `str` or `int`."""
        self._names, self._kinds = names, kinds
        self._fields: dict[int, tuple[str, Callable[[Any], Any], bool]] = {}

    def read(self, stats: Any) -> dict[str, Any]:
        """The values of one event's statistics by name.

        Raises:
            KeyError: one has no name.
            TypeError: one has no value, or of another kind.
        """
        values = {}
        for stat in stats:
            key = stat.metadata_id
            known = self._fields.get(key)
            if known is None:
                field = stat.WhichOneof("value")
                name = self._names[key]
                wanted = self._kinds.get(name)
                if field is None or wanted not in (None, _KINDS.get(field)):
                    raise TypeError(f"{name!r} in {field}")
                known = name, attrgetter(field), field == "ref_value"
                self._fields[key] = known
            name, get, refers = known
            value = get(stat)
            # Repeated strings are stored once, beside the names of the statistics.
            values[name] = self._names[value] if refers else value
        return values
