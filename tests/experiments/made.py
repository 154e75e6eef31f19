"""Results made by hand, in the files that commands leave."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mem_dfa.experiments.cells.cell import Cell, on_devices
from mem_dfa.experiments.store import results, schemas, trainings
from mem_dfa.experiments.store.table import Table

MIB = 2**20


def row(algorithm: str, layers: int = 1, **changes: Any) -> dict[str, Any]:
    """A row of conv20, batch 128, whose step takes 8 MiB a layer, of which it asked for 7."""
    values = {
        **dict.fromkeys(results.COLUMNS),
        "algorithm": algorithm,
        "model": "conv20",
        "layers": layers,
        "batch_size": 128,
        "execution": "graph",
        "device": "CPU:0",
        "status": "ok",
        "peak_bytes": (8 * layers + 2) * MIB,
        "resident_bytes": 2 * MIB,
        "step_bytes": 8 * layers * MIB,
        "step_requested_bytes": 7 * layers * MIB,
        "step_time_s": 0.01 * layers,
        "dataset": "synthetic",
        "optimizer": "sgd",
        "learning_rate": 0.01,
        "classes": 10,
        "seed": 0,
        "steps": 5,
        "epochs": 0,
        "repeats": 3,
        "tensorflow": "2.21.0",
        "keras": "3.15.1",
        "python": "3.11.7",
        "timestamp": "2026-01-01T00:00:00+00:00",
    }
    return {**values, **changes}


def turns(algorithm: str, layers: int = 20, **changes: Any) -> dict[str, Any]:
    """A row of what `experiments.bench` found of a cell of conv20."""
    values = row(algorithm, layers) | dict.fromkeys(schemas.TIMES, 1.0) | {"rounds": 15}
    return {name: (values | changes).get(name) for name in schemas.BENCH.columns}


def history(folder: Path, cell: Cell, accuracies: Sequence[float]) -> None:
    """What is kept of a training with the test accuracy after each epoch."""
    epochs = [
        {"epoch": number, "test_accuracy": accuracy}
        for number, accuracy in enumerate(accuracies, start=1)
    ]
    trained(folder, cell, epochs)


def trained(folder: Path, cell: Cell, epochs: Sequence[dict[str, Any]]) -> None:
    """The epochs of a cell's training, on the first device that it may be of."""
    said = on_devices(cell)[0].row()
    Table(folder, trainings.EPOCHS).append([{**said, **epoch} for epoch in epochs])


def table(path: Path, *rows: dict[str, Any]) -> None:
    """A CSV of those rows."""
    path.parent.mkdir(exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
