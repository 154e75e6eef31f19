"""The measured rows that a figure is drawn from. No TensorFlow here."""

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mem_dfa.experiments.cells.catalogue import ALGORITHM_OPTIONS
from mem_dfa.experiments.cells.cell import Cell
from mem_dfa.experiments.store import files, results, values

from mem_dfa import registry
from mem_dfa.data import prepared

Row = dict[str, Any]
_OPTIONS = tuple(ALGORITHM_OPTIONS)
_KEY = ("algorithm", "model", "layers", "batch_size", "execution", "optimizer")
_KEY += ("learning_rate", "steps", *_OPTIONS)
_WHOLE = ("layers", "batch_size", "peak_bytes", "resident_bytes", "step_bytes", "repeats")
_WHOLE += ("step_requested_bytes", "step_requested_bytes_min", "step_requested_bytes_max")
_WHOLE += ("peak_bytes_min", "peak_bytes_max", "classes", "seed")
_WHOLE += ("step_bytes_min", "step_bytes_max", "every", "slices", "epochs", "steps")
_FRACTIONS = ("step_time_s", "step_time_s_min", "step_time_s_max", "accuracy", "first_step_s")
_FRACTIONS += ("learning_rate",)
_NEEDED = (
    *(name for name in _KEY if name not in _OPTIONS),
    "dataset",
    "device",
    "status",
    "peak_bytes",
    "step_bytes",
    "step_time_s",
)
_NEEDED += ("tensorflow", "timestamp")
_ALWAYS = ("algorithm", "model", "execution", "dataset", "optimizer", "status")
_IF_MEASURED = ("layers", "batch_size", "device", "tensorflow")
_IF_MEASURED += ("peak_bytes", "step_bytes", "step_time_s")


def read(folder: str | Path) -> list[Row]:
    """The rows of measurements.csv in a folder, the newest last; none where there is no file.

    The newest is the last in the file, whatever the clock said.

    Rows of earlier versions of the format are read as well, if they have what figures need.

    Raises:
        results.ResultsError: the file is no such CSV, or damaged.
    """
    path = Path(folder, results.FILE_NAME)
    files.check_is_file(path)
    if not path.exists():
        return []
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file, strict=True)
            lacking = [name for name in _NEEDED if name not in (reader.fieldnames or ())]
            if lacking:
                raise ValueError(f"it has no column {', '.join(lacking)}")
            return [_typed(row) for row in reader]
    except (OSError, ValueError, TypeError, csv.Error) as error:
        raise results.ResultsError(
            f"{path} is no table of measurements ({error}); measure again into another folder"
        ) from error


def _typed(row: dict[str, str]) -> Row:
    typed = values.typed(row, _WHOLE, _FRACTIONS)
    values.require(typed, _ALWAYS)
    if typed["status"] == "ok":
        values.require(typed, _IF_MEASURED)
    return dict.fromkeys(results.COLUMNS) | typed


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
        rows: as `read` gives them.
        cells: those without a number of layers are of whole models.
        repeats: what was measured in fewer processes does not count.
    """
    asked = {_key(vars(cell)): cell for cell in cells}
    found = [
        row
        for row in rows
        # Training that failed does not say that a step cannot be measured.
        if _key(row) in asked
        and _is_usual(row)
        and (row["status"] == "ok" or not row.get("epochs"))
    ]
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
    newest: dict[tuple, Row] = {}
    for row in found:
        before = newest.get(_key(row))
        if row["status"] == "ok":
            is_better = _processes(row) >= max(repeats, _processes(before))
        else:
            is_better = before is None or before["status"] != "ok"
        if is_better:
            newest[_key(row)] = row
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
    """The newest row of each cell, data set and seed, a good one if any, in order."""
    more = ("dataset", "seed", "epochs", "device")

    def key_of(row: Row) -> tuple:
        return _key(row), *(row.get(name) for name in more)

    good = {key_of(row) for row in rows if row["status"] == "ok"}
    # A process that died could not tell its version.
    told = [row for row in rows if row["status"] == "ok" or key_of(row) not in good]
    newest = {(key_of(row), row["tensorflow"]): row for row in told}
    return sorted(newest.values(), key=lambda row: [str(row[name]).zfill(6) for name in _SORTED])


_SORTED = ("model", "execution", "batch_size", "layers", "algorithm")


def name_of(row: Mapping[str, Any]) -> str:
    """The algorithm and its own options, such as "checkpoint every 2"."""
    given = [f"{name} {row[name]}" for name in _OPTIONS if row[name] is not None]
    return " ".join([row["algorithm"], *given])


def with_depth(known: Mapping[str, Any]) -> Row:
    """A row or the values of a cell, with the number of layers where that is a whole model's."""
    entry = registry.MODELS.get(known["model"])
    return {**known, "layers": known["layers"] or (entry and entry.layers)}


def _key(known: Mapping[str, Any]) -> tuple:
    known = with_depth(known)
    return tuple(known[name] for name in _KEY)


def _is_usual(row: Row) -> bool:
    """Whether its images look like those that the model is made for."""
    own = registry.MODELS[row["model"]].dataset if row["model"] in registry.MODELS else None
    return row["dataset"] in (own, "synthetic") and row.get("classes") in (None, 10)


def _version(text: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", text)]


def _last_used(rows: Sequence[Row]) -> Any:
    last = {row["device"]: number for number, row in enumerate(rows)}
    return lambda device: last[device]
