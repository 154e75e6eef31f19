"""Which cells of a sweep are known, and which one another sweep is measuring."""

import fcntl
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from mem_dfa.experiments.cells.cell import Cell
from mem_dfa.experiments.store import files, results
from mem_dfa.experiments.store.files import ResultsError
from mem_dfa.experiments.store.table import Row

LOCK_NAME = ".sweep.lock"


def identity_of(row: Mapping[str, Any]) -> str:
    """What a row is about. How often it was measured does not matter, but see `Settled`."""
    return f"{Cell.of(row).key()} tensorflow={row['tensorflow']}"


class Settled:
    """The row of each cell that need not be measured; each row of the CSV is read once."""

    def __init__(self, out: str, repeats: int, tried_again: int = 0) -> None:
        """Begins with the first row.

        Args:
            out: the folder of the CSV.
            repeats: a measurement from fewer processes than that does not count.
            tried_again: so many of the oldest rows do not count if they tell of a failure.
        """
        self._table = results.table(out)
        self._repeats = repeats
        self._tried_again = tried_again
        self._known: dict[str, Row] = {}
        self._count = 0

    def now(self) -> Mapping[str, Row]:
        """Of each cell its last good row, or else the last that tells of a failure.

        Raises:
            ResultsError: a row is damaged, or the table cannot be read.
        """
        rows, is_another = self._table.read_added()
        if is_another:
            self._known, self._count = {}, 0
        for row in rows:
            self._take(row)
        return self._known

    def _take(self, row: Row) -> None:
        identity = identity_of(row)
        is_old = self._count < self._tried_again
        self._count += 1
        if row["status"] == "ok":
            if (row["repeats"] or 0) >= self._repeats:
                self._known[identity] = row
        elif not is_old and self._known.get(identity, row)["status"] != "ok":
            self._known[identity] = row


class Holds:
    """Keeps other sweeps over one folder from measuring a cell while this one does.

    A hold is a lock on one byte of a file. The system gives it back when the process ends, in
    whatever way, so nothing is left behind by one that was killed.
    """

    def __init__(self, out: str) -> None:
        """Opens the file; see `Holds`.

        Raises:
            ResultsError: it cannot be made.
        """
        self._path = Path(out, LOCK_NAME)
        files.check_is_file(self._path)
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._path.open("ab")
        except OSError as error:
            raise self._unusable(error) from error

    def take(self, identity: str) -> bool:
        """Whether the cell is this sweep's from now on; False if it is another's.

        Raises:
            ResultsError: files cannot be locked there.
        """
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _place(identity))
        except (BlockingIOError, PermissionError):  # systems say either
            return False
        except OSError as error:
            raise self._unusable(error) from error
        return True

    def release(self, identity: str) -> None:
        """Leaves the cell to others, who find its row."""
        fcntl.lockf(self._file, fcntl.LOCK_UN, 1, _place(identity))

    def _unusable(self, error: OSError) -> ResultsError:
        return ResultsError(
            f"{self._path} cannot be made and locked ({error.strerror}), which keeps two sweeps "
            "from measuring one cell; give an --out on another file system"
        )

    def __enter__(self) -> Self:
        """As it is."""
        return self

    def __exit__(self, *error: object) -> None:
        """Gives everything back."""
        self._file.close()


def _place(identity: str) -> int:
    """A byte that no other cell has, but for one chance in 2^62; the file stays empty."""
    digest = hashlib.sha256(identity.encode()).digest()
    return int.from_bytes(digest[:8]) >> 2
