"""The table of measurements, which of its rows count, and tables that are written anew."""

import os
import platform
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mem_dfa.experiments.cells.cell import Cell
from mem_dfa.experiments.store.files import TABLES, write_markdown, write_whole
from mem_dfa.experiments.store.files import ResultsError as ResultsError
from mem_dfa.experiments.store.schemas import BENCH, MEASUREMENTS, Row
from mem_dfa.experiments.store.table import Table

from mem_dfa import registry
from mem_dfa.data import prepared
from mem_dfa.machine_memory import memory_limit_bytes
from mem_dfa.units import show_bytes

FILE_NAME, COLUMNS = MEASUREMENTS.name, MEASUREMENTS.columns
_CPUINFO = Path("/proc/cpuinfo")
# Memory and time of a step do not depend on what the images show, or on where they lie.
FREE = ("device", "dataset")
_SORTED = ("model", "execution", "batch_size", "layers", "algorithm")


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
    """The last good row of each cell, from so many processes, or else the last of a failure.

    So many of the oldest rows do not count if they tell of a failure.
    """
    rows = read(out)
    good = [row for row in rows if _processes(row) >= repeats]
    bad = [row for row in rows[tried_again:] if row["status"] != "ok"]
    return {identity_of(row): row for row in (*bad, *good)}


@dataclass(frozen=True)
class Selection:
    """What was measured of some cells."""

    rows: list[Row]  # of those measured, in the order of the cells
    failed: list[Row]  # of those that nobody could measure
    missing: list[Cell]  # those without a row
    left_out: list[str]  # what is of another TensorFlow or device, in words


def select(rows: Sequence[Row], cells: Sequence[Cell], repeats: int = 1) -> Selection:
    """The newest good row of each cell, all of the newest TensorFlow and the device used last.

    A row from fewer processes does not take the place of one from more, and one from fewer than
    ``repeats`` does not count; nor does a failure take the place of a measurement.
    """
    asked = {cell.key(*FREE): cell for cell in cells}
    found = [
        (key, row)
        for row in rows
        if (key := Cell.of(row).key(*FREE)) in asked
        # Whose images look like those that the model is made for.
        and prepared.stored_as(row["dataset"])
        in ("synthetic", registry.MODELS[row["model"]].dataset)
    ]
    left_out: list[str] = []
    for column, name in (("tensorflow", "TensorFlow"), ("device", "device")):
        # A process that died could not tell its version.
        told = [row[column] for _, row in found if row[column]]
        if column == "tensorflow":
            told.sort(key=lambda text: [int(number) for number in re.findall(r"\d+", text)])
        if others := ", ".join(sorted({*told} - {*told[-1:]})):
            left_out.append(f"{name} {told[-1]} alone; rows of {others} are left out")
            found = [(key, row) for key, row in found if row[column] in (told[-1], None)]
    enough = [one for one in found if one[1]["status"] != "ok" or _processes(one[1]) >= repeats]
    newest = dict(sorted(enough, key=lambda one: _processes(one[1])))
    known = [newest[key] for key in asked if key in newest]
    return Selection(
        rows=[row for row in known if row["status"] == "ok"],
        failed=[row for row in known if row["status"] != "ok"],
        missing=[cell for key, cell in asked.items() if key not in newest],
        left_out=left_out,
    )


def turns(out: str | os.PathLike[str], cells: Sequence[Cell]) -> list[Row]:
    """The newest row of each cell that took turns, in their order; without one it is left out."""
    free = ("epochs", "steps", *FREE)
    known = {Cell.of(row).key(*free): row for row in Table(out, BENCH).read()}
    return [known[cell.key(*free)] for cell in cells if cell.key(*free) in known]


def images(rows: Sequence[Row], dataset: str) -> str:
    """Which of its copies a data set is, by its trainings, such as "CIFAR-10 (JPEG re-encoded)"."""
    labels = {row["accuracy_label"] or "" for row in rows if row["dataset"] == dataset}
    said = {label.removesuffix(", test") for label in labels if label.endswith(", test")}
    return " and ".join(sorted(said)) or prepared.DATASETS[dataset].title


def newest_rows(rows: Sequence[Row]) -> list[Row]:
    """The newest row of each cell, a good one if any, in order."""
    known = [(Cell.of(row).key(), row) for row in rows]
    good = {key for key, row in known if row["status"] == "ok"}
    # A process that died could not tell its version.
    told = [(key, row) for key, row in known if row["status"] == "ok" or key not in good]
    newest = {(key, row["tensorflow"]): row for key, row in told}
    return sorted(newest.values(), key=lambda row: [str(row[name]).zfill(6) for name in _SORTED])


def _processes(row: Row) -> int:
    """In how many it was measured; files of earlier versions do not say."""
    return (row["repeats"] or 1) if row["status"] == "ok" else 0


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
    found = re.search(r"^model name\s*:\s*(.*\S)", told, re.MULTILINE)
    name, memory = found[1] if found else platform.machine(), show_bytes(memory_limit_bytes())
    python = f"Python {platform.python_version()}"
    return f"{name}, {cores} cores, {memory}, {platform.system()}, {python}"
