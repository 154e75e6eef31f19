"""Files that several runs write: whole or not at all, one run at a time."""

import contextlib
import errno
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import filelock
from mem_dfa.experiments.cells.errors import ResultsError as ResultsError
from mem_dfa.experiments.terminal import screen
from mem_dfa.profiling.files import replace as replace
from mem_dfa.profiling.files import write_whole

TABLES = "tables"
"""The folder, below that of results, of all tables but the measurements."""
LOCK_TIMEOUT_S = 30


def check_is_file(path: Path) -> None:
    """Refuses a pipe and the like, where opening it would wait for somebody."""
    if path.exists() and not path.is_file():
        raise ResultsError(f"{path} is no file; move it away or give another folder")


@contextlib.contextmanager
def usable(out: str | os.PathLike[str]) -> Iterator[None]:
    """Turns an OSError in the block into a ResultsError about the folder ``out``."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or type(error).__name__
        space = "make room, or " if error.errno == errno.ENOSPC else ""
        raise ResultsError(
            f"--out {str(out)!r} cannot be written ({reason}); {space}give a folder that can be "
            "written"
        ) from error


def lock_of(path: Path) -> Path:
    """The file that is locked while the one at ``path`` is written."""
    lock = path.with_name(f".{path.name}.lock")
    check_is_file(lock)
    return lock


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Makes the folder of ``path`` and keeps other runs from writing the file meanwhile.

    What a run that was killed as it wrote has left is removed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(lock_of(path))
    try:
        held = lock.acquire(LOCK_TIMEOUT_S)
    except filelock.Timeout:
        screen.note(
            f"another run has had {lock.lock_file} for over {LOCK_TIMEOUT_S} s, and this one waits "
            "for it; end whichever should not be writing there"
        )
        held = lock.acquire(-1)
    with held:
        for left in path.parent.glob(f".{path.name}.*"):
            if left != Path(lock.lock_file):
                left.unlink()
        yield


def write_markdown(
    out: str | os.PathLike[str], name: str, lines: Sequence[Sequence[str]], heading: str = ""
) -> Path:
    """Writes a table for readers, whose first line names its columns, as tables/name.md."""
    whole = [lines[0], ["---"] * len(lines[0]), *lines[1:]]
    text = "".join(f"| {' | '.join(line)} |\n" for line in whole)
    path = Path(out, TABLES, f"{name}.md")
    return write_whole(path, (f"{heading}\n\n{text}" if heading else text).encode())
