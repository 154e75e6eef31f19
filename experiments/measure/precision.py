"""How far gradients in float32 are from backpropagation's in float64. Imports TensorFlow."""

import dataclasses
from typing import Any

import keras
import numpy as np
from mem_dfa.experiments.cells.cell import Cell
from mem_dfa.experiments.measure import building
from mem_dfa.experiments.measure.measuring import Report, step

Arrays = list[np.ndarray]


def distances(cells: list[Cell], report: Report) -> dict[str, Any]:
    """One step of each cell in float32, and of the first one in float64 from the same weights.

    Returns:
        distances: ‖g − g64‖ / ‖g64‖ over all weights, one number a cell.
    """
    batch = building.first_batch(cells[0])
    weights: Arrays | None = None
    found = []
    for number, cell in enumerate(cells):
        report(cell.title, number / (len(cells) + 1))
        weights, gradients = _gradients(cell, "float32", batch, weights)
        found.append(gradients)
    report("float64", len(cells) / (len(cells) + 1))
    _, exact = _gradients(cells[0], "float64", batch, weights)
    return {"distances": [_distance(gradients, exact) for gradients in found]}


def _gradients(
    cell: Cell, dtype: str, batch: tuple[np.ndarray, np.ndarray], weights: Arrays | None
) -> tuple[Arrays, Arrays]:
    """The weights that the step started from, and the gradients it applied."""
    keras.config.set_floatx(dtype)
    keras.config.set_dtype_policy(dtype)
    # The first momentum, m = −η·g with η = 1, is the gradient to the bit.
    trainer = building.build_trainer(
        dataclasses.replace(cell, optimizer="momentum", learning_rate=1.0)
    )
    if weights is not None:
        trainer.network.set_weights(weights)
    started_from = trainer.network.get_weights()
    images, labels = batch
    step(trainer, building.held((images.astype(dtype), labels)))
    # Before the momenta stand the number of iterations and the learning rate.
    gradients = [-momentum.numpy() for momentum in trainer.optimizer.variables[2:]]
    keras.backend.clear_session(free_memory=True)
    return started_from, gradients


def _distance(gradients: Arrays, exact: Arrays) -> float:
    squares = [float(np.sum((g - e) ** 2)) for g, e in zip(gradients, exact, strict=True)]
    return float(np.sqrt(sum(squares) / sum(float(np.sum(e**2)) for e in exact)))
