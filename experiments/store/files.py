"""Files that several runs write: whole or not at all, one run at a time."""

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

import filelock
from mem_dfa.experiments.cells.errors import BusyError as BusyError
from mem_dfa.experiments.cells.errors import ResultsError as ResultsError
from mem_dfa.experiments.store import stopping
from mem_dfa.experiments.terminal import screen

TABLES = "tables"
"""The folder, below that of results, of all tables but the measurements."""
PATIENCE_S = 1
LOCK_TIMEOUT_S = 30
KEPT = (
    ".row",
    ".begun",
)  # of what a run left, that which `store.results` has a use for


def behind_links(path: str | os.PathLike[str]) -> Path:
    """The file itself, so that a symbolic link to it stays one."""
    return Path(os.path.realpath(path))


def check_is_file(path: Path) -> None:
    """Makes sure that a path can be opened without waiting for anybody.

    Raises:
        ResultsError: something else than a file is there, such as a pipe.
    """
    if path.exists() and not path.is_file():
        raise ResultsError(f"{path} is no file; move it away or give another folder")


@contextlib.contextmanager
def locked(path: Path, patient: bool = True) -> Iterator[None]:
    """Makes the folder of ``path`` and keeps other runs from writing the file meanwhile.

    A signal that ends this run waits until the block is done. What runs that were killed as they
    wrote left behind is removed, see `replace`.

    Args:
        path: of the file.
        patient: whether to wait until nobody else writes it, and not only for a moment.

    Raises:
        ResultsError: it cannot be written.
        BusyError: another run is writing it.
    """
    lock = path.with_name(f".{path.name}.lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        check_is_file(lock)
        with _held(lock, patient), stopping.undisturbed():
            for left in path.parent.glob(f".{path.name}.*"):
                if left != lock and left.suffix not in KEPT:
                    left.unlink()
            yield
    except OSError as error:
        raise unwritable(path.parent, error) from error


def _held(lock: Path, patient: bool) -> filelock.AcquireReturnProxy:
    held = filelock.FileLock(lock)
    try:
        return held.acquire(timeout=LOCK_TIMEOUT_S if patient else PATIENCE_S)
    except filelock.Timeout as error:
        if not patient:
            raise BusyError(lock) from error
    screen.note(
        f"another run has had {lock} for over {LOCK_TIMEOUT_S} s, and this one waits for it; end "
        "whichever should not be writing there"
    )
    return held.acquire()


def replace(path: Path, text: str) -> None:
    """Puts ``text`` in the place of the file at ``path``, whole or not at all.

    A link stays one, and a file that was there keeps its permissions.
    """
    path = behind_links(path)
    unfinished = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with unfinished.open("x", encoding="utf-8", newline="") as file:
            if path.exists():
                os.fchmod(file.fileno(), stat.S_IMODE(path.stat().st_mode))
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def write_markdown(
    out: str | os.PathLike[str], name: str, lines: Sequence[Sequence[str]], heading: str = ""
) -> Path:
    """Writes a table for readers as name.md, whole.

    Args:
        out: the folder.
        name: of the file.
        lines: of the table; the first one names its columns.
        heading: a line above the table.

    Raises:
        ResultsError: it cannot be written.
    """
    whole = [lines[0], ["---"] * len(lines[0]), *lines[1:]]
    text = "".join(f"| {' | '.join(line)} |\n" for line in whole)
    file = Path(out, TABLES, f"{name}.md")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        replace(file, f"{heading}\n\n{text}" if heading else text)
    except OSError as error:
        raise unwritable(out, error) from error
    return file


def unwritable(out: str | os.PathLike[str], error: OSError) -> ResultsError:
    """What to say where the folder ``out`` cannot be written."""
    reason = error.strerror or type(error).__name__
    space = "make room, or " if error.errno == errno.ENOSPC else ""
    return ResultsError(
        f"--out {str(out)!r} cannot be written ({reason}); {space}give a folder that can be written"
    )
