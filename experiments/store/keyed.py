"""CSVs that keep one row of each thing: a new one takes the place of the one before."""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from mem_dfa.experiments.store import files, results, values

Row = dict[str, Any]


@dataclass(frozen=True)
class KeyedFile:
    """One such CSV: its name, its columns, and what is kept apart."""

    name: str
    noun: str
    """What it is, such as "table of depths"."""
    columns: Sequence[str]
    key_of: Callable[[Mapping[str, Any]], tuple]
    """What a row is about; one row is kept of each."""
    whole: Sequence[str]
    """The columns of whole numbers."""
    fractions: Sequence[str]
    """The columns of other numbers."""
    always: Sequence[str]
    """The columns that no row leaves empty."""
    if_good: Sequence[str]
    """The columns that no row with a good status leaves empty."""
    good: Sequence[str] = ("ok",)
    """Which statuses are good."""

    def read(self, out: str) -> dict[tuple, Row]:
        """The rows under the folder ``out``; none where there is no file yet.

        Raises:
            results.ResultsError: what is there is not such a CSV.
        """
        path = Path(out, self.name)
        files.check_is_file(path)
        if not path.exists():
            return {}
        try:
            reader = csv.DictReader(io.StringIO(path.read_text(encoding="utf-8")), strict=True)
            if reader.fieldnames != list(self.columns):
                raise ValueError("its columns are others")
            rows = [self._typed(row) for row in reader]
            return {self.key_of(row): row for row in rows}
        except (OSError, ValueError, TypeError, KeyError, csv.Error) as error:
            raise results.ResultsError(
                f"{path} is no {self.noun} ({error}); it is left as it is: move it away or give "
                "another --out"
            ) from error

    def _typed(self, row: Mapping[str, str]) -> Row:
        typed = values.typed(row, self.whole, self.fractions)
        values.require(typed, self.always)
        if typed["status"] in self.good:
            values.require(typed, self.if_good)
        return typed

    def keep(self, out: str, row: Row) -> dict[tuple, Row]:
        """Puts a row in the place of an earlier one of the same thing, and returns all rows.

        Raises:
            results.ResultsError: the file cannot be written.
        """
        path = files.behind_links(Path(out, self.name))
        with files.locked(path):
            rows = self.read(out)
            rows.pop(self.key_of(row), None)  # the latest is the last
            rows[self.key_of(row)] = row
            table = pd.DataFrame(list(rows.values()), columns=list(self.columns), dtype=object)
            files.replace(path, table.to_csv(index=False, lineterminator="\n"))
        return rows
