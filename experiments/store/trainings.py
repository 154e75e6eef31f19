"""What each epoch of a trained cell gave, and how far trainings are. No TensorFlow here."""

import contextlib
import dataclasses
import functools
import hashlib
import importlib.metadata
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from mem_dfa.experiments.cells.cell import Cell, on_devices, stem
from mem_dfa.experiments.store import files, results
from mem_dfa.experiments.store.files import ResultsError
from mem_dfa.experiments.store.schemas import ALIGNMENTS, EPOCHS, Row
from mem_dfa.experiments.store.table import Table

from mem_dfa.data import prepared

Epochs = list[Row]
PACKAGES = ("mem_dfa", "mem_dfa.experiments", "mem_dfa.profiling")
_DIVERGED = 10  # times the loss of guessing
_FREE = ("steps", "epochs")  # what decides nothing of an epoch


def read(folder: str | os.PathLike[str], cell: Cell) -> Epochs:
    """What each epoch of a cell gave; nothing where it was not trained for so long.

    Of several trainings the longest counts, since hours went into it, and the newest of those.
    """
    trainings = _trainings(folder)
    found = [trainings.get(one.key(*_FREE), []) for one in on_devices(cell)]
    return next((one[: cell.epochs] for one in found if len(one) >= cell.epochs), [])


def read_alignments(folder: str | os.PathLike[str], cells: Sequence[Cell]) -> dict[Cell, list[Row]]:
    """The angles of each cell's training, of those that have any; of several the newest counts."""
    newest: dict[str, list[Row]] = {}
    for row in Table(folder, ALIGNMENTS).read():
        key = Cell.of(row).key(*_FREE)
        known = newest.get(key, [])
        goes_on = known and known[-1]["after_epoch"] <= row["after_epoch"]
        newest[key] = [*known, row] if goes_on else [row]
    keys = {cell: [one.key(*_FREE) for one in on_devices(cell)] for cell in cells}
    found = {cell: next((newest[k] for k in own if k in newest), []) for cell, own in keys.items()}
    return {cell: rows for cell, rows in found.items() if rows}


def diverged(folder: str | os.PathLike[str], cell: Cell) -> bool:
    """Whether a training with a cell's settings, of any seed and length, has lost its way."""
    most = _DIVERGED * math.log(cell.classes)  # what guessing gives, so many times
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


def fingerprint() -> str:
    """What the code of these packages and the versions of TensorFlow and Keras come to."""
    digest = hashlib.sha256()
    for package in PACKAGES:
        folder = Path(importlib.import_module(package).__path__[0])
        for file in sorted(folder.rglob("*.py")):
            digest.update(file.relative_to(folder.parent).as_posix().encode())
            digest.update(file.read_bytes())
    for name in ("tensorflow", "keras"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):  # named otherwise there
            digest.update(importlib.metadata.version(name).encode())
    return digest.hexdigest()


def resumable(folder: str | os.PathLike[str], cell: Cell) -> Cell:
    """A cell whose training, if it is ended, goes on where it was, until `keep` has its end.

    The file's name holds all that decides the result. What a class of the user's own has to
    remember is not known, so that its training begins anew, as does a measurement without epochs.
    """
    if not cell.epochs or ":" in f"{cell.algorithm}{cell.model}{cell.dataset}":
        return cell
    data = prepared.find(cell.dataset, cell.data_dir)
    name = f".{stem('training', f'{cell.key()} {data and data.resolve()} {fingerprint()}')}"
    return dataclasses.replace(cell, training_file=str(Path(folder, name)))


def keep(
    folder: str | os.PathLike[str], cell: Cell, row: Mapping[str, object], epochs: Sequence[Mapping]
) -> Path:
    """Appends a cell's history, then its row, then forgets how far it was; returns the row's table.

    So a training is never without both its end and how far it was, whenever it is killed.
    """
    with files.undisturbed():
        try:
            angles = [angle for epoch in epochs for angle in epoch.get("alignments", ())]
            if angles:
                Table(folder, ALIGNMENTS).append([{**row, **angle} for angle in angles])
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
