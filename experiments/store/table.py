"""Tables that rows are appended to, whole or not at all, whenever whoever writes them is killed."""

import contextlib
import csv
import functools
import io
import math
import os
import re
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mem_dfa.experiments.cells.cell import options_of
from mem_dfa.experiments.store import files
from mem_dfa.experiments.store.files import ResultsError
from mem_dfa.experiments.store.schemas import Row, Schema

FREE_BYTES = 2**14  # what a row takes, and more
LONGEST = 300  # characters of a name
_DAMAGED = "is no table of {} ({}); it is left as it is: move it away or give another --out"
_REFUSED = "is a table of {} that takes no such row ({})"
_GOOD = ("ok", "maximum")
_MOST = 2**63 - 1
# Columns of numbers, and the least and the most that these may be; whole ones if the least is.
_NUMBERS: tuple[tuple[str, float, float], ...] = (
    ("layers|batch_size|classes|steps|repeats|process|size|maximum|epoch|chunk|updates", 1, _MOST),
    ("seed|epochs|after_epoch|rounds|time_limit_s", 0, _MOST),
    ("learning_rate", math.ulp(0.0), sys.float_info.max),
    ("(step|image)_time_s.*", math.ulp(0.0), _MOST),
    ("ratio_.*|.*_s|.*_bits|share", 0.0, _MOST),
    ("(.*_)?accuracy", 0.0, 1),
    ("angle_degrees", 0.0, 180),
    # Memory that is given back makes the first of them less than nothing.
    ("left_over_bytes|(.*_)?loss", -math.inf, math.inf),
    (".*_bytes.*", 0, _MOST),
)
_TEXTS = ("error", "next_error", "trace_file", "machine", "block_layers")


@dataclass(frozen=True)
class Table:
    """The table of a schema under a folder."""

    folder: str | os.PathLike[str]
    schema: Schema

    @property
    def path(self) -> Path:
        """Of the file, whatever it is a link to."""
        return Path(os.path.realpath(Path(self.folder, self.schema.name)))

    def append(self, rows: Sequence[Mapping[str, object]]) -> Path:
        """Appends rows, all or none; a signal that ends this run waits until they are there.

        None, or nothing, in a column is what is unknown. Returns the file, as it was named.
        """
        text = io.StringIO()
        lines = ([row.get(name) for name in self.schema.columns] for row in rows)
        known = ([None if value != value else value for value in line] for line in lines)  # no NaN
        csv.writer(text, lineterminator="\n").writerows(known)
        # A carriage return is written without quotes, and nobody could read the file any more.
        added = text.getvalue().replace("\r", " ").encode()
        self._parsed(self._header + added, _REFUSED)
        with files.undisturbed(), files.usable(self.folder), files.locked(self.path):
            before = self._data()
            if not before.startswith(self._header) or not before.endswith(b"\n"):
                self._parsed(before)
            files.replace(self.path, before + added)
        return Path(self.folder, self.schema.name)

    def check_writable(self) -> None:
        """Makes sure, before anything is measured, that rows can be appended."""
        with files.usable(self.folder):
            data = self._data()
            self._parsed(data)
            for path in (self.path, files.lock_of(self.path)):
                if path.exists():
                    path.open("r+b").close()
            folder = next(folder for folder in self.path.parents if folder.exists())
            with tempfile.TemporaryFile(dir=folder) as stand_in:
                stand_in.write(data + bytes(FREE_BYTES))

    def read(self) -> list[Row]:
        """The rows, oldest first; None for what is unknown, and no rows where there is no file."""
        with files.usable(self.folder):
            return self._parsed(self._data())

    @property
    def _header(self) -> bytes:
        return f"{','.join(self.schema.columns)}\n".encode()

    def _data(self) -> bytes:
        files.check_is_file(self.path)
        return self.path.read_bytes() if self.path.exists() else self._header

    def _parsed(self, data: bytes, fault: str = _DAMAGED) -> list[Row]:
        columns = list(self.schema.columns)
        try:
            lines = list(csv.reader(io.StringIO(data.decode()), strict=True))
            if lines[:1] != [columns]:
                raise ValueError("its columns are others")
            if data[-1:] != b"\n" or any(len(line) != len(columns) for line in lines):
                raise ValueError("a row is not whole")
            return [self._row(line) for line in lines[1:]]
        except (ValueError, csv.Error) as error:
            raise ResultsError(f"{self.path} {fault.format(self.path.stem, error)}") from error

    def _row(self, line: Sequence[str]) -> Row:
        columns = self.schema.columns
        row = dict(zip(columns, map(typed, columns, line), strict=True))
        needed = self.schema.if_good if row.get("status") in _GOOD else ()
        for name in (*self.schema.always, *needed):
            if row[name] is None:
                raise ValueError(f"a row whose status is {row.get('status')} has no {name}")
        return row


@functools.lru_cache(maxsize=2**16)
def bounds_of(column: str) -> tuple[float, float] | None:
    """The least and the most that a column of numbers may hold; None for a column of words."""
    return next(((a, b) for names, a, b in _NUMBERS if re.fullmatch(names, column)), None)


def typed(column: str, text: str) -> Any:
    """The number, text or name in a field; None for nothing, ValueError for what cannot be."""
    if not text or column in _TEXTS:
        return text or None
    bounds = bounds_of(column)
    with contextlib.suppress(ValueError):
        if bounds:
            value = type(bounds[0])(text)
            if bounds[0] <= value <= bounds[1]:
                return value
        elif text.isprintable() and len(text) <= LONGEST and "$" not in text:  # no formula
            return text if column != "options" or options_of(text) else None
    raise ValueError(f"{column} is {text[:40]!r}")
