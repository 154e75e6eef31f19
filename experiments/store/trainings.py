"""What each epoch of a trained cell gave. No TensorFlow here."""

import functools
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from mem_dfa.experiments.cells.cell import Cell, on_devices
from mem_dfa.experiments.store.files import ResultsError
from mem_dfa.experiments.store.results import CELL_KINDS
from mem_dfa.experiments.store.table import Row, Schema, Table

Epochs = list[Row]
_DIVERGED = 10  # times the loss of guessing
# How long was asked for decides nothing of an epoch, and neither does how memory was measured.
_FREE = ("steps", "epochs")
_SAID = {name: kind for name, kind in CELL_KINDS.items() if name not in _FREE}
EPOCHS = Schema(
    "tables/epochs.csv",
    "table of epochs",
    {
        **_SAID,
        "epoch": "count",
        **{"train_time_s": "number", "train_loss": "any", "train_accuracy": "share"},
        **{"test_loss": "any", "test_accuracy": "share", "timestamp": "name"},
    },
    always=("algorithm", "model", "layers", "epoch", "test_accuracy"),
)


def append(folder: str | os.PathLike[str], row: Mapping, epochs: Sequence[Mapping]) -> None:
    """Keeps what each epoch of a training gave; all of one training are appended together.

    Args:
        folder: of the table.
        row: of the cell's measurement.
        epochs: in order.

    Raises:
        ResultsError: the table cannot be written.
    """
    said = {name: row[name] for name in (*_SAID, "timestamp")}
    Table(folder, EPOCHS).append([{**said, **epoch} for epoch in epochs])


def read(folder: str | os.PathLike[str], cell: Cell) -> Epochs:
    """What each epoch of a cell gave; nothing where it was not trained for so long.

    Of several trainings the longest counts, since hours went into it and its first epochs are
    usually those of the others; of equally long ones the newest.

    Raises:
        ResultsError: what is there is no such table, or damaged.
    """
    trainings = _trainings(folder)
    for one in on_devices(cell):
        found = trainings.get(one.key(*_FREE), [])
        if len(found) >= cell.epochs:
            return found[: cell.epochs]
    return []


def diverged(folder: str | os.PathLike[str], cell: Cell) -> bool:
    """Whether a training with a cell's settings, of any seed and length, diverged.

    That is a training loss that is no number, or ten times that of guessing, the logarithm of the
    number of classes.

    Raises:
        ResultsError: what is there is no such table, or damaged.
    """
    most = _DIVERGED * math.log(cell.classes)
    keys = {one.key(*_FREE, "seed") for one in on_devices(cell)}
    return any(
        (epoch["train_loss"] is None or not epoch["train_loss"] < most)
        for training in _trainings(folder).values()
        for epoch in training
        if Cell.of(epoch).key(*_FREE, "seed") in keys
    )


def _trainings(folder: str | os.PathLike[str]) -> Mapping[str, Epochs]:
    """The epochs of each cell's training that counts, by its key."""
    table = Table(folder, EPOCHS)
    status = table.path.stat() if table.path.is_file() else None
    return _read(Path(folder), status and (status.st_ino, status.st_size, status.st_mtime_ns))


@functools.lru_cache(maxsize=4)
def _read(folder: Path, state: object) -> Mapping[str, Epochs]:
    """A figure asks for every cell of it; ``state`` tells whether the table is another by now."""
    longest: dict[str, Epochs] = {}
    current: dict[str, Epochs] = {}
    for row in Table(folder, EPOCHS).read():
        key, epoch = Cell.of(row).key(*_FREE), row["epoch"]
        before = current.get(key, []) if epoch > 1 else []
        if epoch != len(before) + 1:
            raise ResultsError(f"{EPOCHS.name} in {folder} is damaged: one before {epoch} is gone")
        current[key] = [*before, row]
        if len(current[key]) >= len(longest.get(key, [])):
            longest[key] = current[key]
    return longest
