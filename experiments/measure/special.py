"""What the bench, single claims and the gate ask of a step. Imports TensorFlow."""

import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import pandas as pd
from mem_dfa.experiments.cells.cell import Cell, Report
from mem_dfa.experiments.measure import building, measuring
from mem_dfa.profiling.baseline import parts_of

from mem_dfa import profiling

BENCH_ROUNDS, FOLLOW_ROUNDS = 15, 5  # in each process
UNNAMED = "other/resident"
QUIET_LOOKS = 5
WIDE_UNITS, WIDE_BATCH_SIZE = 4096, 8


def take_turns(cells: list[Cell], report: Report) -> dict[str, Any]:
    """Seconds of each cell's steps, the cells taking turns so that they share every disturbance."""
    trainers = [building.build_trainer(cell) for cell in cells]
    batch = building.held(building.first_batch(cells[0]))
    report("warming up", 0.0)
    for trainer in trainers:
        measuring.warm_up(trainer, batch)
    seconds: list[list[float]] = [[] for _ in cells]
    for number in range(BENCH_ROUNDS):
        report(f"round {number + 1} of {BENCH_ROUNDS}", number / BENCH_ROUNDS)
        for trainer, times in zip(trainers, seconds, strict=True):
            times.append(measuring.timed_step(trainer, batch)[0])
    return {"seconds": seconds}


def follow(cell: Cell, report: Report) -> dict[str, Any]:
    """What a timeline says of a step, beside what the allocator and the clock say."""
    allocator, trainer, batch, _ = measuring.warmed_up(cell, report)
    plain, traced = [], []
    for number in range(FOLLOW_ROUNDS):
        report(f"round {number + 1} of {FOLLOW_ROUNDS}", 0.3 + 0.6 * number / FOLLOW_ROUNDS)
        plain.append(measuring.timed_step(trainer, batch)[0])
        start = time.perf_counter()
        with profiling.trace(trainer, allocator=allocator) as timeline:
            measuring.timed_step(trainer, batch)
        traced.append(time.perf_counter() - start)
    names = ("peak_bytes", "allocator_peak_bytes", "fault", "attributed_share")
    return {"seconds": [plain, traced]} | {name: getattr(timeline, name) for name in names}


def wide_update(cell: Cell, report: Report) -> dict[str, Any]:
    """Step bytes of MEM-DFA on a dense layer so wide that its update sets the peak."""
    measuring.make_one_region()
    profiling.Allocator(cell.device)
    layers = [keras.layers.Dense(WIDE_UNITS), keras.layers.Dense(cell.classes)]
    network = keras.Sequential([keras.Input((WIDE_UNITS,)), *layers])
    trainer = building.load_algorithm("mem_dfa")(network, seed=cell.seed, **dict(cell.options))
    building.compile_trainer(trainer, cell)
    numbers = np.random.default_rng(cell.seed)
    images = numbers.standard_normal((WIDE_BATCH_SIZE, WIDE_UNITS), np.float32)
    batch = building.held((images, np.arange(WIDE_BATCH_SIZE, dtype=np.int32) % cell.classes))
    measuring.warm_up(trainer, batch)
    return measuring.take_steps(cell.device, trainer, batch, 1, report)


def distances(cells: list[Cell], report: Report) -> dict[str, Any]:
    """‖g − g64‖ / ‖g64‖ of each cell's gradient in float32, g64 being the first's in float64."""
    images, labels = building.first_batch(cells[0])
    weights: list[np.ndarray] = []  # all start from those of the first cell
    found = []
    for number, cell in enumerate([*cells, cells[0]]):
        dtype = "float32" if number < len(cells) else "float64"
        report(f"{cell.title} {dtype}", number / (len(cells) + 1))
        keras.config.set_floatx(dtype)
        keras.config.set_dtype_policy(dtype)
        # The first momentum, m = −η·g with η = 1, is the gradient to the bit.
        momentum = dataclasses.replace(cell, optimizer="momentum", learning_rate=1.0)
        trainer = building.build_trainer(momentum)
        weights = weights or trainer.network.get_weights()
        trainer.network.set_weights(weights)
        measuring.timed_step(trainer, building.held((images.astype(dtype), labels)))
        # Before the momenta stand the number of iterations and the learning rate.
        momenta = [variable.numpy().ravel() for variable in trainer.optimizer.variables[2:]]
        found.append(-np.concatenate(momenta))
        keras.backend.clear_session(free_memory=True)
    *single, exact = found
    size = np.linalg.norm(exact)
    return {"distances": [float(np.linalg.norm(gradient - exact) / size) for gradient in single]}


def weigh_all(cells: Sequence[Cell], report: Report) -> dict[str, Any]:
    """The ``weights`` of each cell, one after another in this process."""
    weights = []
    for number, cell in enumerate(cells):
        report(cell.title, number / len(cells))
        weights.append(weigh(cell, report))
        keras.backend.clear_session(free_memory=True)
    return {"weights": weights}


def weigh(cell: Cell, report: Report) -> dict[str, Any]:
    """Bytes that the step in the middle asked for, by "layer/category", and what measured them.

    They are ``kept`` for the backward pass, of the ``step`` at its peak, and ``resident`` before.
    TraceError where a step's events are not complete.
    """
    with profiling.trace(title="making", device=cell.device) as making:
        allocator, trainer, batch, _ = measuring.warmed_up(cell, report)
        settle(allocator.current_bytes)
    kept, steps, residents = [], [], []
    for number in range(cell.steps):
        report(f"recording {number + 1} of {cell.steps}", 0.3 + 0.7 * number / cell.steps)
        with profiling.trace(trainer, title=cell.title, allocator=allocator) as timeline:
            measuring.timed_step(trainer, batch)
        timeline.require_exact()
        kept.append(_kept(timeline))
        steps.append(timeline.requested_at_peak())
        residents.append(timeline.requested_resident())
    return {
        "kept": parts_of(in_the_middle(kept)),
        "step": parts_of(in_the_middle(steps)),
        "resident": _exact(parts_of(min(residents, key=pd.Series.sum)), making),
        "device": allocator.device,
        **measuring.VERSIONS,
    }


def settle(current_bytes: Callable[[], int]) -> None:
    """Waits for threads that are held up, until bytes stay the same for a tenth of a second."""
    looks = [current_bytes()]
    while looks[-1 - QUIET_LOOKS :] != looks[-1:] * (1 + QUIET_LOOKS):
        time.sleep(0.1 / QUIET_LOOKS)
        looks.append(current_bytes())


def in_the_middle(steps: Sequence[pd.Series]) -> pd.Series:
    """The step whose sum of bytes is the median, the greater of two in the middle.

    Steps differ where operations may run in either order, or a thread is late to release a tensor.
    """
    return sorted(steps, key=pd.Series.sum)[len(steps) // 2]


def _kept(timeline: profiling.Timeline) -> pd.Series:
    """What is alive, of the step's own, when the first gradient is formed: nothing under XLA."""
    tensors = timeline.tensors
    own = tensors["start_ns"] >= 0
    first_ns = tensors.loc[own & (tensors["phase"] == "backward"), "start_ns"].min()
    alive = own & (tensors["start_ns"] < first_ns) & (tensors["end_ns"] > first_ns)
    return timeline.by_layer_and_category(tensors, alive * tensors["requested_bytes"])


def _exact(residents: dict[str, int], making: profiling.Timeline) -> dict[str, int]:
    """The same with what nobody could name as it was asked for when it was made."""
    # A step's events tell only its chunk, which may be twice as large, by what happened to be free.
    tensors = making.tensors
    stays = (tensors["start_ns"] >= 0) & (tensors["end_ns"] > making.duration_ns)
    asked_for = int(tensors.loc[stays, "requested_bytes"].sum())
    named = {name: size for name, size in residents.items() if name != UNNAMED}
    return named | {UNNAMED: asked_for - sum(named.values())}
