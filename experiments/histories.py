"""What each epoch of a trained cell gave. No TensorFlow here."""

import csv
from pathlib import Path

from experiments import measured, results
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
