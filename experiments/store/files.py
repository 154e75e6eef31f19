"""Files that several runs write: whole or not at all, one run at a time, whatever ends it."""

import contextlib
import errno
import fcntl
import hashlib
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import filelock
from mem_dfa.experiments.cells.errors import ResultsError as ResultsError
from mem_dfa.experiments.terminal import screen
from mem_dfa.profiling.files import replace as replace
from mem_dfa.profiling.files import write_whole

TABLES = "tables"  # the folder, below that of results, of all tables but the measurements
LOCK_TIMEOUT_S = 30
SWEEP_LOCK = ".sweep.lock"
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def interrupting() -> Iterator[list[int]]:
    """Lets the signals that end a run raise KeyboardInterrupt in the block; lists those that came.

    One that is ignored, as SIGHUP under nohup, or that a program has a use for, is left alone.
    """
    came: list[int] = []

    def interrupt(number: int, frame: FrameType | None) -> None:
        came.append(number)
        raise KeyboardInterrupt

    with _handled(interrupt, lambda usual: usual is signal.SIG_DFL):
        yield came


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Keeps the signals that end a run waiting until the block is done."""
    came: list[int] = []
    try:
        with _handled(lambda number, frame: came.append(number), callable):
            yield
    finally:
        if came:
            signal.raise_signal(came[0])


@contextlib.contextmanager
def _handled(
    handler: Callable[[int, FrameType | None], None], is_changed: Callable[[Any], bool]
) -> Iterator[None]:
    """Handles signals so instead of as usual, in the main thread, which alone can."""
    numbers = ENDING if threading.current_thread() is threading.main_thread() else ()
    usual = {number: old for number in numbers if is_changed(old := signal.getsignal(number))}
    try:
        for number in usual:
            signal.signal(number, handler)
        yield
    finally:
        for number, old in usual.items():
            signal.signal(number, old)


def check_is_file(path: Path) -> Path:
    """Refuses a pipe and the like, where opening it would wait for somebody; returns the path."""
    if path.exists() and not path.is_file():
        raise ResultsError(f"{path} is no file; move it away or give another folder")
    return path


@contextlib.contextmanager
def usable(out: str | os.PathLike[str]) -> Iterator[None]:
    """Turns an OSError in the block into a ResultsError about the folder ``out``."""
    try:
        yield
    except OSError as error:
        fault = f"cannot be written ({error.strerror or type(error).__name__})"
        advice = "make room, or give" if error.errno == errno.ENOSPC else "give"
        text = f"--out {str(out)!r} {fault}; {advice} a folder that can be written"
        raise ResultsError(text) from error


def lock_of(path: Path) -> Path:
    """The file that is locked while the one at ``path`` is written."""
    return check_is_file(path.with_name(f".{path.name}.lock"))


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keeps other runs from writing a file, and removes what those that were killed have left."""
    path.parent.mkdir(parents=True, exist_ok=True)
    name = lock_of(path)
    lock = filelock.FileLock(name)
    try:
        held = lock.acquire(LOCK_TIMEOUT_S)
    except filelock.Timeout:
        screen.note(
            f"another run has had {name} for over {LOCK_TIMEOUT_S} s, and this one waits for it; "
            "end whichever should not be writing there"
        )
        held = lock.acquire(-1)
    with held:
        for left in {*path.parent.glob(f".{path.name}.*")} - {name}:
            left.unlink()
        yield


def write_markdown(
    out: str | os.PathLike[str], name: str, lines: Sequence[Sequence[str]], heading: str = ""
) -> Path:
    """Writes a table for readers, whose first line names its columns, as tables/name.md."""
    whole = [lines[0], ["---"] * len(lines[0]), *lines[1:]]
    text = "".join(f"| {' | '.join(line)} |\n" for line in whole)
    text = f"{heading}\n\n{text}" if heading else text
    return write_whole(Path(out, TABLES, f"{name}.md"), text.encode())


class Holds(contextlib.ExitStack):
    """Keeps other sweeps over one folder from measuring a cell while this one does.

    A hold is a lock on one byte of an empty file, which the system gives back when the process
    ends, in whatever way.
    """

    def __init__(self, out: str) -> None:
        """Opens the file."""
        super().__init__()
        with usable(out):
            path = check_is_file(Path(out, SWEEP_LOCK))
            path.parent.mkdir(parents=True, exist_ok=True)
            self._out, self._file = out, self.enter_context(path.open("ab"))

    def take(self, identity: str) -> bool:
        """Whether the cell is this sweep's from now on; False if it is another's."""
        with usable(self._out):
            try:
                fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _place(identity))
            except (BlockingIOError, PermissionError):  # systems say either
                return False
        return True

    def release(self, identity: str) -> None:
        """Leaves the cell to others, who find its row."""
        fcntl.lockf(self._file, fcntl.LOCK_UN, 1, _place(identity))


def _place(identity: str) -> int:
    # A byte that no other cell has, but for one chance in 2^62.
    return int.from_bytes(hashlib.sha256(identity.encode()).digest()[:8]) >> 2
