"""Which cells of a sweep are known, and which one another sweep is measuring."""

import contextlib
import fcntl
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mem_dfa.experiments.cells.cell import Cell
from mem_dfa.experiments.store import files, results
from mem_dfa.experiments.store.table import Row

LOCK_NAME = ".sweep.lock"


def identity_of(row: Mapping[str, Any]) -> str:
    """What a row is about. How often it was measured does not matter, but see `Settled`."""
    return f"{Cell.of(row).key()} tensorflow={row['tensorflow']}"


@dataclass(frozen=True)
class Settled:
    """The row of each cell that need not be measured."""

    out: str  # the folder of the measurements
    repeats: int  # a measurement from fewer processes does not count
    tried_again: int = 0  # so many of the oldest rows do not count if they tell of a failure

    def now(self) -> dict[str, Row]:
        """Of each cell its last good row, or else the last that tells of a failure."""
        rows = results.read(self.out)
        good = [r for r in rows if r["status"] == "ok" and (r["repeats"] or 0) >= self.repeats]
        bad = [row for row in rows[self.tried_again :] if row["status"] != "ok"]
        return {identity_of(row): row for row in (*bad, *good)}


class Holds(contextlib.ExitStack):
    """Keeps other sweeps over one folder from measuring a cell while this one does.

    A hold is a lock on one byte of a file. The system gives it back when the process ends, in
    whatever way, so nothing is left behind by one that was killed.
    """

    def __init__(self, out: str) -> None:
        """Opens the file; see `Holds`."""
        super().__init__()
        self._out, path = out, Path(out, LOCK_NAME)
        with files.usable(out):
            files.check_is_file(path)
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.enter_context(path.open("ab"))

    def take(self, identity: str) -> bool:
        """Whether the cell is this sweep's from now on; False if it is another's."""
        with files.usable(self._out):
            try:
                fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _place(identity))
            except (BlockingIOError, PermissionError):  # systems say either
                return False
        return True

    def release(self, identity: str) -> None:
        """Leaves the cell to others, who find its row."""
        fcntl.lockf(self._file, fcntl.LOCK_UN, 1, _place(identity))


def _place(identity: str) -> int:
    """A byte that no other cell has, but for one chance in 2^62; the file stays empty."""
    digest = hashlib.sha256(identity.encode()).digest()
    return int.from_bytes(digest[:8]) >> 2
