"""The measured rows that a figure is drawn from. No TensorFlow here."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass

from mem_dfa.experiments.cells.cell import Cell
from mem_dfa.experiments.store.schemas import BENCH, Row
from mem_dfa.experiments.store.table import Table

from mem_dfa import registry
from mem_dfa.data import prepared

# Memory and time of a step do not depend on what the images show, or on where they lie.
FREE = ("device", "dataset")
_TESTED = ", test"  # how the label of an accuracy on test images ends
_SORTED = ("model", "execution", "batch_size", "layers", "algorithm")


@dataclass(frozen=True)
class Selection:
    """What was measured of some cells."""

    rows: list[Row]  # of those measured, in the order of the cells
    failed: list[Row]  # of those that nobody could measure
    missing: list[Cell]  # those without a row
    left_out: list[str]  # what is of another TensorFlow or device, in words


def select(rows: Sequence[Row], cells: Sequence[Cell], repeats: int = 1) -> Selection:
    """The newest good row of each cell, all of one TensorFlow version and device.

    Where several are mixed these are the newest version, and of its devices the one used last. A
    row from fewer processes does not take the place of one from more, and one from fewer than
    ``repeats`` does not count; nor does a failure take the place of a measurement.
    """
    asked = {cell.key(*FREE): cell for cell in cells}
    found = [
        (key, row)
        for row in rows
        if (key := Cell.of(row).key(*FREE)) in asked
        # Whose images look like those that the model is made for.
        and row["dataset"] in ("synthetic", registry.MODELS[row["model"]].dataset)
    ]
    left_out: list[str] = []
    for column, name in (("tensorflow", "TensorFlow"), ("device", "device")):
        # A process that died could not tell its version.
        told = [row[column] for _, row in found if row[column]]
        taken = told[-1:] if column == "device" else sorted(told, key=_version)[-1:]
        if others := ", ".join(sorted({*told} - {*taken})):
            left_out.append(f"{name} {taken[0]} alone; rows of {others} are left out")
            found = [(key, row) for key, row in found if row[column] in (*taken, None)]
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
    """What the images are that were trained on, such as "CIFAR-10 (JPEG re-encoded)".

    Of one data set there are several copies, which need not hold the same bytes; the rows of
    trainings say which one it was.
    """
    labels = {row["accuracy_label"] or "" for row in rows if row["dataset"] == dataset}
    said = {label.removesuffix(_TESTED) for label in labels if label.endswith(_TESTED)}
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


def _version(text: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", text)]
