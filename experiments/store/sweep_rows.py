"""Which cells of a sweep are known, and which one another sweep is measuring."""

import contextlib
import fcntl
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mem_dfa.experiments.cells.cell import Cell
from mem_dfa.experiments.store import files, results
from mem_dfa.experiments.store.schemas import Row

LOCK_NAME = ".sweep.lock"


def identity_of(row: Mapping[str, Any]) -> str:
    """What a row is about. How often it was measured does not matter, but see `settled`."""
    return f"{Cell.of(row).key()} tensorflow={row['tensorflow']}"


def settled(out: str, repeats: int, tried_again: int = 0) -> dict[str, Row]:
    """Of each cell that need not be measured its last good row, or else the last of a failure.

    A good one is of so many processes, and so many of the oldest failures do not count.
    """
    rows = results.read(out)
    good = [row for row in rows if row["status"] == "ok" and (row["repeats"] or 0) >= repeats]
    bad = [row for row in rows[tried_again:] if row["status"] != "ok"]
    return {identity_of(row): row for row in (*bad, *good)}


class Holds(contextlib.ExitStack):
    """Keeps other sweeps over one folder from measuring a cell while this one does.

    A hold is a lock on one byte of a file, which stays empty. The system gives it back when the
    process ends, in whatever way, so nothing is left behind by one that was killed.
    """

    def __init__(self, out: str) -> None:
        """Opens the file."""
        super().__init__()
        with files.usable(out):
            path = files.check_is_file(Path(out, LOCK_NAME))
            path.parent.mkdir(parents=True, exist_ok=True)
            self._out, self._file = out, self.enter_context(path.open("ab"))

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
    """A byte that no other cell has, but for one chance in 2^62."""
    return int.from_bytes(hashlib.sha256(identity.encode()).digest()[:8]) >> 2
