"""Whether a cell trains in the process at hand, whose memory is limited. Imports TensorFlow."""

import statistics
import time
from typing import Any

import keras
import tensorflow as tf
from mem_dfa.experiments.cells.cell import Cell
from mem_dfa.experiments.measure import building, measuring


def train(cell: Cell, report: measuring.Report) -> dict[str, Any]:
    """Takes training steps on one held batch, the first of which traces, and reads what they took.

    The process is as anyone's own would be: nothing is allocated before the network, neither a
    large region nor the probes of the meter, because near a limit it matters which chunks are free.
    That the meter tells the truth is checked in another process, see `measure.child.check`.

    Raises:
        tf.errors.ResourceExhaustedError: it does not fit.
    """
    images = building.first_batch(cell)
    report("building", 0.0)
    trainer, batch = building.build_trainer(cell), building.held(images)
    report("first step", 0.2)
    start = time.perf_counter()
    measuring.step(trainer, batch)
    first_step_s = time.perf_counter() - start
    before = tf.config.experimental.get_memory_info(cell.device)
    tf.config.experimental.reset_memory_stats(cell.device)
    seconds = []
    for number in range(cell.steps):
        report(f"step {number + 1} of {cell.steps}", 0.5 + 0.5 * number / cell.steps)
        start = time.perf_counter()
        measuring.step(trainer, batch)
        seconds.append(time.perf_counter() - start)
    peak_bytes = tf.config.experimental.get_memory_info(cell.device)["peak"]
    return {
        "peak_bytes": peak_bytes,
        "process_peak_bytes": max(before["peak"], peak_bytes),
        "resident_bytes": before["current"],
        "step_bytes": peak_bytes - before["current"],
        "step_time_s": statistics.median(seconds),
        "first_step_s": first_step_s,
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
    }
