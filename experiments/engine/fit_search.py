"""One search of `experiments.fit`: sizes tried in limited processes, until the answer is known."""

import dataclasses
from datetime import UTC, datetime
from importlib.metadata import version

from mem_dfa.experiments.cells.cell import Cell
from mem_dfa.experiments.engine import search, worker
from mem_dfa.experiments.store import fit_rows
from mem_dfa.experiments.store.table import Row, Table
from mem_dfa.experiments.terminal import screen

MIB = 2**20
ANSWERED = ("ok", "maximum")


@dataclasses.dataclass
class Search:
    """The largest size with which a cell trains."""

    cell: Cell
    """What is trained, at any size."""
    over: str
    """A key of `fit_rows.OVER`: what the size is."""
    limits: worker.Limits
    """Of each process; its bytes are whole MiB."""
    maximum: int
    """No larger size is tried."""
    repeats: int
    """In how many processes the answer has to train."""
    out: str
    """The folder of the CSVs, from which earlier tries are known."""

    def __post_init__(self) -> None:
        """Remember what was tried before."""
        self._tries = {
            key: row
            for key, row in fit_rows.tries(self.out).items()
            if fit_rows.is_settled(row, self.limits.time_s)
        }
        self.remembered = len(self._matching())

    def run(self) -> Row:
        """Tries sizes until the answer is known, and keeps it, unless a better one is kept.

        Returns:
            The row of the answer. Its ``status`` is "ok" where ``size`` trained and one more did
            not, "maximum" where no larger one was to be tried, and otherwise that of size 1, for
            which there was "too_little_memory" or another obstacle.

        Raises:
            ResultsError: a row cannot be written.
        """
        while True:
            known = self.known()
            size = search.next_size(known, self.maximum, self.limits.memory_bytes, self.repeats)
            if size is None:
                break
            self._try(size)
        row = self._answer(known)
        before = fit_rows.answers(self.out).get(fit_rows.key_of_answer(row), {})
        # What stopped at a maximum is no news where the largest size is known.
        is_known = before.get("status") == "ok" and before["size"] >= (row["size"] or 0)
        if row["status"] != "maximum" or not is_known:
            Table(self.out, fit_rows.ANSWERS).append([row])
        return row

    def known(self) -> dict[int, Row]:
        """What is known within the limit, by size."""
        sizes: dict[int, list[Row]] = {}
        for row in self._matching():
            sizes.setdefault(row[self._field], []).append(row)
        return {size: fit_rows.merged(rows) for size, rows in sizes.items()}

    def told(self) -> str:
        """What is known, in words."""
        low, high = search.bracket(self.known(), self.maximum)
        parts = [f"{low} trains"] if low else []
        parts += [f"{high} does not"] if high <= self.maximum else []
        return ", ".join(parts) or "nothing is known yet"

    @property
    def _field(self) -> str:
        return fit_rows.OVER[self.over]

    def _settings(self, cell: Cell) -> Row:
        versions = {name: version(name) for name in ("tensorflow", "keras")}
        return {**cell.row(), "memory_limit_bytes": self.limits.memory_bytes, **versions}

    def _matching(self) -> list[Row]:
        """The tries with this search's settings, of any size."""
        wanted = fit_rows.key_of(self._settings(self.cell), self._field)
        rows = self._tries.values()
        return [row for row in rows if fit_rows.key_of(row, self._field) == wanted]

    def _try(self, size: int) -> None:
        """Trains once with this size, and keeps the row."""
        cell = dataclasses.replace(self.cell, **{self._field: size})
        before = [row for row in self._matching() if row[self._field] == size]
        with screen.progress(f"{cell.algorithm} {self.over} {size} ({self.told()})") as report:
            result = worker.call("fit", [cell], report, self.limits)
            if result["status"] in fit_rows.ACCIDENTS:
                screen.note(f"{cell.title}: {result['error']}; tried once more")
                result = worker.call("fit", [cell], report, self.limits)
        row = {
            **self._settings(cell),
            **result,
            "time_limit_s": self.limits.time_s,
            "process": len(before) + 1,
            "timestamp": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        row = {name: row.get(name) for name in fit_rows.TRIES.columns}
        Table(self.out, fit_rows.TRIES).append([row])
        self._tries[fit_rows.key_of(row), row["process"]] = row
        if row["status"] not in ("ok", "out_of_memory"):
            screen.note(f"{cell.title}: {row['status']}: {row['error']}")

    def _answer(self, known: dict[int, Row]) -> Row:
        low, high = search.bracket(known, self.maximum)
        failed = high in known and known[high]["status"] != "ok"  # it may be the maximum's end
        row = {**known[low or high], "over": self.over, "maximum": self.maximum, "size": low}
        if low == 0:
            row["size"] = None
            if row["status"] == "out_of_memory":
                row["status"] = "too_little_memory"
        else:
            row["status"] = "ok" if failed else "maximum"
            row["image_time_s"] = row["step_time_s"] / row["batch_size"]
        if low and failed:
            row["next_status"], row["next_error"] = known[high]["status"], known[high]["error"]
        return {name: row.get(name) for name in fit_rows.ANSWERS.columns}
