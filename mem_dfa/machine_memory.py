"""How much memory this process may take, which a control group makes less than the machine's."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

CONTROL_GROUPS = Path("/sys/fs/cgroup")
OWN_GROUPS = Path("/proc/self/cgroup")


def machine_bytes() -> int:
    """The machine's memory; on Windows, which does not tell it this way, no limit."""
    if not hasattr(os, "sysconf"):
        return sys.maxsize
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def memory_limit_bytes() -> int:
    """The machine's memory, or what the control groups of this process allow where that is less."""
    return min([machine_bytes(), *(limit for limit, _ in _groups())])


def memory_available_bytes() -> int:
    """What may still be taken: what the machine has free, or the fullest of those groups.

    Pages of files that nobody used lately count as free, as they do for the machine.
    """
    # Which comes with the experiments, the only ones to ask.
    import psutil

    free = (limit - used for limit, used in _groups())
    return max(0, min([psutil.virtual_memory().available, *free]))


def _groups() -> Iterator[tuple[int, int]]:
    """Limit and use, in bytes, of this process's control groups and of those that hold them.

    In a container the path may be told as it is outside; what is there then is the group that is
    mounted at the root, which the walk upward ends at.
    """
    try:
        lines = OWN_GROUPS.read_text().splitlines()
    except OSError:  # no Linux
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            root, names = CONTROL_GROUPS, ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            root = CONTROL_GROUPS / "memory"
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        else:
            continue
        own = root / path.strip("/")
        for folder in (own, *own.parents):
            if folder.is_relative_to(root):
                yield from _group(folder, *names)


def _group(folder: Path, limit: str, used: str, file_pages: str) -> Iterator[tuple[int, int]]:
    try:
        most, taken = int((folder / limit).read_text()), int((folder / used).read_text())
        statistics = dict(
            line.split() for line in (folder / "memory.stat").read_text().splitlines()
        )
        yield most, taken - int(statistics.get(file_pages, 0))
    except (OSError, ValueError):  # no such group here, or "max": it has no limit
        return
