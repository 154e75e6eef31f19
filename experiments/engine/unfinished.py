"""Where trainings keep how far they are, so that one that was ended goes on. No TensorFlow here."""

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from mem_dfa.experiments.cells.cell import Cell
from mem_dfa.experiments.engine import engines
from mem_dfa.experiments.store import results, stopping, trainings

from mem_dfa.data import prepared


def resumable(folder: str | Path, cell: Cell) -> Cell:
    """A cell whose training, if it is ended, goes on where it was, until `keep` has its end.

    The file's name holds all that decides the result: the cell, its data, this code and
    TensorFlow's version. What a class of the user's own has to remember is not known, so that its
    training begins anew, as does a measurement without epochs.
    """
    if not cell.epochs or ":" in cell.algorithm:
        return cell
    found = prepared.find(cell.dataset, cell.data_dir)
    data = found and found.resolve(), prepared.label(cell.dataset, cell.data_dir)
    decisive = [cell.key(), *map(str, data), engines.fingerprint()]
    name = hashlib.sha256("\n".join(decisive).encode()).hexdigest()[:16]
    return dataclasses.replace(cell, training_file=str(Path(folder, f".training_{name}")))


def keep(
    folder: str | Path, cell: Cell, row: Mapping[str, object], epochs: Sequence[Mapping[str, float]]
) -> Path:
    """Appends the row of a cell that ended, its history before it, and then forgets how far it was.

    In this order a training is never without both its end and how far it was, whenever it is
    killed and whatever cannot be written.

    Returns:
        The table that the row is in.

    Raises:
        results.ResultsError: one of them cannot be written.
    """
    with stopping.undisturbed():
        try:
            if epochs:
                trainings.append(folder, row, epochs)
        finally:
            path = results.append(folder, [row])
        if epochs:
            forget(cell)
    return path


def forget(cell: Cell) -> None:
    """Removes how far a training was, and what one that was killed as it wrote left of that."""
    if cell.training_file:
        file = Path(cell.training_file)
        for left in file.parent.glob(f"{file.name}*"):
            left.unlink(missing_ok=True)
