"""What a cell costs, measured in the process at hand. Imports TensorFlow."""

import gc
import os
import platform
import statistics
import time
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from mem_dfa.experiments.cells.cell import WARM_UP_STEPS, Cell
from mem_dfa.experiments.cells.report import Report as Report
from mem_dfa.experiments.engine import worker
from mem_dfa.experiments.measure import building

from mem_dfa import profiling
from mem_dfa.data import batches
from mem_dfa.optimizer.wide_kernel import is_wide
from mem_dfa.units import ALLOCATION_UNIT_BYTES

BENCH_ROUNDS = 15  # in each process
FOLLOW_ROUNDS = 5
REGION_BYTES = 2**30


def measure(cell: Cell, report: Report) -> dict[str, Any]:
    """Bytes and seconds of one training step on one held batch.

    Raises:
        profiling.MeterError: the allocator's statistics do not tell the truth.
        RuntimeError: the trainer takes another number of optimizer steps than batches.
    """
    allocator, trainer, batch, first_step_s = warmed_up(cell, report)
    gc.collect()  # what tracing left behind is no part of the step
    resident_bytes = allocator.current_bytes()
    allocator.reset_peak()
    seconds = []
    for number in range(cell.steps):
        report(f"step {number + 1} of {cell.steps}", 0.2 + 0.7 * number / cell.steps)
        start = time.perf_counter()
        logs = step(trainer, batch)
        seconds.append(time.perf_counter() - start)
    peak_bytes = allocator.peak_bytes()
    gc.collect()
    left_over_bytes = allocator.current_bytes() - resident_bytes
    _check_iterations(trainer, WARM_UP_STEPS + cell.steps)
    report("recording", 0.9)
    return {
        "layers": cell.depth or depth(trainer.network),
        "peak_bytes": peak_bytes,
        "resident_bytes": resident_bytes,
        "step_bytes": peak_bytes - resident_bytes,
        "step_time_s": statistics.median(seconds),
        "first_step_s": first_step_s,
        "left_over_bytes": left_over_bytes,
        **_timeline(trainer, batch, cell, allocator),
        **_sizes(trainer, batch),
        "loss": logs["loss"],
        "accuracy": logs.get("accuracy"),
        "accuracy_label": f"{batches.label(cell.dataset, cell.data_dir)}, the held training batch",
        "source": f"{cell.device} BFC allocator",
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "python": platform.python_version(),
    }


def step(trainer: keras.Model, batch: tuple[tf.Tensor, tf.Tensor]) -> dict[str, float]:
    """One step of the compiled train function, finished when it returns."""
    return trainer.train_on_batch(*batch, return_dict=True)  # floats, so it has waited for them


def follow(cell: Cell, report: Report) -> dict[str, Any]:
    """What a timeline says of a step, beside what the allocator and the clock say."""
    allocator, trainer, batch, _ = warmed_up(cell, report)
    plain, traced = [], []
    for number in range(FOLLOW_ROUNDS):
        report(f"round {number + 1} of {FOLLOW_ROUNDS}", 0.3 + 0.6 * number / FOLLOW_ROUNDS)
        start = time.perf_counter()
        step(trainer, batch)
        plain.append(time.perf_counter() - start)
        start = time.perf_counter()
        with profiling.trace(trainer, allocator=allocator) as timeline:
            step(trainer, batch)
        traced.append(time.perf_counter() - start)
    return {
        "peak_bytes": timeline.peak_bytes,
        "allocator_peak_bytes": timeline.allocator_peak_bytes,
        "fault": timeline.fault,
        "attribution": timeline.attribution,
        "attributed_share": timeline.attributed_share,
        "seconds": [plain, traced],
    }


def alternate(cells: list[Cell], report: Report) -> dict[str, Any]:
    """Seconds of each cell's steps, the cells taking turns so that they share every disturbance."""
    trainers = [building.build_trainer(cell) for cell in cells]
    batch = building.held(building.first_batch(cells[0]))
    report("warming up", 0.0)
    for trainer in trainers:
        for _ in range(WARM_UP_STEPS):
            step(trainer, batch)
    seconds: list[list[float]] = [[] for _ in cells]
    for number in range(BENCH_ROUNDS):
        report(f"round {number + 1} of {BENCH_ROUNDS}", number / BENCH_ROUNDS)
        for trainer, times in zip(trainers, seconds, strict=True):
            start = time.perf_counter()
            step(trainer, batch)
            times.append(time.perf_counter() - start)
    return {"seconds": seconds}


def warmed_up(
    cell: Cell, report: Report
) -> tuple[profiling.Allocator, keras.Model, tuple[tf.Tensor, tf.Tensor], float]:
    """The proved meter, a trainer that has traced its step on the batch beside it, and seconds.

    Those are of the first step, with tracing, but without building the network.
    """
    make_one_region()
    allocator = profiling.Allocator(cell.device)
    # Read first: the input pipeline leaves something behind.
    images = building.first_batch(cell)
    trainer, batch = building.build_trainer(cell), building.held(images)
    report("warming up", 0.1)
    start = time.perf_counter()
    step(trainer, batch)
    first_step_s = time.perf_counter() - start
    for _ in range(WARM_UP_STEPS - 1):
        step(trainer, batch)
    return allocator, trainer, batch, first_step_s


def make_one_region() -> None:
    """Let the allocator take one large region, empty, before it takes any other.

    It grows by regions of 2, 4, 8, 16 … MiB. Where a small one happens to end leaves free chunks
    that a larger request takes whole (they are not split below twice its size), which moved the
    20-layer net's peak by 6 MiB. Memory that is never touched costs the machine nothing.
    """
    limit_mib = os.environ.get(worker.MEMORY_LIMIT)
    size = REGION_BYTES
    if limit_mib is not None:  # TensorFlow took a little of it as it started
        size = min(size, int(limit_mib) * 2**20 * 7 // 8)
    try:
        tf.raw_ops.Empty(shape=[size], dtype=tf.uint8, init=False)
    except tf.errors.ResourceExhaustedError:
        return  # another device may have less than that; the step may fit all the same


def _check_iterations(trainer: keras.Model, expected: int) -> None:
    taken = int(trainer.optimizer.iterations)
    if taken != expected:
        raise RuntimeError(f"{expected} batches made {taken} optimizer steps; each must make one")


def depth(network: keras.Model) -> int:
    """Layers with a kernel, without the classifier: what `layers` asks a model for."""
    layers = network._flatten_layers(include_self=False, recursive=True)
    return sum(getattr(layer, "kernel", None) is not None for layer in layers) - 1


def _timeline(
    trainer: keras.Model,
    batch: tuple[tf.Tensor, tf.Tensor],
    cell: Cell,
    allocator: profiling.Allocator,
) -> dict[str, Any]:
    """What the operations of one more step asked for; the timeline is kept if asked for."""
    predicted = _predicted(trainer, cell)
    requested: dict[str, Any] = {"step_requested_bytes": None}
    try:
        with profiling.trace(trainer, title=cell.title, allocator=allocator) as timeline:
            step(trainer, batch)
        if predicted is not None:
            timeline.predicted_peak_bytes = timeline.resident_bytes + predicted
        requested = {"step_requested_bytes": timeline.step_requested_bytes}
        fault = {"error": f"timeline: {timeline.fault}"} if timeline.fault else {}
        if cell.trace_file:
            timeline.save(cell.trace_file)
    except profiling.TraceError as error:  # what the allocator said is worth keeping
        fault = {"error": building.one_line(error)}
    return {**requested, **fault, "predicted_step_bytes": predicted}


def _predicted(trainer: keras.Model, cell: Cell) -> int | None:
    """Step bytes from shapes; None where the rules, those of graph execution, do not apply."""
    # A user's own class may be any Keras model.
    predict = getattr(trainer, "predict_step_bytes", None)
    if predict is None or cell.execution != "graph":
        return None
    try:
        return predict(cell.batch_size)
    except ValueError:  # the net has a part whose shapes are not known beforehand
        return None


def _sizes(trainer: keras.Model, batch: tuple[tf.Tensor, tf.Tensor]) -> dict[str, int]:
    """Bytes by shape of what stays alive between steps."""
    optimizer = trainer.optimizer.variables
    everything = [*trainer.variables, *trainer.network.variables, *optimizer]
    everything += trainer.metrics_variables
    held = {id(variable): variable for variable in everything}
    batch_bytes = sum(_bytes(tensor) for tensor in batch)
    return {
        "parameter_bytes": sum(map(_bytes, trainer.network.trainable_variables)),
        "variable_allocated_bytes": sum(
            map(_allocated_bytes, [*trainer.network.variables, *optimizer])
        ),
        "optimizer_bytes": sum(map(_bytes, optimizer)),
        "whole_update_bytes": whole_update_bytes(trainer),
        "feedback_bytes": getattr(trainer, "feedback_bytes", 0),
        "predicted_resident_bytes": sum(map(_bytes, held.values())) + batch_bytes,
    }


def whole_update_bytes(trainer: keras.Model) -> int:
    """Wide dense kernels whose gradient and step are formed whole, not in row tiles."""
    tiled = getattr(trainer, "tiled_layers", list)()
    in_tiles = {id(layer.kernel) for layer in tiled}
    kernels = {id(v): v for v in trainer.network.trainable_variables if len(v.shape) == 2}
    return sum(_bytes(v) for v in kernels.values() if is_wide(v) and id(v) not in in_tiles)


def _allocated_bytes(variable: keras.Variable) -> int:
    """What the allocator hands out for it, which is a multiple of its unit."""
    return -(-_bytes(variable) // ALLOCATION_UNIT_BYTES) * ALLOCATION_UNIT_BYTES


def _bytes(value: keras.Variable | tf.Tensor) -> int:
    return int(np.prod(value.shape)) * tf.as_dtype(value.dtype).size
