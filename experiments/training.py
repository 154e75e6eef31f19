"""Training a cell for some epochs and testing it after each. Imports TensorFlow."""

from typing import Any

import keras

from experiments import building
from experiments.measuring import Report
from experiments.plan import Cell
from mem_dfa import data


class Progress(keras.callbacks.Callback):
    """Reports about a hundred times an epoch, and the test accuracy after each."""

    def __init__(self, report: Report, epochs: int) -> None:
        """Keeps whom to tell."""
        super().__init__()
        self.report = report
        self.epochs = epochs
        self.epoch = 0

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """As in Keras."""
        self.epoch = epoch

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """As in Keras."""
        steps = self.params["steps"]
        if batch % max(1, steps // 100) == 0:
            part = (self.epoch + batch / steps) / self.epochs
            self.report(f"epoch {self.epoch + 1} of {self.epochs}", part)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """As in Keras."""
        text = f"epoch {epoch + 1} of {self.epochs}: test accuracy {logs['val_accuracy']:.4f}"
        self.report(text, (epoch + 1) / self.epochs)


def train(cell: Cell, report: Report) -> dict[str, Any]:
    """Trains on the training split and tests on the test split.

    Returns:
        history: one row per epoch, with the loss and accuracy on both splits.
        loss, accuracy, accuracy_label: of the test split after the last epoch.
    """
    trainer = building.build_trainer(cell)
    training, test = building.splits(cell)
    history = trainer.fit(
        training,
        validation_data=test,
        epochs=cell.epochs,
        verbose=0,
        callbacks=[Progress(report, cell.epochs)],
    ).history
    rows = [
        {
            "epoch": number + 1,
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
