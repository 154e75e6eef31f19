"""Training a cell for some epochs and testing it after each. Imports TensorFlow."""

import time
from typing import Any

import keras

from experiments import building
from experiments.measuring import Report
from experiments.plan import Cell
from mem_dfa import data


class Progress(keras.callbacks.Callback):
    """Reports about a hundred times an epoch, and the test accuracy after each.

    Attributes:
        train_time_s: of all epochs up to the end of each, without the tests after them.
    """

    def __init__(self, report: Report, epochs: int) -> None:
        """Keeps whom to tell."""
        super().__init__()
        self.report = report
        self.epochs = epochs
        self.epoch = 0
        self.train_time_s: list[float] = []
        self._started_s = 0.0

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """As in Keras."""
        self.epoch = epoch
        self._started_s = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """As in Keras."""
        steps = self.params["steps"]
        if batch % max(1, steps // 100) == 0:
            part = (self.epoch + batch / steps) / self.epochs
            self.report(f"epoch {self.epoch + 1} of {self.epochs}", part)

    def on_test_begin(self, logs: dict[str, float] | None = None) -> None:
        """As in Keras; the epoch's training is over."""
        before_s = self.train_time_s[-1] if self.train_time_s else 0.0
        self.train_time_s.append(before_s + time.perf_counter() - self._started_s)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """As in Keras."""
        text = f"epoch {epoch + 1} of {self.epochs}: test accuracy {logs['val_accuracy']:.4f}"
        self.report(text, (epoch + 1) / self.epochs)


def train(cell: Cell, report: Report) -> dict[str, Any]:
    """Trains on the training split and tests on the test split.

    Returns:
        history: one row per epoch, with the loss and accuracy on both splits, and the seconds
            of training until its end, with tracing and without tests.
        loss, accuracy, accuracy_label: of the test split after the last epoch.
    """
    trainer = building.build_trainer(cell)
    training, test = building.splits(cell)
    progress = Progress(report, cell.epochs)
    history = trainer.fit(
        training,
        validation_data=test,
        epochs=cell.epochs,
        verbose=0,
        callbacks=[progress],
    ).history
    rows = [
        {
            "epoch": number + 1,
            "train_time_s": round(progress.train_time_s[number], 3),
            "train_loss": history["loss"][number],
            "train_accuracy": history["accuracy"][number],
            "test_loss": history["val_loss"][number],
            "test_accuracy": history["val_accuracy"][number],
        }
        for number in range(cell.epochs)
    ]
    return {
        "history": rows,
        "loss": rows[-1]["test_loss"],
        "accuracy": rows[-1]["test_accuracy"],
        "accuracy_label": f"{data.label(cell.dataset, cell.data_dir)}, test",
    }
