"""What a cell costs, measured in the process at hand. Imports TensorFlow."""

import contextlib
import gc
import os
import platform
import statistics
import time
from typing import Any, TypeAlias

import keras
import tensorflow as tf
from mem_dfa.experiments.cells.cell import WARM_UP_STEPS, Cell, Report
from mem_dfa.experiments.engine import worker
from mem_dfa.experiments.measure import building

from mem_dfa import Algorithm, profiling
from mem_dfa.data import batches
from mem_dfa.optimizer.wide_kernel import is_wide
from mem_dfa.shapes.layer_bytes import spec_bytes, variable_bytes

REGION_BYTES = 2**30
VERSIONS = {"tensorflow": tf.__version__, "keras": keras.__version__}

Batch: TypeAlias = tuple[Any, Any]  # nested tensors: inputs and labels


def measure(cell: Cell, report: Report) -> dict[str, Any]:
    """Bytes and seconds of one training step on one held batch, and what else its row says."""
    allocator, trainer, batch, first_step_s = warmed_up(cell, report)
    gc.collect()  # what tracing left behind is no part of the step
    # Where every so many steps are exact, one of them is among those measured.
    steps = max(cell.steps, getattr(trainer, "anchor", None) or 1)
    taken = take_steps(cell.device, trainer, batch, steps, report)
    gc.collect()
    left_over_bytes = allocator.current_bytes() - taken["resident_bytes"]
    given, made = WARM_UP_STEPS + steps, int(trainer.optimizer.iterations)
    batches_a_step = getattr(trainer, "batches_a_step", 1)
    if given // batches_a_step != made:
        raise RuntimeError(
            f"{given} batches made {made} optimizer steps; each {batches_a_step} must make one"
        )
    report("recording", 0.9)
    return {
        **taken,
        "first_step_s": first_step_s,
        "left_over_bytes": left_over_bytes,
        **_timeline(trainer, batch, cell, allocator),
        **_sizes(trainer, batch, cell.batch_size),
        "accuracy_label": f"{batches.label(cell.dataset, cell.data_dir)}, the held training batch",
        "source": f"{cell.device} BFC allocator",
        "python": platform.python_version(),
    }


def fit(cell: Cell, report: Report) -> dict[str, Any]:
    """Whether a cell trains in this process, whose memory is limited, and what its steps take.

    As in anyone's own process nothing is allocated before the network, neither a large region nor
    the meter's probes, see `measure.child.survey`: near a limit it matters which chunks are free.
    """
    images = building.first_batch(cell)
    report("building", 0.0)
    trainer, batch = building.build_trainer(cell), building.held(images)
    report("first step", 0.1)
    first_step_s, _ = timed_step(trainer, batch)
    peak_bytes = tf.config.experimental.get_memory_info(cell.device)["peak"]
    taken = take_steps(cell.device, trainer, batch, cell.steps, report)
    process_peak_bytes = max(peak_bytes, taken["peak_bytes"])
    return {**taken, "process_peak_bytes": process_peak_bytes, "first_step_s": first_step_s}


def take_steps(
    device: str, trainer: keras.Model, batch: Batch, count: int, report: Report
) -> dict[str, Any]:
    """What there is before some steps, their peak and median seconds, and the last one's loss."""
    resident_bytes = tf.config.experimental.get_memory_info(device)["current"]
    tf.config.experimental.reset_memory_stats(device)
    seconds = []
    for number in range(count):
        report(f"step {number + 1} of {count}", 0.2 + 0.7 * number / count)
        step_s, logs = timed_step(trainer, batch)
        seconds.append(step_s)
    peak_bytes = tf.config.experimental.get_memory_info(device)["peak"]
    return {
        "peak_bytes": peak_bytes,
        "resident_bytes": resident_bytes,
        "step_bytes": peak_bytes - resident_bytes,
        "step_time_s": statistics.median(seconds),
        "loss": logs["loss"],
        "accuracy": logs.get("accuracy"),
        **VERSIONS,
    }


def timed_step(trainer: keras.Model, batch: Batch) -> tuple[float, dict[str, float]]:
    """Seconds of one step of the compiled train function, which ends it, and its logs."""
    start = time.perf_counter()
    logs = trainer.train_on_batch(*batch, return_dict=True)  # floats, so it has waited for them
    return time.perf_counter() - start, logs


def warmed_up(cell: Cell, report: Report) -> tuple[profiling.Allocator, keras.Model, Batch, float]:
    """The proved meter, a trainer that has stepped on the batch, and the first step's seconds."""
    make_one_region()
    allocator = profiling.Allocator(cell.device)
    # Read first: the input pipeline leaves something behind.
    images = building.first_batch(cell)
    trainer, batch = building.build_trainer(cell), building.held(images)
    report("warming up", 0.1)
    return allocator, trainer, batch, warm_up(trainer, batch)


def warm_up(trainer: keras.Model, batch: Batch) -> float:
    """Takes the steps that are not measured, and returns the first one's seconds."""
    first_s, *_ = [timed_step(trainer, batch)[0] for _ in range(WARM_UP_STEPS)]
    return first_s


def make_one_region() -> None:
    """Let the allocator take one large region, empty, before it takes any other.

    It grows by regions of 2, 4, 8, 16 … MiB. Where a small one ends leaves free chunks, which a
    larger request takes whole: that moved a peak by 6 MiB. Memory never touched costs nothing.
    """
    size = REGION_BYTES
    if worker.MEMORY_LIMIT in os.environ:  # of which TensorFlow took a little as it started
        size = min(size, int(os.environ[worker.MEMORY_LIMIT]) * 2**20 * 7 // 8)
    # Another device may have less than that; the step may fit all the same.
    with contextlib.suppress(tf.errors.ResourceExhaustedError):
        tf.raw_ops.Empty(shape=[size], dtype=tf.uint8, init=False)


def _timeline(
    trainer: keras.Model, batch: Batch, cell: Cell, allocator: profiling.Allocator
) -> dict[str, Any]:
    """What the operations of one more step asked for; the timeline is kept if asked for."""
    # A user's own class may be any Keras model, and the rules are those of graph execution.
    predict = getattr(trainer, "predict_step_bytes", lambda batch_size: None)
    predicted = predict(cell.batch_size) if cell.execution == "graph" else None
    found: dict[str, Any] = {"predicted_step_bytes": predicted, "step_requested_bytes": None}
    try:
        with profiling.trace(trainer, title=cell.title, allocator=allocator) as timeline:
            timed_step(trainer, batch)
        if predicted is not None:
            timeline.predicted_peak_bytes = timeline.resident_bytes + predicted
        found["step_requested_bytes"] = timeline.step_requested_bytes
        if timeline.fault:
            found["error"] = f"timeline: {timeline.fault}"
        if cell.trace_file:
            timeline.save(cell.trace_file)
    except profiling.TraceError as error:  # what the allocator said is worth keeping
        found["error"] = building.one_line(error)
    return found


def _sizes(trainer: keras.Model, batch: Batch, size: int) -> dict[str, int | None]:
    """Bytes by shape of what stays alive between steps."""
    network, optimizer = trainer.network.variables, trainer.optimizer.variables
    held = [*trainer.variables, *network, *optimizer, *trainer.metrics_variables]
    held += keras.tree.flatten(batch)
    return {
        "parameter_bytes": variable_bytes(trainer.network.trainable_variables),
        "variable_allocated_bytes": sum(map(spec_bytes, [*network, *optimizer])),
        "optimizer_bytes": variable_bytes(optimizer),
        "whole_update_bytes": whole_update_bytes(trainer),
        "feedback_bytes": getattr(trainer, "feedback_bytes", 0),
        "host_bytes": trainer.host_bytes(size) if isinstance(trainer, Algorithm) else 0,
        "predicted_resident_bytes": variable_bytes({id(one): one for one in held}.values()),
    }


def whole_update_bytes(trainer: keras.Model) -> int:
    """Wide dense kernels whose gradient and step are formed whole, not in row tiles."""
    in_tiles = {id(layer.kernel) for layer in getattr(trainer, "tiled_layers", list)()}
    kernels = {id(v): v for v in trainer.network.trainable_variables if len(v.shape) == 2}
    return variable_bytes(v for v in kernels.values() if is_wide(v) and id(v) not in in_tiles)
