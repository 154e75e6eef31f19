"""The table of measurements, and tables that are written anew."""

import os
import platform
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from mem_dfa.experiments.store.files import TABLES, write_markdown
from mem_dfa.experiments.store.files import ResultsError as ResultsError
from mem_dfa.experiments.store.schemas import MEASUREMENTS, Row, Schema
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


def write_table(
    out: str | os.PathLike[str], name: str, rows: Sequence[Mapping], shown: Sequence[Sequence[str]]
) -> Path:
    """Writes rows that are alike as tables/name.csv, and what is shown of them as name.md."""
    schema = Schema(f"{TABLES}/{name}.csv", f"table of {name}", tuple(rows[0]))
    Table(out, schema).append(rows, anew=True)
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
