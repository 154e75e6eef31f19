"""What each epoch of a trained cell gave. No TensorFlow here."""

import csv
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
from mem_dfa.experiments.cells import names
from mem_dfa.experiments.cells.catalogue import ALGORITHM_OPTIONS
from mem_dfa.experiments.cells.cell import Cell
from mem_dfa.experiments.cli import screen
from mem_dfa.experiments.store import files, measured, results

Epochs = list[dict[str, float]]
_DIVERGED = 10  # times the loss of guessing


def write(folder: str | Path, row: Mapping, epochs: Sequence[Mapping]) -> None:
    """Keeps what each epoch of the cell in ``row`` gave, in the place of an earlier training.

    A longer one stays, since hours went into it and its first epochs are usually these, and the
    user is told.

    Raises:
        results.ResultsError: the file cannot be written, or what is there is no history.
    """
    path = file_of(folder, row)
    with files.locked(Path(folder, "histories")):
        there = len(_read_file(path)) if path.exists() else 0
        if there > len(epochs):
            screen.note(
                f"{path} has {there} epochs and stays; move it away to keep one of {len(epochs)}"
            )
            return
        for left in path.parent.glob(f".{path.name}.*"):
            left.unlink(missing_ok=True)  # of a run that was killed as it wrote
        files.replace(path, pd.DataFrame(epochs).to_csv(index=False))


def file_of(folder: str | Path, row: Mapping) -> Path:
    """Where the epochs of the cell in ``row``, which has a number of layers, are kept."""
    columns = ("algorithm", "model", "layers", "dataset", "batch_size", "execution", "optimizer")
    columns += ("learning_rate", "seed")
    own = {option: row[option] for option in ALGORITHM_OPTIONS if row[option] is not None}
    own |= {k: v for k, v in names.unusual(row).items() if k not in columns}
    said = [*(str(row[column]) for column in columns), *(f"{k}_{v}" for k, v in own.items())]
    name = re.sub(r"[: ]", "_", "_".join(said))
    return Path(folder, f"history_{name}.csv")


def read(folder: str | Path, cell: Cell) -> Epochs:
    """What each epoch of a cell gave; nothing where it was not trained for so long.

    Raises:
        results.ResultsError: the file is no history, or damaged.
    """
    for values in _of_devices(cell):
        path = file_of(folder, values)
        epochs = _read_file(path) if path.exists() else []
        if len(epochs) >= cell.epochs:
            return epochs[: cell.epochs]
    return []


def _of_devices(cell: Cell) -> list[dict]:
    """What a row of the cell says, on each device that it may be of."""
    known = measured.with_depth(vars(cell))
    return [{**known, "device": device} for device in names.places(cell.device)]


def diverged(folder: str | Path, cell: Cell) -> bool:
    """Whether a training with a cell's settings, of any seed and length, diverged.

    That is a training loss that is no number, or ten times that of guessing, the logarithm of the
    number of classes.

    Raises:
        results.ResultsError: a file is no history, or damaged.
    """
    own = [file_of(folder, {**values, "seed": "SEED"}) for values in _of_devices(cell)]
    any_seed = "|".join(re.escape(path.name).replace("SEED", r"\d+") for path in own)
    most = _DIVERGED * math.log(cell.classes)
    for path in Path(folder).glob("history_*.csv"):
        if not re.fullmatch(any_seed, path.name):
            continue
        # NaN is an empty field, and smaller than nothing.
        if not all(epoch.get("train_loss", math.nan) < most for epoch in _read_file(path)):
            return True
    return False


def _read_file(path: Path) -> Epochs:
    files.check_is_file(path)
    try:
        with path.open(newline="", encoding="utf-8") as file:
            epochs = [
                {name: float(text) for name, text in row.items() if text}
                for row in csv.DictReader(file, strict=True)
            ]
        whole = [epoch["epoch"] for epoch in epochs] == list(range(1, len(epochs) + 1))
        if not whole or not all("test_accuracy" in epoch for epoch in epochs):
            raise ValueError("an epoch or its test_accuracy is missing")
        for name in ("train_accuracy", "test_accuracy"):
            if not all(0 <= epoch.get(name, 0) <= 1 for epoch in epochs):
                raise ValueError(f"a {name} is not between 0 and 1")
    except (OSError, ValueError, TypeError, KeyError, AttributeError, csv.Error) as error:
        raise results.ResultsError(
            f"{path} is no history of training ({error}); move it away and train again"
        ) from error
    return epochs
