"""What each epoch of a trained cell gave, and on which images. No TensorFlow here."""

import csv
import math
import re
from pathlib import Path

from experiments import measured, results
from experiments.catalogue import datasets
from experiments.plan import Cell

Epochs = list[dict[str, float]]
_DIVERGED = 10  # times the training loss of the first epoch


def read(folder: str | Path, cell: Cell) -> Epochs:
    """What each epoch of a cell gave; nothing where it was not trained for so long.

    Raises:
        results.ResultsError: the file is no history, or damaged.
    """
    path = results.history_file(folder, measured.with_depth(vars(cell)))
    epochs = _read_file(path) if path.exists() else []
    return epochs[: cell.epochs] if len(epochs) >= cell.epochs else []


def diverged(folder: str | Path, cell: Cell) -> bool:
    """Whether a training with a cell's settings, of any seed and length, diverged.

    That is a training loss that is no number, or ten times that of the first epoch.

    Raises:
        results.ResultsError: a file is no history, or damaged.
    """
    own = results.history_file(folder, {**measured.with_depth(vars(cell)), "seed": "SEED"})
    any_seed = re.escape(own.name).replace("SEED", r"\d+")
    for path in own.parent.glob("history_*.csv"):
        if not re.fullmatch(any_seed, path.name):
            continue
        losses = [epoch.get("train_loss", math.nan) for epoch in _read_file(path)]
        if not all(loss < _DIVERGED * losses[0] for loss in losses):  # NaN is not
            return True
    return False


def _read_file(path: Path) -> Epochs:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            epochs = [
                {name: float(text) for name, text in row.items() if text}
                for row in csv.DictReader(file, strict=True)
            ]
        whole = [epoch["epoch"] for epoch in epochs] == list(range(1, len(epochs) + 1))
        if not whole or not all("test_accuracy" in epoch for epoch in epochs):
            raise ValueError("an epoch or its test_accuracy is missing")
    except (OSError, ValueError, TypeError, KeyError, AttributeError, csv.Error) as error:
        raise results.ResultsError(
            f"{path} is no history of training ({error}); move it away and train again"
        ) from error
    return epochs


def images(folder: str | Path, dataset: str) -> str:
    """What the images are that were trained on, such as "CIFAR-10 (JPEG re-encoded)".

    Of one data set there are several copies, which need not hold the same bytes; which one it was
    is in the rows.

    Raises:
        results.ResultsError: the table of measurements is damaged.
    """
    said = {
        row["accuracy_label"].removesuffix(", test")
        for row in measured.read(folder)
        if row["dataset"] == dataset and row.get("epochs") and row.get("accuracy_label")
    }
    return " and ".join(sorted(said)) or datasets().DATASETS[dataset].title
