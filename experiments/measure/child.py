"""One process that measures: a task in, lines of JSON out; see `engine.worker`."""

import json
import os
import signal
import tempfile
from collections.abc import Callable
from typing import Any, TextIO

import keras
import tensorflow as tf
from mem_dfa.experiments.cells.cell import Cell, Report
from mem_dfa.experiments.measure import building, measuring, special, training
from mem_dfa.experiments.measure.building import RefusedError, one_line
from mem_dfa.profiling import allocator

from mem_dfa.data import batches, prepared


def survey(cells: list[Cell], report: Report) -> dict[str, Any]:
    """Prepares the data, and finds out of each cell why it cannot be measured, None if it can."""
    device = building.resolve_device(cells[0].device)
    allocator.Allocator(device)
    refusals: list[str | None] = [None] * len(cells)
    for number, cell in enumerate(cells):
        report(cell.title, number / len(cells))
        try:
            building.build_trainer(cell)
            if cell.dataset in prepared.DATASETS and cell.dataset != "synthetic":
                _prepare(cell.dataset, cell.data_dir)
            if cell.epochs:
                building.splits(cell)  # refuses a batch that is larger than the training set
        except building.OUT_OF_MEMORY:
            pass  # the cell's own process may have room for it
        except ValueError as error:
            refusals[number] = one_line(error)
        keras.backend.clear_session(free_memory=True)
    return {"device": device, "tensorflow": tf.__version__, "refusals": refusals}


def _prepare(name: str, data_dir: str | None) -> None:
    place, remedy = prepared.directory(data_dir), "prepare it again, or use --dataset synthetic"
    # Files that it cannot read make tensorflow_datasets say anything.
    with building.refusing(f"--dataset {name} in {place} cannot be read; {remedy}"):
        batches.prepare(name, data_dir)
        batches.pixel_statistics(name, data_dir)


TASKS: dict[str, Callable[[list[Cell], Report], dict[str, Any]]] = {
    "survey": survey,
    "measure": lambda cells, report: measuring.measure(cells[0], report),
    "fit": lambda cells, report: measuring.fit(cells[0], report),
    "train": lambda cells, report: training.train(cells[0], report),
    "weigh": special.weigh_all,
    "bench": special.take_turns,
    "follow": lambda cells, report: special.follow(cells[0], report),
    "distances": special.distances,
    "wide_update": lambda cells, report: special.wide_update(cells[0], report),
}
STATUSES = {
    allocator.MeterError: "no_meter",
    tf.errors.ResourceExhaustedError: "out_of_memory",
    RefusedError: "refused",
}


def run(
    task: str, cells: list[Cell], report: Report, memory_bytes: int | None = None
) -> dict[str, Any]:
    """The task's result with its status; ``memory_bytes`` is what a GPU is limited to."""
    try:
        allocator.enable()  # before TensorFlow's first operation
        on_gpu = cells[0].device.startswith("GPU")
        building.set_up_gpus(memory_bytes if on_gpu else None)
        with tf.device(building.resolve_device(cells[0].device)):
            return {"status": "ok", **TASKS[task](cells, report)}
    except Exception as error:  # becomes a row, and the sweep goes on
        status = STATUSES.get(type(error), "failed")
        kind = f"{type(error).__name__}: " if status == "failed" else ""
        return {"status": status, "error": kind + one_line(error)}


def main(request: dict[str, Any], stream: TextIO) -> None:
    """Does what is asked for, where and as long as that says, and tells the result."""
    signal.alarm(request["limits"]["time_s"] or 0)  # ends it
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    tempfile.tempdir = None  # that of the environment before

    def tell(**message: Any) -> None:
        print(json.dumps(message), file=stream, flush=True)

    cells = [Cell(**cell) for cell in request["cells"]]
    limit_bytes = request["limits"]["memory_bytes"]
    tell(result=run(request["task"], cells, lambda n, d: tell(note=n, done=d), limit_bytes))
