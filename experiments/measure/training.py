"""Training a cell for some epochs and testing it after each. Imports TensorFlow."""

import time
from pathlib import Path
from typing import Any

import keras
from mem_dfa.experiments.cells.cell import Cell
from mem_dfa.experiments.measure import building, training_state
from mem_dfa.experiments.measure.measuring import Report

from mem_dfa.data import batches

ITERATORS_OF_AN_EPOCH = 2  # Keras makes another at each epoch's end


class Progress(keras.callbacks.Callback):
    """Reports about a hundred times an epoch, and keeps what each epoch gave.

    Attributes:
        rows: of the finished epochs, also those before this process began.
    """

    def __init__(self, cell: Cell, report: Report, rows: list[dict[str, Any]]) -> None:
        """Keeps whom to tell."""
        super().__init__()
        self.cell = cell
        self.report = report
        self.rows = rows
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

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """As in Keras."""
        before_s = self.rows[-1]["train_time_s"] if self.rows else 0.0
        self.rows.append(
            {
                "epoch": epoch + 1,
                "train_time_s": round(before_s + self._trained_s, 3),
                "train_loss": float(logs["loss"]),
                "train_accuracy": float(logs["accuracy"]),
                "test_loss": float(logs["val_loss"]),
                "test_accuracy": float(logs["val_accuracy"]),
            }
        )
        if self.cell.training_file:
            training_state.save(Path(self.cell.training_file), self.model, self.rows)
        text = f"epoch {epoch + 1} of {self.cell.epochs}: test accuracy {logs['val_accuracy']:.4f}"
        self.report(text, (epoch + 1) / self.cell.epochs)


def train(cell: Cell, report: Report) -> dict[str, Any]:
    """Trains on the training split and tests on the test split.

    A training that was ended goes on after its last finished epoch, see `Cell.training_file`.

    Returns:
        history: one row per epoch, with the loss and accuracy on both splits, and the seconds
            of training until its end, with tracing and without tests.
        loss, accuracy, accuracy_label: of the test split after the last epoch.
    """
    trainer = building.build_trainer(cell)
    training, test = building.splits(cell)
    rows = training_state.restore(Path(cell.training_file), trainer) if cell.training_file else []
    for _ in range(ITERATORS_OF_AN_EPOCH * len(rows)):
        iter(training)  # an epoch's order is drawn where its iterator is made
    progress = Progress(cell, report, rows)
    if rows:
        done = f"{len(rows)} of {cell.epochs}: test accuracy {rows[-1]['test_accuracy']:.4f}"
        report(f"goes on after epoch {done}", len(rows) / cell.epochs)
    if len(rows) < cell.epochs:
        trainer.fit(
            training,
            validation_data=test,
            initial_epoch=len(rows),
            epochs=cell.epochs,
            verbose=0,
            callbacks=[progress],
        )
    return {
        "history": rows,
        "loss": rows[-1]["test_loss"],
        "accuracy": rows[-1]["test_accuracy"],
        "accuracy_label": f"{batches.label(cell.dataset, cell.data_dir)}, test",
    }
