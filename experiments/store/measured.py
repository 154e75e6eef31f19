"""The measured rows that a figure is drawn from. No TensorFlow here."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from mem_dfa.experiments.cells.cell import Cell
from mem_dfa.experiments.store.table import Row

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
    keys = {id(row): Cell.of(row).key(*FREE) for row in rows}
    # Whose images look like those that the model is made for.
    usual = {(name, entry.dataset) for name, entry in registry.MODELS.items()}
    usual |= {(row["model"], "synthetic") for row in rows}
    found = [r for r in rows if keys[id(r)] in asked and (r["model"], r["dataset"]) in usual]
    left_out: list[str] = []
    for column, name in (("tensorflow", "TensorFlow"), ("device", "device")):
        # A process that died could not tell its version.
        told = [row[column] for row in found if row[column]]
        taken = told[-1:] if column == "device" else sorted(told, key=_version)[-1:]
        others = ", ".join(sorted({*told} - {*taken}))
        if others:
            left_out.append(f"{name} {taken[0]} alone; rows of {others} are left out")
            found = [row for row in found if row[column] in (*taken, None)]
    enough = [row for row in found if row["status"] != "ok" or _processes(row) >= repeats]
    newest = {keys[id(row)]: row for row in sorted(enough, key=_processes)}
    known = [newest[key] for key in asked if key in newest]
    return Selection(
        rows=[row for row in known if row["status"] == "ok"],
        failed=[row for row in known if row["status"] != "ok"],
        missing=[cell for key, cell in asked.items() if key not in newest],
        left_out=left_out,
    )


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
    keys = {id(row): Cell.of(row).key() for row in rows}
    good = {keys[id(row)] for row in rows if row["status"] == "ok"}
    # A process that died could not tell its version.
    told = [row for row in rows if row["status"] == "ok" or keys[id(row)] not in good]
    newest = {(keys[id(row)], row["tensorflow"]): row for row in told}
    return sorted(newest.values(), key=lambda row: [str(row[name]).zfill(6) for name in _SORTED])


def _processes(row: Row) -> int:
    """In how many it was measured; files of earlier versions do not say."""
    return (row["repeats"] or 1) if row["status"] == "ok" else 0


def _version(text: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", text)]
