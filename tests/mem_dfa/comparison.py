"""What training changes in a net, and how far two changes are apart."""

from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from mem_dfa import profiling
from tests.mem_dfa.table import normalisation, reversible

EXECUTIONS = {"graph": {}, "eager": {"run_eagerly": True}, "xla": {"jit_compile": True}}
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
# Keras losses compute in float32 unless told: e would then be rounded before it is fed back.
LOSS_FLOAT64 = keras.losses.SparseCategoricalCrossentropy(from_logits=True, dtype="float64")


def batch(dtype: str = "float32") -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(1)
    return generator.normal(size=(16, 8, 8, 3)).astype(dtype), generator.integers(3, size=16)


def change(
    trainer: keras.Model,
    steps: int,
    dtype: str = "float32",
    data: tuple[np.ndarray, np.ndarray] | None = None,
) -> list[np.ndarray]:
    """What `steps` batches change in each of the network's weights, moving statistics included."""
    x, y = data or batch(dtype)
    network = getattr(trainer, "network", trainer)
    before = [w.astype("float64") for w in network.get_weights()]
    for _ in range(steps):
        trainer.train_on_batch(x, y)
    return [w - b for w, b in zip(network.get_weights(), before, strict=True)]


def distance(one: list[np.ndarray], other: list[np.ndarray]) -> float:
    """‖Δa − Δb‖ / ‖Δb‖ over the whole net."""
    flat = [np.concatenate([w.ravel() for w in weights]) for weights in (one, other)]
    return float(np.linalg.norm(flat[0] - flat[1]) / np.linalg.norm(flat[1]))


def compiled(trainer: keras.Model, optimizer: keras.optimizers.Optimizer, **how) -> keras.Model:  # noqa: ANN003
    loss = LOSS_FLOAT64 if trainer.dtype_policy.name == "float64" else LOSS
    trainer.compile(optimizer, loss, metrics=["accuracy"], **{"jit_compile": False, **how})
    return trainer


def recorded(
    trainer: keras.Model, x: np.ndarray | tf.Tensor, y: np.ndarray | tf.Tensor, steps: int
) -> list[profiling.Timeline]:
    """`steps` steps after the first two, which trace and make the optimizer's slots."""
    for _ in range(2):
        trainer.train_on_batch(x, y)
    timelines = []
    for _ in range(steps):
        with profiling.trace(trainer) as timeline:
            trainer.train_on_batch(x, y)
        timelines.append(timeline)
    return timelines


def operations_before(tensor: tf.Tensor) -> set[tf.Operation]:
    """What has run in a graph when a tensor is there, its own operation included."""
    before: set[tf.Operation] = set()
    waiting = {tensor.op}
    while waiting:
        operation = waiting.pop()
        before.add(operation)
        earlier = {*operation.control_inputs, *(one.op for one in operation.inputs)}
        waiting |= earlier - before
    return before


def assert_goes_on_after_saving(
    trainer: keras.Model, data: tuple[np.ndarray, np.ndarray], folder: Path
) -> None:
    """A step, and another one after saving and loading, as without."""
    trainer.train_on_batch(*data)
    trainer.save(folder / "trainer.keras")
    loaded = keras.saving.load_model(folder / "trainer.keras")
    for one in (trainer, loaded):
        one.train_on_batch(*data)
    for ours, theirs in zip(loaded.get_weights(), trainer.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def small_network(algorithm: str = "") -> keras.Model:
    """Two hidden layers with a normalisation between, such as the algorithm can train."""
    keras.utils.set_random_seed(0)
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((6,)),
            layers.Dense(16, activation="relu", name="first"),
            normalisation(algorithm),
            *reversible(algorithm, 16),
            layers.Dense(12, activation="relu", name="second"),
            layers.Dense(3, activation="softmax"),
        ]
    )


def blobs(count: int = 240) -> tuple[np.ndarray, np.ndarray]:
    """Three well separated clouds of points, which the last three of six values tell apart."""
    generator = np.random.default_rng(0)
    labels = generator.integers(3, size=count)
    centres = 3 * np.eye(3, 6, 3)
    points = centres[labels] + generator.normal(size=(count, 6))
    return points.astype("float32"), labels.astype("int32")
