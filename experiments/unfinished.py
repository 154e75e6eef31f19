"""Where trainings keep how far they are, so that one that was ended goes on. No TensorFlow here."""

import dataclasses
import hashlib
import json
from pathlib import Path

from experiments import catalogue, engines
from experiments.plan import Cell


def resumable(folder: str | Path, cell: Cell) -> Cell:
    """A cell whose training, if it is ended, goes on where it was; `forget` once it is kept.

    The file's name holds all that decides the result: the cell, its data, this code and
    TensorFlow's version. What a class of the user's own has to remember is not known, so that its
    training begins anew, as does a measurement without epochs.
    """
    if not cell.epochs or ":" in cell.algorithm:
        return cell
    datasets = catalogue.datasets()
    data = datasets.find(cell.dataset, cell.data_dir), datasets.label(cell.dataset, cell.data_dir)
    bare = dataclasses.replace(cell, trace_file=None, training_file=None)
    decisive = [dataclasses.asdict(bare), *map(str, data), engines.fingerprint()]
    name = hashlib.sha256(json.dumps(decisive).encode()).hexdigest()[:16]
    return dataclasses.replace(cell, training_file=str(Path(folder, f".training_{name}")))


def forget(cell: Cell) -> None:
    """Removes how far a training was, once its end is kept, and what a killed one left of that."""
    if cell.training_file:
        file = Path(cell.training_file)
        for left in file.parent.glob(f"{file.name}*"):
            left.unlink(missing_ok=True)
