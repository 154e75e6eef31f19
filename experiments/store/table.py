"""Tables that rows are appended to, whole or not at all, in a time that does not grow with them."""

import contextlib
import csv
import io
import os
import secrets
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
from mem_dfa.experiments.store import files, stopping
from mem_dfa.experiments.store.files import BusyError, ResultsError
from mem_dfa.experiments.store.values import Kind, require, typed

_REMEDY = "it is left as it is: move it away or give another --out"
FREE_BYTES = 2**14  # what a row takes, and more

Row = dict[str, Any]


@dataclass(frozen=True)
class Schema:
    """What a table holds."""

    name: str
    """Of the file, with its ending."""
    noun: str
    """What it is, such as "table of measurements"."""
    kinds: Mapping[str, Kind]
    """The columns, in order, and what each may hold."""
    always: Collection[str] = ()
    """The columns that no row leaves empty."""
    if_good: Collection[str] = ()
    """The columns that no row with a good status leaves empty."""
    good: Collection[str] = ("ok",)
    """Which statuses are good."""


@dataclass
class Table:
    """The table of a schema under a folder."""

    folder: str | os.PathLike[str]
    schema: Schema
    _file: tuple[int, int] | None = field(default=None, init=False)
    _size: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        """Follow links, so that they stay links."""
        self.path = files.behind_links(Path(self.folder, self.schema.name))

    def append(self, rows: Sequence[Mapping[str, object]]) -> Path:
        """Appends rows, each whole or not at all, whenever whoever writes it is killed.

        Args:
            rows: with a value for each column; None, or nothing, for what is unknown.

        Returns:
            The file, as it was named.

        Raises:
            ResultsError: it cannot be written, or what is there is another table.
        """
        lines = pd.DataFrame(rows, columns=list(self.schema.kinds), dtype=object)
        text = lines.to_csv(index=False, header=False, lineterminator="\n")
        try:
            # A carriage return is written without quotes, and nobody could read the file any more.
            self._add(text.replace("\r", " "))
        except OSError as error:
            raise files.unwritable(self.folder, error) from error
        return Path(self.folder, self.schema.name)

    def check_writable(self) -> None:
        """Makes sure, before anything is measured, that rows can be appended.

        What earlier runs could only put aside is in the table from now on.

        Raises:
            ResultsError: the folder cannot be made or written, or there is another table.
        """
        try:
            self.settle()
            data = self._data()
            self._parsed(data)
            lock = self.path.with_name(f".{self.path.name}.lock")
            files.check_is_file(lock)
            for path in (self.path, lock):
                if path.exists():
                    path.open("r+b").close()
            folders = (self.path.parent, *self.path.parent.parents)
            with tempfile.TemporaryFile(dir=next(f for f in folders if f.exists())) as stand_in:
                stand_in.seek(len(data))  # to be as long as the table will be
                stand_in.write(bytes(FREE_BYTES))
        except OSError as error:
            raise files.unwritable(self.folder, error) from error

    def _add(self, text: str) -> None:
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

    def read(self) -> list[Row]:
        """The rows, oldest first; None for what is unknown, and no rows where there is no file.

        Raises:
            ResultsError: there is another table, it is damaged, or it cannot be read.
        """
        try:
            return self._parsed(self._data())
        except OSError as error:
            raise files.unwritable(self.folder, error) from error

    def _data(self) -> bytes:
        """The file; the columns alone where there is none yet."""
        files.check_is_file(self.path)
        if not self.path.exists():
            return self._header()
        data = self.path.read_bytes()
        if not data.endswith(b"\n"):  # another run is writing it just now, or was killed as it did
            with contextlib.suppress(ResultsError), self._held():
                data = self.path.read_bytes()
        return data

    def read_added(self) -> tuple[list[Row], bool]:
        """The rows that were added since the last time.

        Returns:
            The rows; and whether the file is another one by now, of which they are all.

        Raises:
            ResultsError: there is another table, it is damaged, or it cannot be read.
        """
        try:
            return self._read_added()
        except OSError as error:
            raise files.unwritable(self.folder, error) from error

    def _read_added(self) -> tuple[list[Row], bool]:
        status = self.path.stat() if self.path.is_file() else None
        file = status and (status.st_dev, status.st_ino)
        if file and file == self._file and status.st_size >= self._size:
            with self.path.open("rb") as opened:
                opened.seek(self._size)
                data = opened.read()
            if not data.endswith(b"\n"):
                return [], False  # nothing, or something that is being written
            with contextlib.suppress(ResultsError):  # where another program changed it
                rows = self._parsed(data, has_header=False)
                self._size += len(data)
                return rows, False
        whole = self._data()
        rows = self._parsed(whole)
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
        header = self._header()
        files.check_is_file(self.path)
        if not self.path.exists():
            files.replace(self.path, (header + lines).decode())
            return
        with self.path.open("r+b", buffering=0) as file:
            if file.read(len(header)) != header:
                self._parsed(self.path.read_bytes())  # it may be quoted
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
                self._parsed(file.read(), has_header=False)
            except ResultsError:
                file.truncate(size)

    def _header(self) -> bytes:
        return f"{','.join(self.schema.kinds)}\n".encode()

    def _parsed(self, data: bytes, has_header: bool = True) -> list[Row]:
        columns = list(self.schema.kinds)
        try:
            lines = list(csv.reader(io.StringIO(data.decode()), strict=True))
        except (UnicodeDecodeError, csv.Error) as error:
            raise self._refused(str(error)) from error
        if has_header and lines[:1] != [columns]:
            raise self._refused("its columns are others")
        if any(len(line) != len(columns) for line in lines) or data[-1:] not in (b"", b"\n"):
            raise self._torn()
        try:
            return [self._typed(line) for line in lines[has_header:]]
        except ValueError as error:
            raise self._refused(str(error)) from error

    def _typed(self, texts: Sequence[str]) -> Row:
        columns = zip(self.schema.kinds.items(), texts, strict=True)
        row = {name: typed(name, text, kind) for (name, kind), text in columns}
        require(row, self.schema.always)
        if row.get("status") in self.schema.good:
            require(row, self.schema.if_good)
        return row

    def _refused(self, why: str) -> ResultsError:
        return ResultsError(f"{self.path} is no {self.schema.noun} ({why}); {_REMEDY}")

    def _torn(self) -> ResultsError:
        return ResultsError(f"{self.path} is damaged: a row is not whole; {_REMEDY}")
