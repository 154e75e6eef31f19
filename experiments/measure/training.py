"""Training a cell for some epochs and testing it after each. Imports TensorFlow.

`Cell.training_file` has what it needs to go on after an epoch. Keras's BackupAndRestore keeps no
history, and overwrites its file in place, so that a kill can leave one that cannot be read.
"""

import contextlib
import io
import json
import time
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
from mem_dfa.experiments.cells import catalogue
from mem_dfa.experiments.cells.cell import Cell, Report
from mem_dfa.experiments.measure import building
from mem_dfa.profiling import TraceError, files

from mem_dfa import Algorithm, Alignment, UnsupportedError
from mem_dfa.data import batches

Rows = list[dict[str, Any]]


def train(cell: Cell, report: Report) -> dict[str, Any]:
    """Trains and tests from the last finished epoch on: a row an epoch, and the last one's test.

    An epoch's seconds are with tracing, without tests and without what tells how updates align.
    """
    trainer = building.build_trainer(cell)
    training, test = building.splits(cell)
    rows = restore(Path(cell.training_file), trainer) if cell.training_file else []
    for _ in range(2 * len(rows)):  # Keras makes two iterators an epoch
        iter(training)  # which draws an order
    if rows:
        done = f"{len(rows)} of {cell.epochs}: test accuracy {rows[-1]['test_accuracy']:.4f}"
        report(f"goes on after epoch {done}", len(rows) / cell.epochs)
    alignment = alignment_of(cell, trainer)
    trainer.fit(
        training,
        validation_data=test,
        initial_epoch=len(rows),
        epochs=cell.epochs,
        verbose=0,
        # The clock of an epoch starts and stops with the last.
        callbacks=[*filter(None, [alignment]), Progress(cell, report, rows, alignment)],
    )
    return {
        "history": rows,
        "loss": rows[-1]["test_loss"],
        "accuracy": rows[-1]["test_accuracy"],
        "accuracy_label": f"{batches.label(cell.dataset, cell.data_dir)}, test",
    }


def alignment_of(cell: Cell, trainer: keras.Model) -> Alignment | None:
    """What measures the updates of a trainer's blocks on the batch that steps are measured on.

    None for what is no algorithm of blocks. Data of the user's own are not read once more: they may
    differ from one reading to the next.
    """
    if catalogue.is_own(cell.dataset) or not isinstance(trainer, Algorithm):
        return None
    alignment = Alignment(*building.first_batch(cell))
    try:
        alignment.set_model(trainer)
    except UnsupportedError:  # bp trains networks that have no blocks
        return None
    return alignment


class Progress(keras.callbacks.Callback):
    """Reports about a hundred times an epoch, and appends a row for each epoch to ``rows``."""

    def __init__(
        self, cell: Cell, report: Report, rows: Rows, alignment: Alignment | None = None
    ) -> None:
        """Keeps whom to tell."""
        super().__init__()
        self.cell, self.report, self.rows, self.alignment = cell, report, rows, alignment
        self._started_s = self._trained_s = 0.0

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """As in Keras."""
        self._started_s = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """As in Keras."""
        steps = self.params["steps"]
        if batch % max(1, steps // 100) == 0:
            epoch, epochs = len(self.rows), self.cell.epochs
            self.report(f"epoch {epoch + 1} of {epochs}", (epoch + batch / steps) / epochs)

    def on_test_begin(self, logs: dict[str, float] | None = None) -> None:
        """As in Keras; the epoch's training is over."""
        self._trained_s = time.perf_counter() - self._started_s

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        """As in Keras."""
        before_s = self.rows[-1]["train_time_s"] if self.rows else 0.0
        row = {"epoch": epoch + 1, "train_time_s": round(before_s + self._trained_s, 3)}
        for name in ("loss", "accuracy"):
            row |= {f"train_{name}": float(logs[name]), f"test_{name}": float(logs[f"val_{name}"])}
        if self.alignment:
            # One that goes on has measured the epoch before, which is known.
            new = range(0 if epoch == 0 else epoch + 1, epoch + 2)
            row["alignments"] = [
                one | {"angle_degrees": round(one["angle_degrees"], 3)}
                for one in self.alignment.measured
                if one["after_epoch"] in new
            ]
        self.rows.append(row)
        if self.cell.training_file:
            save(Path(self.cell.training_file), self.model, self.rows)
        text = f"epoch {epoch + 1} of {self.cell.epochs}: test accuracy {logs['val_accuracy']:.4f}"
        self.report(text, (epoch + 1) / self.cell.epochs)


def save(file: Path, trainer: keras.Model, rows: Rows) -> None:
    """Keeps every variable and the finished epochs' rows, whole or, without room, not at all."""
    content = io.BytesIO()
    with contextlib.suppress(TraceError, MemoryError):
        values = [variable.numpy() for variable in _variables(trainer)]
        np.savez(content, *values, rows=json.dumps(rows))
        files.write_whole(file, content.getvalue())


def restore(file: Path, trainer: keras.Model) -> Rows:
    """Sets every variable as it was kept, if any was, and returns the finished epochs' rows."""
    trainer.optimizer.build(trainer.trainable_variables)
    variables = _variables(trainer)
    try:
        with np.load(file, allow_pickle=False) as kept:
            rows: Rows = json.loads(str(kept["rows"]))
            values = [kept[f"arr_{number}"] for number in range(len(kept.files) - 1)]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return []
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
    return rows


def _variables(trainer: keras.Model) -> list[keras.Variable]:
    """With the states of random generators, such as Dropout's; metrics begin anew every epoch."""
    return [*trainer.variables, *trainer.optimizer.variables]
