"""The step of one wide dense layer alone: what its update takes. Imports TensorFlow."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from mem_dfa.experiments.cells.cell import WARM_UP_STEPS, Cell
from mem_dfa.experiments.measure import building, measuring

import mem_dfa
from mem_dfa import profiling

UNITS, CLASSES, BATCH_SIZE = 4096, 10, 8


def measure(cell: Cell, report: Callable[[str, float], None]) -> dict[str, Any]:
    """Step bytes of MEM-DFA on one dense layer of 4096 x 4096 weights and a classifier.

    The batch is so small that the update is what sets the peak; the rest of the step is counted
    with it, so the update alone takes no more.
    """
    measuring.make_one_region()
    allocator = profiling.Allocator(cell.device)
    layers = [keras.Input((UNITS,)), keras.layers.Dense(UNITS), keras.layers.Dense(CLASSES)]
    trainer = mem_dfa.MemDFA(keras.Sequential(layers), seed=cell.seed, **dict(cell.options))
    building.compile_trainer(trainer, cell)
    images = np.random.default_rng(cell.seed).standard_normal((BATCH_SIZE, UNITS), np.float32)
    batch = building.held((images, np.arange(BATCH_SIZE, dtype=np.int32) % CLASSES))
    for number in range(WARM_UP_STEPS):
        report(f"step {number + 1} of {WARM_UP_STEPS + 1}", number / (WARM_UP_STEPS + 1))
        measuring.step(trainer, batch)
    resident_bytes = allocator.current_bytes()
    allocator.reset_peak()
    measuring.step(trainer, batch)
    return {"step_bytes": allocator.peak_bytes() - resident_bytes}
