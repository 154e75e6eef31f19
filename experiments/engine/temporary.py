"""Folders for what a run needs for a moment; what a killed run left of them is removed."""

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

PREFIX = "mem_dfa_experiments_"


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    """A new folder, which is gone after the block; those that killed runs left go now.

    The system gives the lock on a folder back when its process ends, in whatever way. So a folder
    that is not locked is nobody's.

    Raises:
        OSError: there is no room for it.
    """
    _clear()
    with contextlib.ExitStack() as stack:
        while True:
            path = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=PREFIX)))
            with contextlib.suppress(FileNotFoundError):  # another run cleared it before its lock
                lock = os.open(path, os.O_RDONLY)
                stack.callback(os.close, lock)
                fcntl.flock(lock, fcntl.LOCK_EX)
                if path.exists():
                    break
        yield path


def _clear() -> None:
    for path in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):  # another user's, or in use
            lock = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(lock)
