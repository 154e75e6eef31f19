"""Tasks for recurrent nets: what is trained on what, how well it goes, what a step takes."""

import itertools
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from mem_dfa.experiments.cells.cell import Report
from mem_dfa.experiments.store.table import Row

import mem_dfa
from mem_dfa import profiling
from mem_dfa.data import streams

NATS = math.log(2)


@dataclass(frozen=True)
class Task:
    """A stream, a net for it, and how it is trained.

    Attributes:
        network: makes the net.
        stream: makes batches of (rows, steps).
        loss: of the net.
        rows: of a batch.
        learning_rate: of Adam, whose gradients are clipped to a norm of 1.
        chunk: time steps for each update.
        updates: optimizer steps.
        window: updates that the figures are means of; a batch is as long.
    """

    network: Callable[[], keras.Model]
    stream: Callable[[int, int, int], Iterator[streams.Batch]]
    loss: keras.losses.Loss
    rows: int
    learning_rate: float
    chunk: int
    updates: int
    window: int = 250


def delay() -> Task:
    """The bit eight steps ago, four steps at a time, by a net whose state forgets slowly."""
    recurrent = keras.initializers.Orthogonal(0.9)

    def network() -> keras.Model:
        layers = keras.layers
        rnn = layers.SimpleRNN(64, return_sequences=True, recurrent_initializer=recurrent)
        return keras.Sequential([keras.Input((None, 1)), rnn, layers.Dense(1)])

    def stream(rows: int, steps: int, seed: int) -> Iterator[streams.Batch]:
        return streams.delayed_recall(rows, steps, 8, seed)

    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    return Task(network, stream, loss, 64, 1e-3, 4, 6000)


def text() -> Task:
    """The next character of Python's help texts."""
    numbers, count = streams.python_help()

    def network() -> keras.Model:
        layers = keras.layers
        lstm = layers.LSTM(128, return_sequences=True)
        return keras.Sequential(
            [keras.Input((None,)), layers.Embedding(count, 64), lstm, layers.Dense(count)]
        )

    def stream(rows: int, steps: int, seed: int) -> Iterator[streams.Batch]:
        # Another beginning for each seed.
        return streams.next_character(np.roll(numbers, -seed * len(numbers) // 7), rows, steps)

    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    return Task(network, stream, loss, 32, 2e-3, 4, 6250)


TASKS = {"delay": delay, "text": text}
LONG = 4
"""How many chunks `tbptt_long` goes back, with as many updates."""
VARIANTS: dict[str, dict[str, Any]] = {
    "tbptt": {},
    "dni": {"share": 0.5},
    "tbptt_long": {"chunk": LONG},
}
SHARES = {"text": 0.03}
"""α, where the usual one does more harm than good."""


def trainer_of(name: str, variant: str, seed: int) -> mem_dfa.TruncatedBPTT:
    """The trainer of a variant, with its net, compiled."""
    task, options = TASKS[name](), dict(VARIANTS[variant])
    chunk = task.chunk * options.pop("chunk", 1)
    if "share" in options:
        options["share"] = SHARES.get(name, options["share"])
    kind = mem_dfa.SyntheticBPTT if options else mem_dfa.TruncatedBPTT
    keras.utils.set_random_seed(seed)
    trainer = kind(task.network(), chunk, task.rows, seed=seed, **options)
    optimizer = keras.optimizers.Adam(task.learning_rate, global_clipnorm=1.0)
    trainer.compile(optimizer, task.loss, jit_compile=False)
    return trainer


def train(name: str, variant: str, seed: int, report: Report) -> Row:
    """Trains a variant, and says in what it came to and what an update took."""
    report("building", 0.0)
    task, trainer = TASKS[name](), trainer_of(name, variant, seed)
    chunk = trainer.chunk
    batches = task.stream(task.rows, chunk * task.window, seed)
    bits: list[float] = []
    began = time.perf_counter()
    for x, y in itertools.islice(batches, task.updates // task.window):
        done = len(bits) * task.window
        report(f"update {done + 1} of {task.updates}", done / task.updates)
        trainer.reset_metrics()
        bits.append(float(trainer.train_on_batch(x, y)) / NATS)
        if len(bits) == 1:
            began = time.perf_counter()  # tracing does not count
    taken = (time.perf_counter() - began) / (task.updates - task.window)
    report("weighing an update", 1.0)
    return {
        **{"task": name, "variant": variant, "seed": seed, "chunk": chunk},
        **{"updates": task.updates, "last_bits": bits[-1], "best_bits": min(bits)},
        "update_time_s": taken,
        # Of one update: a trainer of its own, because a trainer's batches have one length.
        "step_requested_bytes": _requested_bytes(
            trainer_of(name, variant, seed), *next(task.stream(task.rows, chunk, 0))
        ),
        "share": getattr(trainer, "share", None),
    }


def _requested_bytes(trainer: keras.Model, x: np.ndarray, y: np.ndarray) -> int:
    """What the operations of one update ask for at one time."""
    for _ in range(2):  # traces, and makes what stays
        trainer.train_on_batch(x, y)
    with profiling.trace(trainer) as timeline:
        trainer.train_on_batch(x, y)
    return timeline.step_requested_bytes


UNROLLED: dict[str, Callable[[keras.Model], keras.Model]] = {
    "bptt": mem_dfa.BP,
    "checkpointed": mem_dfa.CheckpointedBPTT,
    "checkpointed_10": lambda net: mem_dfa.CheckpointedBPTT(net, segment=10, slots=10),
}
STEPS, ROWS, INPUTS, CLASSES = 1000, 32, 64, 10
TURNS = 6  # that are measured


def unroll(report: Report) -> list[Row]:
    """Full backpropagation through a thousand steps of an LSTM, and with checkpoints, by turns."""
    report("building", 0.0)
    x = keras.random.normal((ROWS, STEPS, INPUTS), seed=0)
    y = keras.random.randint((ROWS, STEPS), 0, CLASSES, seed=0)
    trainers = [_unrolled(kind) for kind in UNROLLED.values()]
    seconds: list[list[float]] = [[] for _ in trainers]
    for turn in range(TURNS + 2):
        report(f"turn {turn + 1} of {TURNS + 2}", turn / (TURNS + 2))
        for trainer, times in zip(trainers, seconds, strict=True):
            began = time.perf_counter()
            trainer.train_on_batch(x, y)
            if turn > 1:
                times.append(time.perf_counter() - began)
    return [
        {
            **{"task": "unroll", "variant": name, "seed": 0, "chunk": STEPS, "updates": TURNS},
            "update_time_s": float(np.median(times)),
            "ratio_to_bp": float(np.median(np.divide(times, seconds[0]))),
            "step_requested_bytes": _requested_bytes(trainer, x, y),
        }
        for name, trainer, times in zip(UNROLLED, trainers, seconds, strict=True)
    ]


def _unrolled(kind: Callable[[keras.Model], keras.Model]) -> keras.Model:
    keras.utils.set_random_seed(0)
    lstm = keras.layers.LSTM(256, return_sequences=True)
    inputs = keras.Input((STEPS, INPUTS))
    trainer = kind(keras.Sequential([inputs, lstm, keras.layers.Dense(CLASSES)]))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    trainer.compile(keras.optimizers.SGD(0.1), loss, jit_compile=False)
    return trainer
