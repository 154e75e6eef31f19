"""The table of measurements, and tables that are written anew."""

import os
import platform
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mem_dfa.experiments.cells.cell import Cell
from mem_dfa.experiments.store.files import TABLES, write_markdown, write_whole
from mem_dfa.experiments.store.files import ResultsError as ResultsError
from mem_dfa.experiments.store.schemas import MEASUREMENTS, Row
from mem_dfa.experiments.store.table import Table

from mem_dfa.machine_memory import memory_limit_bytes
from mem_dfa.units import show_bytes

FILE_NAME, COLUMNS = MEASUREMENTS.name, MEASUREMENTS.columns
_CPUINFO = Path("/proc/cpuinfo")


def check_writable(out: str | os.PathLike[str]) -> None:
    """See `Table.check_writable`."""
    Table(out, MEASUREMENTS).check_writable()


def append(out: str | os.PathLike[str], rows: Sequence[Mapping[str, object]]) -> Path:
    """See `Table.append`."""
    return Table(out, MEASUREMENTS).append(rows)


def read(out: str | os.PathLike[str]) -> list[Row]:
    """The measurements under ``out``, the newest last, whatever the clock said."""
    return Table(out, MEASUREMENTS).read()


def identity_of(row: Mapping[str, Any]) -> str:
    """What a row is about. How often it was measured does not matter, but see `settled`."""
    return f"{Cell.of(row).key()} tensorflow={row['tensorflow']}"


def settled(out: str, repeats: int, tried_again: int = 0) -> dict[str, Row]:
    """Of each cell that need not be measured its last good row, or else the last of a failure.

    A good one is of so many processes, and so many of the oldest failures do not count.
    """
    rows = read(out)
    good = [row for row in rows if row["status"] == "ok" and (row["repeats"] or 0) >= repeats]
    bad = [row for row in rows[tried_again:] if row["status"] != "ok"]
    return {identity_of(row): row for row in (*bad, *good)}


def write_table(
    out: str, name: str, rows: Sequence[Mapping[str, object]], shown: Sequence[Sequence[str]]
) -> Path:
    """Writes rows that are alike as tables/name.csv, and what is shown of them as name.md."""
    import pandas as pd

    text = pd.DataFrame(rows, dtype=object).to_csv(index=False)
    write_whole(Path(out, TABLES, f"{name}.csv"), text.encode())
    return write_markdown(out, name, shown)


def machine() -> str:
    """This machine: its processor, cores that may be used, memory and system."""
    is_told = hasattr(os, "sched_getaffinity")  # not everywhere
    cores = len(os.sched_getaffinity(0)) if is_told else os.cpu_count()
    told = _CPUINFO.read_text() if _CPUINFO.exists() else ""
    name = re.search(r"^model name\s*:\s*(.*\S)", told, re.MULTILINE)
    parts = [name[1] if name else platform.machine(), f"{cores} cores"]
    parts += [show_bytes(memory_limit_bytes()), platform.system()]
    return ", ".join([*parts, f"Python {platform.python_version()}"])
