"""Files written whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from profiling.xplane import TraceError


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
    unfinished = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        hidden = f".{path.name}."  # what a killed process leaves looks like no result
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=hidden, delete=False) as file:
            unfinished = Path(file.name)
            file.write(content)
        unfinished.chmod(0o644)
        os.replace(unfinished, path)
    except OSError as error:
        if unfinished is not None:
            unfinished.unlink(missing_ok=True)
        raise TraceError(f"Cannot write {path} ({error.strerror}).") from error
    return path
