"""What a step asks for, and what it finds there, by block and category. Imports TensorFlow."""

from collections.abc import Callable
from typing import Any

import keras
import pandas as pd
import tensorflow as tf

import profiling
from experiments import measuring
from experiments.plan import Cell


def weigh(cell: Cell, report: Callable[[str, float], None]) -> dict[str, Any]:
    """Requested bytes of the cell's recorded steps: of the step that took least.

    Where TensorFlow may run two operations in either order, or both at once, steps differ; what the
    least one takes is the same in every process, given enough of them.

    Returns:
        step: {"block/category": bytes} at the peak, above what is resident.
        resident: the same of what was there before the step.
        device, tensorflow, keras: what it was measured on.

    Raises:
        profiling.MeterError: the allocator's statistics do not tell the truth.
        profiling.TraceError: a step's events are not complete.
    """
    allocator, trainer, batch, _ = measuring.warmed_up(cell, report)
    steps, residents = [], []
    for number in range(cell.steps):
        report(f"recording {number + 1} of {cell.steps}", 0.3 + 0.7 * number / cell.steps)
        with profiling.trace(trainer, title=cell.title, allocator=allocator) as timeline:
            measuring.step(trainer, batch)
        timeline.require_exact()
        steps.append(timeline.requested_at_peak())
        residents.append(timeline.requested_resident())
    return {
        "step": _named(min(steps, key=pd.Series.sum)),
        "resident": _named(min(residents, key=pd.Series.sum)),
        "device": allocator.device,
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
    }


def _named(sums: pd.Series) -> dict[str, int]:
    return {f"{block}/{category}": int(size) for (block, category), size in sums.items()}
