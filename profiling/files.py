"""Files written whole or not at all."""

from __future__ import annotations

import os
import stat
import tempfile
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
    path, unfinished = Path(path), None
    try:
        # /dev/stdout, whatever stands behind it, and pipes are written to, not replaced.
        if path.parent == Path("/dev") or (path.exists() and not path.is_file()):
            with path.open("ab") as file:
                file.write(content)
            return path
        target = Path(os.path.realpath(path))  # where it is a link that stays one
        mode = stat.S_IMODE(target.stat().st_mode) if target.exists() else 0o644
        target.parent.mkdir(parents=True, exist_ok=True)
        hidden = f".{target.name}."  # what a killed process leaves looks like no result
        with tempfile.NamedTemporaryFile(dir=target.parent, prefix=hidden, delete=False) as file:
            unfinished = Path(file.name)
            file.write(content)
        unfinished.chmod(mode)
        os.replace(unfinished, target)
    except BaseException as error:
        if unfinished is not None:
            unfinished.unlink(missing_ok=True)
        if not isinstance(error, OSError):
            raise
        raise TraceError(f"Cannot write {path} ({error.strerror}).") from error
    return path
