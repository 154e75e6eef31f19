"""One process that measures: a task in, progress and a result out. Imports TensorFlow.

What it tells are lines of JSON. A task's failure is a result as well. See `engine.worker`.
"""

import json
import os
import signal
import tempfile
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf
from mem_dfa.experiments.cells.cell import Cell
from mem_dfa.experiments.measure import (
    building,
    fitting,
    measuring,
    precision,
    training,
    weighing,
    wide_update,
)
from mem_dfa.experiments.measure.measuring import Report
from mem_dfa.profiling import allocator

from mem_dfa.data import batches, prepared

Task = Callable[[list[Cell], Report], dict[str, Any]]


def check(cells: list[Cell], report: Report) -> dict[str, Any]:
    """Finds out what no cell could be measured without, and prepares the data.

    Returns:
        device: the TensorFlow name of the device.
    """
    device = building.resolve_device(cells[0].device)
    allocator.Allocator(device)
    for cell in cells:
        building.build_trainer(cell)
        keras.backend.clear_session(free_memory=True)
    _check_data(cells)
    for cell in cells:
        if cell.epochs:
            building.splits(cell)  # refuses a batch that is larger than the training set
    return {"device": device}


def survey(cells: list[Cell], report: Report) -> dict[str, Any]:
    """Finds out which cells can be built, and prepares the data of all.

    Returns:
        device: the TensorFlow name of the device.
        tensorflow: its version.
        refusals: of each cell, why it cannot be built; None where it can.
    """
    device = building.resolve_device(cells[0].device)
    allocator.Allocator(device)
    refusals: list[str | None] = [None] * len(cells)
    for number, cell in enumerate(cells):
        report(cell.title, number / len(cells))
        try:
            building.build_trainer(cell)
        except building.RefusedError as error:
            refusals[number] = building.one_line(error)
        except tf.errors.ResourceExhaustedError:
            pass  # the cell's own process may have room for it
        keras.backend.clear_session(free_memory=True)
    _check_data(cells)
    return {"device": device, "tensorflow": tf.__version__, "refusals": refusals}


def _check_data(cells: list[Cell]) -> None:
    for name, data_dir in dict.fromkeys((cell.dataset, cell.data_dir) for cell in cells):
        try:
            if name != "synthetic":
                batches.prepare(name, data_dir)
                batches.pixel_statistics(name, data_dir)
        except batches.DataMissingError:
            raise
        except Exception as error:  # whatever tensorflow_datasets says of files it cannot read
            raise building.RefusedError(
                f"--dataset {name} in {prepared.directory(data_dir)} cannot be read "
                f"({type(error).__name__}: {building.one_line(error)}); prepare it again, or use "
                "--dataset synthetic"
            ) from error


TASKS: dict[str, Task] = {
    "check": check,
    "survey": survey,
    "measure": lambda cells, report: measuring.measure(cells[0], report),
    "train": lambda cells, report: training.train(cells[0], report),
    "bench": measuring.alternate,
    "follow": lambda cells, report: measuring.follow(cells[0], report),
    "fit": lambda cells, report: fitting.train(cells[0], report),
    "distances": precision.distances,
    "wide_update": lambda cells, report: wide_update.measure(cells[0], report),
    "weigh": lambda cells, report: {"weights": weighing.weigh_all(cells, report)},
}


def run(
    task: str, cells: list[Cell], report: Report, memory_bytes: int | None = None
) -> dict[str, Any]:
    """The task's result with a status: ok, out_of_memory, refused, no_meter or failed.

    ``memory_bytes`` is what a GPU is limited to.
    """
    try:
        allocator.enable()  # before TensorFlow's first operation
        on_gpu = cells[0].device.startswith("GPU")
        building.set_up_gpus(memory_bytes if on_gpu else None)
        with tf.device(building.resolve_device(cells[0].device)):
            return {"status": "ok", **TASKS[task](cells, report)}
    except allocator.MeterError as error:
        return {"status": "no_meter", "error": building.one_line(error)}
    except tf.errors.ResourceExhaustedError as error:
        return {"status": "out_of_memory", "error": building.one_line(error)}
    except ValueError as error:
        refused = isinstance(error, building.RefusedError) or task == "check"
        status = "refused" if refused else "failed"
        return {"status": status, "error": building.one_line(error)}
    except Exception as error:  # becomes a row, and the sweep goes on
        text = f"{type(error).__name__}: {building.one_line(error)}"
        return {"status": "failed", "error": text}


def main(telling: int, asked: int) -> None:
    """Does what a file asks for, where and as long as that says, and tells the result."""
    with open(asked) as file, open(telling, "w") as stream:
        request = json.load(file)
        signal.alarm(request["limits"]["time_s"] or 0)  # ends it
        os.environ.clear()
        os.environ.update(request["environment"])
        os.chdir(request["folder"])
        tempfile.tempdir = None  # that of the environment before

        def tell(**message: Any) -> None:
            print(json.dumps(message), file=stream, flush=True)

        def report(note: str, done: float) -> None:
            tell(note=note, done=done)

        cells = [Cell(**cell) for cell in request["cells"]]
        tell(result=run(request["task"], cells, report, request["limits"]["memory_bytes"]))
