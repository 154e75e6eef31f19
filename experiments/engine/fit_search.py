"""One search of `experiments.fit`: sizes tried in limited processes, until the answer is known."""

import dataclasses
from datetime import UTC, datetime
from importlib.metadata import version

from mem_dfa.experiments.cells.cell import Cell
from mem_dfa.experiments.cli import screen
from mem_dfa.experiments.engine import search, worker
from mem_dfa.experiments.store import fit_rows, measured
from mem_dfa.experiments.store.keyed import Row

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
            for key, row in fit_rows.TRIES.read(self.out).items()
            if fit_rows.is_settled(row, self.limits.time_s)
        }
        self.remembered = len(self._matching(self._field))

    def run(self) -> Row:
        """Tries sizes until the answer is known, and keeps it, unless a better one is kept.

        Returns:
            The row of the answer. Its ``status`` is "ok" where ``size`` trained and one more did
            not, "maximum" where no larger one was to be tried, and otherwise that of size 1, for
            which there was "too_little_memory" or another obstacle.

        Raises:
            results.ResultsError: a row cannot be written.
        """
        limit_bytes = self.limits.memory_bytes
        while True:
            known = self.known()
            size = search.next_size(known, self.maximum, limit_bytes, self.repeats)
            if size is None:
                break
            self._try(size, limit_bytes, f"({self.told()})")
        row = self._answer(known)
        before = fit_rows.ANSWERS.read(self.out).get(fit_rows.ANSWERS.key_of(row), {})
        # What stopped at a maximum is no news where the largest size is known.
        is_known = before.get("status") == "ok" and before["size"] >= (row["size"] or 0)
        if row["status"] != "maximum" or not is_known:
            fit_rows.ANSWERS.keep(self.out, row)
        return row

    def known(self) -> dict[int, Row]:
        """What is known within the limit, by size."""
        sizes: dict[int, list[Row]] = {}
        for row in self._matching(self._field):
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

    def _settings(self) -> Row:
        settings = {**dataclasses.asdict(self.cell), "memory_limit_bytes": self.limits.memory_bytes}
        return settings | {name: version(name) for name in ("tensorflow", "keras")}

    def _matching(self, *free: str) -> list[Row]:
        """The tries with this search's settings, apart from those in ``free``."""
        wanted = self._settings()
        return [row for row in self._tries.values() if fit_rows.same_but(row, wanted, *free)]

    def _try(self, size: int, limit_bytes: int | None, note: str) -> Row:
        """Trains once with this size, and keeps the row."""
        cell = dataclasses.replace(self.cell, **{self._field: size})
        before = [
            row
            for row in self._matching(self._field, "memory_limit_bytes")
            if (row[self._field], row["memory_limit_bytes"]) == (size, limit_bytes)
        ]
        limits = dataclasses.replace(self.limits, memory_bytes=limit_bytes)
        with screen.progress(f"{cell.algorithm} {self.over} {size} {note}") as report:
            result = worker.call("fit", [cell], report, limits)
            if result["status"] in fit_rows.ACCIDENTS:
                screen.note(f"{cell.title}: {result['error']}; tried once more")
                result = worker.call("fit", [cell], report, limits)
        row = {
            **self._settings(),
            **dataclasses.asdict(cell),
            **result,
            "memory_limit_bytes": limit_bytes,
            "time_limit_s": limits.time_s,
            "process": len(before) + 1,
            "timestamp": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        row = {name: row.get(name) for name in fit_rows.TRIES.columns}
        fit_rows.TRIES.keep(self.out, row)
        self._tries[fit_rows.TRIES.key_of(row)] = row
        if row["status"] not in ("ok", "out_of_memory"):
            screen.note(f"{cell.title}: {row['status']}: {row['error']}")
        return row

    def _answer(self, known: dict[int, Row]) -> Row:
        low, high = search.bracket(known, self.maximum)
        failed = high in known and known[high]["status"] != "ok"  # it may be the maximum's end
        row = {**known[low or high], "over": self.over, "maximum": self.maximum, "size": low}
        # Of most whole models, whether one trained or not, so that an answer replaces a failure.
        row["layers"] = row["depth"] or measured.with_depth(row)["layers"]
        if low == 0:
            row["size"] = None
            if row["status"] == "out_of_memory":
                row["status"] = "too_little_memory"
                row["least_memory_bytes"] = self._least_bytes()
        else:
            row["status"] = "ok" if failed else "maximum"
            row["image_time_s"] = row["step_time_s"] / row["batch_size"]
        if low and failed:
            row["next_status"], row["next_error"] = known[high]["status"], known[high]["error"]
        return {name: row.get(name) for name in fit_rows.ANSWERS.columns}

    def _least_bytes(self) -> int | None:
        """The least limit, in whole MiB, in which size 1 trains; None where that stays unknown."""
        note = "(how much it needs: {})".format
        tries = self._first_size()
        free = tries.pop(None, None) or self._try(1, None, note("without a limit"))
        if free["status"] != "ok":
            return None
        first = -(-free["process_peak_bytes"] // MIB)
        while all(row["status"] in ("ok", "out_of_memory") for row in tries.values()):
            trained = {limit // MIB: row["status"] == "ok" for limit, row in tries.items()}
            limit = search.next_limit(trained, first)
            if limit is None:
                return min(limit for limit, ok in trained.items() if ok) * MIB
            tries[limit * MIB] = self._try(1, limit * MIB, note(f"{limit} MiB"))
        return None

    def _first_size(self) -> dict[int | None, Row]:
        """What is known of size 1, by limit."""
        limits: dict[int | None, list[Row]] = {}
        for row in self._matching(self._field, "memory_limit_bytes"):
            if row[self._field] == 1:
                limits.setdefault(row["memory_limit_bytes"], []).append(row)
        return {limit: fit_rows.merged(rows) for limit, rows in limits.items()}
