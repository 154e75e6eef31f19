"""What each epoch of a trained cell gave, and on which images. No TensorFlow here."""

import csv
from pathlib import Path

from experiments import measured, results
from experiments.catalogue import datasets
from experiments.plan import Cell

Epochs = list[dict[str, float]]


def read(folder: str | Path, cell: Cell) -> Epochs:
    """What each epoch of a cell gave; nothing where it was not trained for so long.

    Raises:
        results.ResultsError: the file is no history, or damaged.
    """
    path = results.history_file(folder, measured.with_depth(vars(cell)))
    if not path.exists():
        return []
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
    return epochs[: cell.epochs] if len(epochs) >= cell.epochs else []


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
