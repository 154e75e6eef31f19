"""The measured rows that a figure is drawn from. No TensorFlow here."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mem_dfa.experiments.cells.cell import Cell
from mem_dfa.experiments.store.table import Row

from mem_dfa import registry
from mem_dfa.data import prepared

# Memory and time of a step do not depend on what the images show, or on where they lie.
FREE = ("device", "dataset")


@dataclass(frozen=True)
class Selection:
    """What was measured of some cells."""

    rows: list[Row]
    """Those measured, in the order of the cells, each the newest good one of its cell."""
    failed: list[Row]
    """The newest of those that nobody could measure."""
    missing: list[Cell]
    """Those without a row."""
    left_out: list[str]
    """What was not taken because it is of another TensorFlow or device, in words."""


def select(rows: Sequence[Row], cells: Sequence[Cell], repeats: int = 1) -> Selection:
    """The newest good row of each cell, all of one TensorFlow version and device.

    Where several are mixed these are the newest version, and of its devices the one used last. A
    row from fewer processes does not take the place of one from more, nor does one of a failure
    that of a measurement.

    Args:
        rows: as `results.read` gives them.
        cells: those without a number of layers are of whole models.
        repeats: what was measured in fewer processes does not count.
    """
    asked = {cell.key(*FREE): cell for cell in cells}
    keys = {id(row): Cell.of(row).key(*FREE) for row in rows}
    found = [row for row in rows if keys[id(row)] in asked and _is_usual(row)]
    left_out: list[str] = []
    for column, name, rank in (
        ("tensorflow", "TensorFlow", _version),
        ("device", "device", _last_used(found)),
    ):
        # A process that died could not tell its version.
        told = {row[column] for row in found if row[column]}
        if len(told) > 1:
            taken = max(told, key=rank)
            others = ", ".join(sorted(told - {taken}))
            left_out.append(f"{name} {taken} alone; rows of {others} are left out")
            found = [row for row in found if row[column] in (taken, None)]
    newest: dict[str, Row] = {}
    for row in found:
        key = keys[id(row)]
        before = newest.get(key)
        if row["status"] == "ok":
            is_better = _processes(row) >= max(repeats, _processes(before))
        else:
            is_better = before is None or before["status"] != "ok"
        if is_better:
            newest[key] = row
    known = [newest[key] for key in asked if key in newest]
    return Selection(
        rows=[row for row in known if row["status"] == "ok"],
        failed=[row for row in known if row["status"] != "ok"],
        missing=[cell for key, cell in asked.items() if key not in newest],
        left_out=left_out,
    )


def _processes(row: Row | None) -> int:
    """In how many it was measured; files of earlier versions do not say."""
    return 0 if row is None or row["status"] != "ok" else row.get("repeats") or 1


_TESTED = ", test"  # how the label of an accuracy on test images ends


def images(rows: Sequence[Row], dataset: str) -> str:
    """What the images are that were trained on, such as "CIFAR-10 (JPEG re-encoded)".

    Of one data set there are several copies, which need not hold the same bytes; the rows of
    trainings say which one it was.
    """
    said = {
        row["accuracy_label"].removesuffix(_TESTED)
        for row in rows
        if row["dataset"] == dataset and (row.get("accuracy_label") or "").endswith(_TESTED)
    }
    return " and ".join(sorted(said)) or prepared.DATASETS[dataset].title


def newest_rows(rows: Sequence[Row]) -> list[Row]:
    """The newest row of each cell, a good one if any, in order."""
    keys = {id(row): Cell.of(row).key() for row in rows}
    good = {keys[id(row)] for row in rows if row["status"] == "ok"}
    # A process that died could not tell its version.
    told = [row for row in rows if row["status"] == "ok" or keys[id(row)] not in good]
    newest = {(keys[id(row)], row["tensorflow"]): row for row in told}
    return sorted(newest.values(), key=lambda row: [str(row[name]).zfill(6) for name in _SORTED])


_SORTED = ("model", "execution", "batch_size", "layers", "algorithm")


def _is_usual(row: Row) -> bool:
    """Whether its images look like those that the model is made for."""
    own = registry.MODELS[row["model"]].dataset if row["model"] in registry.MODELS else None
    return row["dataset"] in (own, "synthetic")


def _version(text: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", text)]


def _last_used(rows: Sequence[Row]) -> Any:
    last = {row["device"]: number for number, row in enumerate(rows)}
    return lambda device: last[device]
