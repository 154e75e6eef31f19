"""The process that one task runs in: ``python -m mem_dfa.experiments.measure.child RESULT_FILE``.

The task comes as JSON on standard input, progress goes as JSON lines to standard output, and the
result as JSON to RESULT_FILE. A task's failure is a result as well. See `engine.worker`.
"""

import ctypes
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mem_dfa.experiments.cells.cell import Cell

PR_SET_PDEATHSIG = 1  # of Linux's <sys/prctl.h>


def report(note: str, done: float) -> None:
    """Tells the waiting process what is going on and which part of the task, 0 to 1, is done."""
    print(json.dumps({"note": note, "done": done}), flush=True)


def check(cells: list[Cell]) -> dict[str, Any]:
    """Finds out what no cell could be measured without, and prepares the data.

    Returns:
        device: the TensorFlow name of the device.
    """
    import keras
    from mem_dfa.experiments.measure import building
    from mem_dfa.profiling import allocator

    device = building.resolve_device(cells[0].device)
    allocator.Allocator(device)
    for cell in cells:
        building.build_trainer(cell)
        keras.backend.clear_session(free_memory=True)
    if cells[0].dataset != "synthetic":
        _check_data(cells[0].dataset, cells[0].data_dir)
    for cell in cells:
        if cell.epochs:
            building.splits(cell)  # refuses a batch that is larger than the training set
    return {"device": device}


def survey(cells: list[Cell]) -> dict[str, Any]:
    """Finds out which cells can be built, and prepares the data of all.

    Returns:
        device: the TensorFlow name of the device.
        tensorflow: its version.
        depths: of each cell, its number of weight layers; None where it cannot be built.
        refusals: of each cell, why it cannot be built; None where it can.
    """
    import keras
    import tensorflow as tf
    from mem_dfa.experiments.measure import building, measuring
    from mem_dfa.profiling import allocator

    device = building.resolve_device(cells[0].device)
    allocator.Allocator(device)
    depths: list[int | None] = []
    refusals: list[str | None] = []
    for number, cell in enumerate(cells):
        report(cell.title, number / len(cells))
        depth, refusal = None, None
        try:
            depth = measuring.depth(building.build_trainer(cell).network)
        except building.RefusedError as error:
            refusal = building.one_line(error)
        except tf.errors.ResourceExhaustedError:
            pass  # the cell's own process may have room for it
        depths.append(depth)
        refusals.append(refusal)
        keras.backend.clear_session(free_memory=True)
    for name, data_dir in dict.fromkeys((cell.dataset, cell.data_dir) for cell in cells):
        if name != "synthetic":
            _check_data(name, data_dir)
    found = {"device": device, "tensorflow": tf.__version__}
    return {**found, "depths": depths, "refusals": refusals}


def _check_data(name: str, data_dir: str | None) -> None:
    from mem_dfa.experiments.measure import building

    from mem_dfa.data import batches, prepared

    try:
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


def measure(cells: list[Cell]) -> dict[str, Any]:
    """The numbers of one cell, see `measure.measuring`."""
    from mem_dfa.experiments.measure import measuring

    return measuring.measure(cells[0], report)


def train(cells: list[Cell]) -> dict[str, Any]:
    """Trains one cell and tests it after each epoch, see `measure.training`."""
    from mem_dfa.experiments.measure import training

    return training.train(cells[0], report)


def follow(cells: list[Cell]) -> dict[str, Any]:
    """The timeline of one cell's step beside the allocator, see `measure.measuring`."""
    from mem_dfa.experiments.measure import measuring

    return measuring.follow(cells[0], report)


def bench(cells: list[Cell]) -> dict[str, Any]:
    """Step times of several cells that take turns, see `measure.measuring`."""
    from mem_dfa.experiments.measure import measuring

    return measuring.alternate(cells, report)


def fit(cells: list[Cell]) -> dict[str, Any]:
    """Whether one cell trains within this process's limits, see `measure.fitting`."""
    from mem_dfa.experiments.measure import fitting

    return fitting.train(cells[0], report)


def distances(cells: list[Cell]) -> dict[str, Any]:
    """How far the cells' gradients are from the first one's in float64."""
    from mem_dfa.experiments.measure import precision

    return precision.distances(cells, report)


def wide_update(cells: list[Cell]) -> dict[str, Any]:
    """Step bytes of one wide dense layer, see `measure.wide_update`."""
    from mem_dfa.experiments.measure import wide_update

    return wide_update.measure(cells[0], report)


def weigh(cells: list[Cell]) -> dict[str, Any]:
    """What a step of each cell asks for, by its title, see `measure.weighing`."""
    from mem_dfa.experiments.measure import weighing

    return {"weights": weighing.weigh_all(cells, report)}


TASKS: dict[str, Callable[[list[Cell]], dict[str, Any]]] = {
    "check": check,
    "survey": survey,
    "measure": measure,
    "train": train,
    "bench": bench,
    "follow": follow,
    "fit": fit,
    "distances": distances,
    "wide_update": wide_update,
    "weigh": weigh,
}


def run(task: str, cells: list[Cell], memory_bytes: int | None = None) -> dict[str, Any]:
    """The task's result with a status: ok, out_of_memory, refused, no_meter or failed.

    ``memory_bytes`` is what a GPU is limited to.
    """
    from mem_dfa.profiling import allocator

    try:
        allocator.enable()  # before TensorFlow's first operation
        import tensorflow as tf
        from mem_dfa.experiments.measure import building

        on_gpu = cells[0].device.startswith("GPU")
        building.set_up_gpus(memory_bytes if on_gpu else None)
    except allocator.MeterError as error:
        return {"status": "no_meter", "error": " ".join(str(error).split())}
    try:
        with tf.device(building.resolve_device(cells[0].device)):
            return {"status": "ok", **TASKS[task](cells)}
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


def main() -> None:
    """Reads the task, runs it and writes the result, whole or not at all."""
    request = json.load(sys.stdin)
    die_with(request["parent"])
    cells = [Cell(**cell) for cell in request["cells"]]
    result = run(request["task"], cells, request["memory_bytes"])
    file = Path(sys.argv[1])
    part = file.with_suffix(".part")
    try:
        part.write_text(json.dumps(result))
        part.replace(file)
    except OSError:  # no cell is to blame
        sys.exit(os.EX_IOERR)


def die_with(parent: int) -> None:
    """Has Linux end this process when the one that waits for it dies, in whatever way.

    Otherwise a measurement that nobody waits for would disturb the next one.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before that
            os._exit(1)


if __name__ == "__main__":
    main()
