"""What each epoch of a trained cell gave, and how far trainings are. No TensorFlow here."""

import dataclasses
import functools
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from mem_dfa.experiments.cells.cell import COLUMNS, Cell, on_devices, stem
from mem_dfa.experiments.cells.code import fingerprint
from mem_dfa.experiments.store import results, stopping
from mem_dfa.experiments.store.files import ResultsError
from mem_dfa.experiments.store.table import Row, Schema, Table, words

from mem_dfa.data import prepared

Epochs = list[Row]
_DIVERGED = 10  # times the loss of guessing
# How long was asked for decides nothing of an epoch, and neither does how memory was measured.
_FREE = ("steps", "epochs")
EPOCHS = Schema(
    "tables/epochs.csv",
    "table of epochs",
    (
        *(name for name in COLUMNS if name not in _FREE),
        *words("epoch train_time_s train_loss train_accuracy test_loss test_accuracy timestamp"),
    ),
    words("algorithm model layers epoch test_accuracy"),
)


def read(folder: str | os.PathLike[str], cell: Cell) -> Epochs:
    """What each epoch of a cell gave; nothing where it was not trained for so long.

    Of several trainings the longest counts, since hours went into it and its first epochs are
    usually those of the others; of equally long ones the newest.
    """
    trainings = _trainings(folder)
    found = [trainings.get(one.key(*_FREE), []) for one in on_devices(cell)]
    return next((one[: cell.epochs] for one in found if len(one) >= cell.epochs), [])


def diverged(folder: str | os.PathLike[str], cell: Cell) -> bool:
    """Whether a training with a cell's settings, of any seed and length, diverged.

    That is a training loss that is no number, or ten times that of guessing, the logarithm of the
    number of classes.
    """
    most = _DIVERGED * math.log(cell.classes)
    keys = {one.key(*_FREE, "seed") for one in on_devices(cell)}
    return any(
        epoch["train_loss"] is None or epoch["train_loss"] >= most
        for training in _trainings(folder).values()
        if Cell.of(training[0]).key(*_FREE, "seed") in keys
        for epoch in training
    )


def _trainings(folder: str | os.PathLike[str]) -> Mapping[str, Epochs]:
    """The epochs of each cell's training that counts, by its key."""
    table = Table(folder, EPOCHS)
    status = table.path.stat() if table.path.exists() else None
    return _longest(table, status and (status.st_ino, status.st_size, status.st_mtime_ns))


@functools.lru_cache(maxsize=4)
def _longest(table: Table, state: object) -> Mapping[str, Epochs]:
    """A figure asks for every cell of it; ``state`` tells whether the table is another by now."""
    longest: dict[str, Epochs] = {}
    current: dict[str, Epochs] = {}
    for row in table.read():
        key, epoch = Cell.of(row).key(*_FREE), row["epoch"]
        training = current[key] = [*(current.get(key, []) if epoch > 1 else []), row]
        if epoch != len(training):
            raise ResultsError(f"{table.path} is damaged: one before epoch {epoch} is gone")
        if epoch >= len(longest.get(key, [])):
            longest[key] = training
    return longest


def resumable(folder: str | os.PathLike[str], cell: Cell) -> Cell:
    """A cell whose training, if it is ended, goes on where it was, until `keep` has its end.

    The file's name holds all that decides the result: the cell, its data, this code and the
    versions of TensorFlow and Keras. What a class of the user's own has to remember is
    not known, so that its training begins anew, as does a measurement without epochs.
    """
    if not cell.epochs or ":" in cell.algorithm:
        return cell
    data = prepared.find(cell.dataset, cell.data_dir)
    name = f".{stem('training', f'{cell.key()} {data and data.resolve()} {fingerprint()}')}"
    return dataclasses.replace(cell, training_file=str(Path(folder, name)))


def keep(
    folder: str | os.PathLike[str], cell: Cell, row: Mapping[str, object], epochs: Sequence[Mapping]
) -> Path:
    """Appends the row of a cell that ended, its history before it, and then forgets how far it was.

    In this order a training is never without both its end and how far it was, whenever it is
    killed and whatever cannot be written. Returns the table that the row is in.
    """
    with stopping.undisturbed():
        try:
            if epochs:
                Table(folder, EPOCHS).append([{**row, **epoch} for epoch in epochs])
        finally:
            path = results.append(folder, [row])
        if epochs:
            forget(cell)
    return path


def forget(cell: Cell) -> None:
    """Removes how far a training was, and what one that was killed as it wrote left of that."""
    if cell.training_file:
        file = Path(cell.training_file)
        for left in file.parent.glob(f"*{file.name}*"):
            left.unlink(missing_ok=True)
