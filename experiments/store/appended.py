"""CSVs that rows are appended to, whole or not at all, in a time that does not grow with them."""

import contextlib
import csv
import io
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from mem_dfa.experiments.store import files, stopping
from mem_dfa.experiments.store.files import BusyError, ResultsError

_REMEDY = "it is left as it is: move it away or give another --out"

Row = dict[str, str]


@dataclass
class AppendedFile:
    """One such CSV; what is unknown in a row is ""."""

    path: Path
    """Behind links."""
    columns: list[str]
    _file: tuple[int, int] | None = field(default=None, init=False)
    _size: int = field(default=0, init=False)

    def add(self, text: str) -> None:
        """Appends lines.

        A lock lets several runs write to one file. Where another one has it for longer than a
        moment the lines are put aside, and whoever has it next appends them, so that they are not
        lost if this run ends as it waits.

        Raises:
            ResultsError: the file cannot be written, or is another.
        """
        aside = self.path.with_name(f".{self.path.name}.{secrets.token_hex(4)}.row")
        with stopping.undisturbed():
            try:
                with self._held(patient=False):
                    self._append(text.encode())
            except BusyError:
                files.replace(aside, text)
        if aside.exists():
            self.settle()

    def settle(self) -> None:
        """Appends what runs put aside, and takes back what one that was killed began to append.

        Raises:
            ResultsError: the file cannot be written, or is another.
        """
        if any(self._left(kind) for kind in files.KEPT):
            with self._held():
                pass

    def read(self) -> tuple[bytes, list[Row]]:
        """The file and its rows, oldest first; nothing where there is none yet.

        Raises:
            ResultsError: the file is another, or damaged.
            OSError: it cannot be read.
        """
        files.check_is_file(self.path)
        if not self.path.exists():
            return b"", []
        data = self.path.read_bytes()
        if not data.endswith(b"\n"):  # another run is writing it just now, or was killed as it did
            with contextlib.suppress(ResultsError), self._held():
                data = self.path.read_bytes()
        return data, self._parsed(data, has_header=True)

    def read_added(self) -> tuple[list[Row], bool]:
        """The rows that were added since the last time.

        Returns:
            The rows; and whether the file is another one by now, of which they are all.

        Raises:
            ResultsError: the file is another, or damaged.
            OSError: it cannot be read.
        """
        status = self.path.stat() if self.path.is_file() else None
        file = status and (status.st_dev, status.st_ino)
        if file and file == self._file and status.st_size >= self._size:
            with self.path.open("rb") as opened:
                opened.seek(self._size)
                data = opened.read()
            if not data.endswith(b"\n"):
                return [], False  # nothing, or something that is being written
            with contextlib.suppress(ResultsError):  # where another program changed it
                rows = self._parsed(data)
                self._size += len(data)
                return rows, False
        whole, rows = self.read()
        self._file, self._size = file, len(whole)
        return rows, True

    @contextlib.contextmanager
    def _held(self, patient: bool = True) -> Iterator[None]:
        """As `files.locked`, and all is settled."""
        with files.locked(self.path, patient):
            for begun in self._left(".begun"):
                self._take_back(int(begun.suffixes[-2][1:]))
                begun.unlink()
            for aside in self._left(".row"):
                self._append(aside.read_bytes())
                aside.unlink()
            yield

    def _left(self, kind: str) -> list[Path]:
        return sorted(self.path.parent.glob(f".{self.path.name}.*{kind}"))

    def _append(self, lines: bytes) -> None:
        """Until they are whole, a file beside this one tells how long it was before."""
        header = f"{','.join(self.columns)}\n".encode()
        files.check_is_file(self.path)
        if not self.path.exists():
            files.replace(self.path, (header + lines).decode())
            return
        with self.path.open("r+b", buffering=0) as file:
            if file.read(len(header)) != header:
                self._parsed(self.path.read_bytes(), has_header=True)  # it may be quoted
            size = file.seek(-1, os.SEEK_END) + 1
            if file.read(1) != b"\n":
                raise self._torn()
            begun = self.path.with_name(f".{self.path.name}.{size}.begun")
            begun.touch()
            try:
                rest = memoryview(lines)
                while rest:
                    rest = rest[file.write(rest) :]
                os.fsync(file.fileno())
            except BaseException:
                file.truncate(size)
                raise
            finally:
                begun.unlink()

    def _take_back(self, size: int) -> None:
        """Removes what follows this size unless it is whole rows."""
        if not self.path.exists():
            return
        with self.path.open("r+b") as file:
            file.seek(size)
            try:
                self._parsed(file.read())
            except ResultsError:
                file.truncate(size)

    def _parsed(self, data: bytes, has_header: bool = False) -> list[Row]:
        try:
            lines = list(csv.reader(io.StringIO(data.decode()), strict=True))
        except (UnicodeDecodeError, csv.Error) as error:
            raise ResultsError(f"{self.path} is no CSV ({error}); {_REMEDY}") from error
        if has_header and lines[:1] != [self.columns]:
            raise ResultsError(
                f"{self.path} does not have the columns of this version's results; {_REMEDY}"
            )
        width = len(self.columns)
        if any(len(line) != width for line in lines) or data[-1:] not in (b"", b"\n"):
            raise self._torn()
        return [dict(zip(self.columns, line, strict=True)) for line in lines[has_header:]]

    def _torn(self) -> ResultsError:
        return ResultsError(f"{self.path} is damaged: a row is not whole; {_REMEDY}")
