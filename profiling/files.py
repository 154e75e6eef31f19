"""Files written whole or not at all."""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path

from mem_dfa.profiling.errors import TraceError


def write_whole(path: str | Path, content: bytes) -> Path:
    """Write a file; whoever reads it meanwhile finds what was there before, or all of it.

    Args:
        path: of the file; its folder is made if missing.
        content: of the file.

    Returns:
        The path.

    Raises:
        TraceError: the file cannot be written; nothing is left behind.
    """
    path = Path(path)
    try:
        # /dev/stdout, whatever stands behind it, and pipes are written to, not replaced.
        if path.parent == Path("/dev") or (path.exists() and not path.is_file()):
            with path.open("ab") as file:
                file.write(content)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            replace(path, content)
    except OSError as error:
        raise TraceError(f"Cannot write {path} ({error.strerror}).") from error
    return path


def replace(path: Path, content: bytes) -> None:
    """Put ``content`` in the place of a file, whole or not at all; nothing else is left behind.

    A link stays one, and a file that was there keeps its permissions.
    """
    path = Path(os.path.realpath(path))
    # What a killed process leaves looks like no result.
    unfinished = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with unfinished.open("xb") as file:
            if path.exists():
                os.fchmod(file.fileno(), stat.S_IMODE(path.stat().st_mode))
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)
