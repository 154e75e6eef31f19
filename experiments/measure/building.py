"""From a cell to a trainer that is ready to run. Imports TensorFlow."""

import contextlib
import pkgutil
import re
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from mem_dfa.experiments.cells import catalogue
from mem_dfa.experiments.cells.cell import Cell

import mem_dfa
from mem_dfa import registry
from mem_dfa.data import batches

OUT_OF_MEMORY = (tf.errors.ResourceExhaustedError, MemoryError)


class RefusedError(ValueError):
    """What the user asked for cannot be done: one sentence."""


def one_line(error: BaseException) -> str:
    """What went wrong, on one line and no longer than a screen can show."""
    # TensorFlow and Keras put the places in the code around it.
    around = r'\s*(File "|Detected at|Graph execution error|\[\[|\[Op:|Hint:)'
    lines = [line for line in str(error).splitlines() if not re.match(around, line)]
    text = re.sub(r"\x1b\[[0-9;]*m", "", " ".join(" ".join(lines).split()))
    text = re.sub(r"^(Exception encountered when calling \S+ |{{.*?}} )", "", text)
    text = text.split(" Arguments received by ")[0] or type(error).__name__
    return text if len(text) <= 400 else f"{text[:400]}..."


@contextlib.contextmanager
def refusing(sentence: str) -> Iterator[None]:
    """Refuses with a sentence and what went wrong in the block, unless that is lack of memory."""
    try:
        yield
    except (*OUT_OF_MEMORY, batches.DataMissingError):
        raise
    except Exception as error:  # what is the user's own may fail in any way
        kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
        raise RefusedError(f"{sentence}: {kind}{one_line(error)}") from error


def resolve_device(device: str) -> str:
    """The TensorFlow name, such as "GPU:0", of what was asked for."""
    if device not in ("auto", "cpu", "gpu"):
        return device
    gpus = tf.config.list_physical_devices("GPU")
    if device == "gpu" and not gpus:
        raise RefusedError(
            "--device gpu: TensorFlow finds no GPU on this machine; take --device cpu, or install "
            "the GPU's driver and tensorflow[and-cuda]"
        )
    return "GPU:0" if gpus and device != "cpu" else "CPU:0"


def set_up_gpus(memory_bytes: int | None) -> None:
    """Lets a GPU's memory grow by need, or takes a limit whole; the CPU's is in the environment."""
    for gpu in tf.config.list_physical_devices("GPU"):
        if memory_bytes is None:
            tf.config.experimental.set_memory_growth(gpu, True)
        else:
            logical = tf.config.LogicalDeviceConfiguration(memory_limit=memory_bytes // 2**20)
            tf.config.set_logical_device_configuration(gpu, [logical])


def load_algorithm(name: str) -> Callable[..., keras.Model]:
    """The class of an algorithm, by its key or as package.module:Class."""
    if ":" not in name:
        return {**registry.ALGORITHMS, **catalogue.PEERS}[name].load()
    remedy = "give package.module:Class with the module on Python's path"
    with refusing(f"--algo {name!r} cannot be imported; {remedy}"):
        algorithm = pkgutil.resolve_name(name)
    if not (isinstance(algorithm, type) and issubclass(algorithm, keras.Model)):
        raise RefusedError(f"--algo {name!r} is no class derived from keras.Model")
    return algorithm


def build_trainer(cell: Cell) -> keras.Model:
    """The cell's network inside its compiled algorithm; all weights from the cell's seed.

    RefusedError where the model cannot be built so, or the algorithm cannot train it.
    """
    keras.utils.set_random_seed(cell.seed)
    algorithm = load_algorithm(cell.algorithm)
    depth = "all layers" if cell.layers is None else f"--layers {cell.layers}"
    size = f"{depth} on images of {cell.input_shape}"
    remedy = "take fewer layers or another --dataset"
    with refusing(f"model '{cell.model}' cannot be built with {size}; {remedy}"):
        names = ("input_shape", "classes", "layers", "seed")
        network = mem_dfa.MODELS[cell.model](**{name: getattr(cell, name) for name in names})
    options = dict(cell.options)
    if "budget" in options:
        options["batch_size"] = cell.batch_size
    with refusing(f"algorithm '{cell.algorithm}' cannot train model '{cell.model}'"):
        trainer = algorithm(network, seed=cell.seed, **options)
        compile_trainer(trainer, cell)
    return trainer


def compile_trainer(trainer: keras.Model, cell: Cell) -> None:
    """Gives the trainer the cell's optimizer and way to execute."""
    name, rate = cell.optimizer, {"learning_rate": cell.learning_rate}
    if name == "momentum":
        name, rate = "sgd", rate | {"momentum": 0.9}
    trainer.compile(
        optimizer=keras.optimizers.get({"class_name": name, "config": rate}),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        jit_compile=cell.execution == "xla",
        run_eagerly=cell.execution == "eager",
    )


def _data(cell: Cell) -> dict[str, Any]:
    names = ("batch_size", "data_dir", "seed", "input_shape", "classes")
    return {"name": cell.dataset, **{name: getattr(cell, name) for name in names}}


def first_batch(cell: Cell) -> tuple[np.ndarray, np.ndarray]:
    """One training batch, outside of TensorFlow's memory."""
    return batches.batch(**_data(cell))


def splits(cell: Cell) -> tuple[tf.data.Dataset, tf.data.Dataset]:
    """The training and the test batches."""
    return batches.load(split="train", **_data(cell)), batches.load(split="test", **_data(cell))


def held(batch: tuple[np.ndarray, np.ndarray]) -> tuple[tf.Tensor, tf.Tensor]:
    """A batch that lies on the device for as long as it is referenced."""
    images, labels = batch
    # A constant may lie in NumPy's own memory, which the allocator does not count; a copy does not.
    return tf.raw_ops.DeepCopy(x=tf.constant(images)), tf.raw_ops.DeepCopy(x=tf.constant(labels))
