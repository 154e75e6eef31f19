"""From a cell to a trainer that is ready to run. Imports TensorFlow."""

import ast
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from mem_dfa.experiments.cells import catalogue
from mem_dfa.experiments.cells.cell import Cell
from mem_dfa.experiments.measure import own
from mem_dfa.experiments.measure.refusing import OUT_OF_MEMORY as OUT_OF_MEMORY
from mem_dfa.experiments.measure.refusing import RefusedError as RefusedError
from mem_dfa.experiments.measure.refusing import one_line as one_line
from mem_dfa.experiments.measure.refusing import refusing as refusing

import mem_dfa
from mem_dfa import registry
from mem_dfa.data import batches
from mem_dfa.optimizers import Adam8Bit, LowRankAdam

LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


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
    algorithm = own.named(name, "--algo")
    if not (isinstance(algorithm, type) and issubclass(algorithm, keras.Model)):
        raise RefusedError(f"--algo {name!r} is no class derived from keras.Model")
    return algorithm


def build_trainer(cell: Cell) -> keras.Model:
    """The cell's network inside its compiled algorithm; all weights from the cell's seed.

    RefusedError where the model cannot be built so, or the algorithm cannot train it.
    """
    keras.utils.set_random_seed(cell.seed)
    network = _network(cell)
    if catalogue.is_own(cell.dataset):
        own.refuse_unlike(network, cell)
    if cell.algorithm == catalogue.AS_COMPILED:
        if not network.compiled:
            raise RefusedError(
                f"--model {cell.model!r} is not compiled, which {catalogue.AS_COMPILED} needs; "
                "compile it, or name an algorithm"
            )
        return network
    algorithm = load_algorithm(cell.algorithm)
    options: dict[str, Any] = dict(cell.options)
    if ":" in cell.algorithm:
        options = {name: _literal(value) for name, value in options.items()}
    if {"budget", "groups"} & set(options):
        options["batch_size"] = cell.batch_size
    with refusing(f"algorithm '{cell.algorithm}' cannot train model '{cell.model}'"):
        trainer = algorithm(network, seed=cell.seed, **options)
        compile_trainer(trainer, cell, own.loss_of(network) if _is_own(cell) else LOSS)
    return trainer


def _is_own(cell: Cell) -> bool:
    return catalogue.is_own_model(cell.model)


def _literal(value: int | float | str) -> Any:
    """What an option of a user's own class is: a number or the like, else a text."""
    try:
        return ast.literal_eval(str(value))
    except (ValueError, SyntaxError):
        return value


def _network(cell: Cell) -> keras.Model:
    if _is_own(cell):
        return own.model(cell)
    depth = "all layers" if cell.layers is None else f"--layers {cell.layers}"
    size = f"{depth} on images of {cell.input_shape}"
    remedy = "take fewer layers or another --dataset"
    with refusing(f"model '{cell.model}' cannot be built with {size}; {remedy}"):
        names = ("input_shape", "classes", "layers", "seed")
        return mem_dfa.MODELS[cell.model](**{name: getattr(cell, name) for name in names})


def compile_trainer(trainer: keras.Model, cell: Cell, loss: Any = LOSS) -> None:
    """Gives the trainer the cell's optimizer and way to execute."""
    trainer.compile(
        optimizer=_optimizer(cell),
        loss=loss,
        metrics=["accuracy"] if own.has_classes(loss) else [],
        jit_compile=cell.execution == "xla",
        run_eagerly=cell.execution == "eager",
    )


def _optimizer(cell: Cell) -> keras.optimizers.Optimizer:
    name, rate = cell.optimizer, cell.learning_rate
    match name:
        case "stepped_momentum":
            return _stepped_momentum(cell)
        case "momentum":
            return keras.optimizers.SGD(rate, momentum=0.9)
        case "adam_8bit":
            return Adam8Bit(rate)
        case "low_rank_adam":
            return LowRankAdam(rate)
    return keras.optimizers.get({"class_name": name, "config": {"learning_rate": rate}})


def _stepped_momentum(cell: Cell) -> keras.optimizers.Optimizer:
    """As in the RevNet code: a tenth of the rate after half of all steps and after three quarters.

    Kernels alone decay (Gomez et al., arXiv 1707.04585).
    """
    rate: Any = cell.learning_rate
    if cell.epochs:
        if catalogue.is_own(cell.dataset):
            raise RefusedError(
                f"--optimizer {cell.optimizer} has to know how many steps there will be, which "
                f"--data {cell.dataset!r} does not tell: take momentum"
            )
        steps = cell.epochs * len(batches.load(split="train", **_data(cell)))
        rates = [rate, rate / 10, rate / 100]
        borders = [steps // 2, 3 * steps // 4]
        rate = keras.optimizers.schedules.PiecewiseConstantDecay(borders, rates)
    # Theirs, 2e-4, is added to the gradient, which momentum makes ten times as much.
    optimizer = keras.optimizers.SGD(rate, momentum=0.9, weight_decay=2e-3)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer


def _data(cell: Cell) -> dict[str, Any]:
    names = ("batch_size", "data_dir", "seed", "input_shape", "classes")
    return {"name": cell.dataset, **{name: getattr(cell, name) for name in names}}


def first_batch(cell: Cell) -> tuple[Any, Any]:
    """One training batch, outside of TensorFlow's memory."""
    if catalogue.is_own(cell.dataset):
        found = next(own.data(cell)[0].as_numpy_iterator(), None)
        if found is None:
            raise RefusedError(
                f"--data {cell.dataset!r} gave no batch of {cell.batch_size}: give more examples, "
                "or a smaller --batch-size"
            )
        return keras.tree.map_structure(np.array, found)
    if _is_own(cell) and cell.dataset == "synthetic":
        found = own.batch(own.model(cell), cell)
        keras.backend.clear_session(free_memory=True)
        return found
    return batches.batch(**_data(cell))


def splits(cell: Cell) -> tuple[tf.data.Dataset, tf.data.Dataset]:
    """The training and the test batches."""
    if catalogue.is_own(cell.dataset):
        train, test = own.data(cell)
        if test is None:
            raise RefusedError(
                f"--data {cell.dataset!r} gave no second tf.data.Dataset, to test on, which "
                "--epochs needs"
            )
        return train, test
    if _is_own(cell) and cell.dataset == "synthetic":
        raise RefusedError(f"--epochs needs data to train --model {cell.model!r} on: give --data")
    return batches.load(split="train", **_data(cell)), batches.load(split="test", **_data(cell))


def held(batch: tuple[Any, Any]) -> tuple[Any, Any]:
    """A batch that lies on the device for as long as it is referenced."""
    # A constant may lie in NumPy's own memory, which the allocator does not count; a copy does not.
    return keras.tree.map_structure(lambda one: tf.raw_ops.DeepCopy(x=tf.constant(one)), batch)
