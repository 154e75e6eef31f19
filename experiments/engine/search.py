"""The largest size with which a cell trains: which to try next, and the tries in processes.

Whatever was tried before, in this run or an earlier one, is in the rows, and nothing else decides:
so a search that was interrupted goes on as if it had not been.
"""

import dataclasses
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from mem_dfa.experiments.cells.cell import Cell
from mem_dfa.experiments.engine import worker
from mem_dfa.experiments.store import fit_rows
from mem_dfa.experiments.store.table import Row, Table
from mem_dfa.experiments.terminal import screen

Sizes = Mapping[int, Mapping[str, Any]]  # what was tried, by size
MIB = 2**20
ANSWERED = ("ok", "maximum")
GROWTH = 16  # how far beyond what is known a size is tried, in times the largest known one
FINENESS = 16  # the first steps around a guess are that part of it


def bracket(rows: Sizes, maximum: int) -> tuple[int, int]:
    """The largest size known to train and the smallest known not to.

    Near a limit success need not be monotonic: a size that trains above one that does not is not
    counted. 0 where none is known to train, ``maximum`` + 1 where none is known not to.
    """
    failed = [size for size, row in rows.items() if row["status"] != "ok"]
    high = min([*failed, maximum + 1])
    return max([0, *(size for size in rows if size < high)]), high


def next_size(rows: Sizes, maximum: int, limit_bytes: int, repeats: int) -> int | None:
    """The size to try next; None when the answer is known.

    The answer is a pair of neighbours, of which the first trained in ``repeats`` processes and the
    second did not; or the maximum; or that size 1 does not train.
    """
    low, high = bracket(rows, maximum)
    if low == 0:
        return None if high == 1 else 1
    if high - low == 1:
        return low if rows[low]["repeats"] < repeats else None
    failures = sum(row["status"] != "ok" for row in rows.values())
    if failures:
        # The guess was a good one, so steps down from it are small at first.
        step = max(1, high // FINENESS) * 2 ** min(failures - 1, FINENESS)
        size = max((low + high) // 2, high - step)
    else:
        # Where the line says that low is the one, so are steps up from it.
        near = sum(low // 2 < size <= low for size in rows)
        size = max(_expected(rows, limit_bytes), low + 2 ** (near - 1))
    return min(max(size, low + 1), high - 1)


def _expected(rows: Sizes, limit_bytes: int) -> int:
    """Where a line through the peaks of two sizes meets the limit."""
    large = max(rows)
    # Of neighbours the peaks differ by chance.
    small = max((size for size in rows if size <= large // 2), default=0)
    if small:
        peaks = [rows[size]["process_peak_bytes"] for size in (small, large)]
        slope = (peaks[1] - peaks[0]) / (large - small)
        if slope > 0:
            return min(GROWTH * large, large + int((limit_bytes - peaks[1]) / slope))
    return GROWTH * large


@dataclasses.dataclass
class Search:
    """One search of `experiments.fit`."""

    cell: Cell
    over: str  # a key of `fit_rows.OVER`: what the size is
    limits: worker.Limits
    maximum: int
    repeats: int  # in how many processes the answer has to train
    out: str

    def __post_init__(self) -> None:
        """Remember what was tried before."""
        self._field = fit_rows.OVER[self.over]
        self._fixed: Row = {name: version(name) for name in ("tensorflow", "keras")}
        self._fixed["memory_limit_bytes"] = self.limits.memory_bytes
        key = fit_rows.key_of(self.cell.row() | self._fixed, self._field)
        self._tries = [
            row
            for row in fit_rows.tries(self.out).values()
            if fit_rows.key_of(row, self._field) == key
            and fit_rows.is_settled(row, self.limits.time_s or 0)
        ]
        self.remembered = len(self._tries)

    def run(self) -> Row:
        """Tries sizes until the answer is known, and keeps it, unless a better one is kept.

        Its ``status`` is "ok" where ``size`` trained and one more did not, "maximum" where no
        larger one was to be tried, and otherwise that of size 1, for which there was
        "too_little_memory" or another obstacle. ResultsError where a row cannot be written.
        """
        limit_bytes = self.limits.memory_bytes or 0
        while size := next_size(self._known(), self.maximum, limit_bytes, self.repeats):
            self._try(size)
        row = self._answer()
        before = fit_rows.answers(self.out).get(fit_rows.key_of_answer(row), {})
        # What stopped at a maximum is no news where the largest size is known.
        is_known = before.get("status") == "ok" and before["size"] >= (row["size"] or 0)
        if row["status"] != "maximum" or not is_known:
            Table(self.out, fit_rows.ANSWERS).append([row])
        return row

    def _at(self, size: int) -> list[Row]:
        return [row for row in self._tries if row[self._field] == size]

    def _known(self) -> dict[int, Row]:
        sizes = {row[self._field] for row in self._tries}
        return {size: fit_rows.merged(self._at(size)) for size in sizes}

    def _told(self) -> str:
        low, high = bracket(self._known(), self.maximum)
        parts = [f"{low} trains"] if low else []
        parts += [f"{high} does not"] if high <= self.maximum else []
        return ", ".join(parts) or "nothing is known yet"

    def _try(self, size: int) -> None:
        changed: Any = {self._field: size}
        cell = dataclasses.replace(self.cell, **changed)
        with screen.progress(f"{cell.algorithm} {self.over} {size} ({self._told()})") as report:
            result = worker.call("fit", [cell], report, self.limits)
            if result["status"] in fit_rows.ACCIDENTS:
                screen.note(f"{cell.title}: {result['error']}; tried once more")
                result = worker.call("fit", [cell], report, self.limits)
        row = {
            **cell.row(),
            **self._fixed,
            **result,
            "time_limit_s": self.limits.time_s,
            "process": len(self._at(size)) + 1,
            "timestamp": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        self._tries.append({name: row.get(name) for name in fit_rows.TRIES.columns})
        Table(self.out, fit_rows.TRIES).append(self._tries[-1:])
        if row["status"] not in ("ok", "out_of_memory"):
            screen.note(f"{cell.title}: {row['status']}: {row['error']}")

    def _answer(self) -> Row:
        known = self._known()
        low, high = bracket(known, self.maximum)
        row = {**known[low or high], "over": self.over, "maximum": self.maximum}
        if low:
            row |= {"size": low, "image_time_s": row["step_time_s"] / row["batch_size"]}
            if high in known and known[high]["status"] != "ok":  # it may be the maximum's end
                row["next_status"], row["next_error"] = known[high]["status"], known[high]["error"]
            else:
                row["status"] = "maximum"
        elif row["status"] == "out_of_memory":
            row["status"] = "too_little_memory"
        return {name: row.get(name) for name in fit_rows.ANSWERS.columns}
