"""What single claims and the bench ask of a step. Imports TensorFlow."""

import dataclasses
import time
from typing import Any

import keras
import numpy as np
from mem_dfa.experiments.cells.cell import Cell
from mem_dfa.experiments.cells.report import Report
from mem_dfa.experiments.measure import building, measuring

from mem_dfa import profiling

BENCH_ROUNDS = 15  # in each process
FOLLOW_ROUNDS = 5
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
    """How far gradients in float32 are from those of the first cell in float64, of one step each.

    Returns:
        distances: ‖g − g64‖ / ‖g64‖ over all weights, one number a cell.
    """
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
