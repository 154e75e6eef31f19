"""Models, data and algorithms of the user's own, and batches that suit a model. Uses TensorFlow."""

import functools
import hashlib
import importlib
import inspect
import sys
import types
from collections.abc import Callable
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from mem_dfa.experiments.cells.cell import Cell
from mem_dfa.experiments.measure.refusing import RefusedError, refusing

SPARSE = (keras.losses.SparseCategoricalCrossentropy,)
ONE_HOT = (
    keras.losses.CategoricalCrossentropy,
    keras.losses.CategoricalFocalCrossentropy,
    keras.losses.KLDivergence,
    keras.losses.CategoricalHinge,
)
BINARY = (
    keras.losses.BinaryCrossentropy,
    keras.losses.BinaryFocalCrossentropy,
    keras.losses.Hinge,
    keras.losses.SquaredHinge,
)


def named(text: str, option: str) -> Any:
    """What ``package.module:name`` or ``file.py:name`` stands for; RefusedError if nothing does."""
    place, _, name = text.rpartition(":")
    remedy = "give package.module:name with the module on Python's path, or file.py:name"
    with refusing(f"{option} {text!r} cannot be imported; {remedy}"):
        is_file = place.endswith(".py")
        module = _module_of(Path(place).resolve()) if is_file else importlib.import_module(place)
        return getattr(module, name)


@functools.cache
def _module_of(path: Path) -> types.ModuleType:
    """The module in a file, run once; files of one name in two folders are two modules."""
    name = f"{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))  # for what it imports itself
    module = types.ModuleType(name)
    module.__file__ = str(path)
    SourceFileLoader(name, str(path)).exec_module(module)
    sys.modules[name] = module
    return module


def model(cell: Cell) -> keras.Model:
    """The user's model of a cell, built.

    Raises:
        RefusedError: there is none, it cannot be loaded safely, or it is not built.
    """
    said = f"--model {cell.model!r}"
    if cell.model.endswith(".keras"):
        if cell.layers is not None:
            raise RefusedError(
                f"{said} is a file, whose layers are fixed: leave out --layers and --over layers"
            )
        remedy = "give file.py:function that makes it, or save it without Lambda and own classes"
        with refusing(f"{said} cannot be loaded in Keras's safe mode; {remedy}"):
            found = keras.models.load_model(cell.model, safe_mode=True)
    else:
        make = named(cell.model, "--model")
        if not callable(make) or isinstance(make, keras.Model):
            raise RefusedError(f"{said} is no function that returns a keras.Model")
        with refusing(f"{said} failed"):
            found = make(**_given(make, cell, said))
    if not isinstance(found, keras.Model):
        kind = type(found).__name__
        raise RefusedError(f"{said} gave {kind}; return a built keras.Model")
    if not found.built or not getattr(found, "inputs", None):
        raise RefusedError(f"{said} gave a model that is not built; begin it with a keras.Input")
    return found


def _given(make: Callable[..., Any], cell: Cell, said: str) -> dict[str, Any]:
    """Of what a cell says that which the function has parameters for."""
    known = {"layers": cell.layers, "input_shape": cell.input_shape, "seed": cell.seed}
    known["classes"] = cell.classes
    taken = inspect.signature(make).parameters
    if cell.layers is not None and "layers" not in taken:
        raise RefusedError(
            f"{said} takes no layers: give it such a parameter, or leave out --layers and "
            "--over layers"
        )
    return {name: known[name] for name in taken if known.get(name) is not None}


def loss_of(network: keras.Model) -> keras.losses.Loss:
    """What a model was compiled with; else what its output suits."""
    if network.compiled and network.loss is not None:
        loss = network.loss
        if isinstance(loss, (list, tuple, dict)):
            return keras.tree.map_structure(keras.losses.get, loss)
        return keras.losses.get(loss)
    last = network.layers[-1]
    activation = getattr(getattr(last, "activation", None), "__name__", type(last).__name__.lower())
    units = network.outputs[0].shape[-1]
    if activation == "softmax":
        return keras.losses.SparseCategoricalCrossentropy()
    if activation == "sigmoid":
        return keras.losses.BinaryCrossentropy()
    if units and units > 1 and activation in ("linear", "dense"):
        return keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    return keras.losses.MeanSquaredError()


def has_classes(loss: Any) -> bool:
    """Whether an accuracy means something beside a loss."""
    return isinstance(loss, (*SPARSE, *ONE_HOT, *BINARY))


def batch(network: keras.Model, cell: Cell) -> tuple[Any, Any]:
    """Inputs and labels of a model's own shapes and dtypes, in NumPy's memory.

    Whole numbers are below the least ``input_dim`` of the model's embeddings.

    Raises:
        RefusedError: a shape is not fixed.
    """
    numbers = np.random.default_rng(cell.seed)
    layers = network._flatten_layers()
    embeddings = [one.input_dim for one in layers if isinstance(one, keras.layers.Embedding)]

    def drawn(tensor: keras.KerasTensor) -> np.ndarray:
        if None in tensor.shape[1:]:
            raise RefusedError(
                f"--model {cell.model!r} takes inputs of shape {tuple(tensor.shape)}; give its "
                "Input all sizes but the batch's, or batches by --data"
            )
        shape = (cell.batch_size, *tensor.shape[1:])
        if np.issubdtype(tensor.dtype, np.integer):
            return numbers.integers(min(embeddings, default=2), size=shape).astype(tensor.dtype)
        return numbers.standard_normal(shape).astype(tensor.dtype)

    structure = getattr(network, "_inputs_struct", network.inputs)
    inputs = keras.tree.map_structure(drawn, structure)
    if isinstance(inputs, (list, tuple)) and len(inputs) == 1:
        inputs = inputs[0]
    outputs = getattr(network, "_outputs_struct", network.outputs[0])
    losses = loss_of(network)
    if keras.tree.is_nested(losses):
        return inputs, keras.tree.map_structure(
            lambda one, out: _labels(one, out, cell, numbers), losses, outputs
        )
    return inputs, _labels(losses, network.outputs[0], cell, numbers)


def _labels(
    loss: keras.losses.Loss, output: keras.KerasTensor, cell: Cell, numbers: np.random.Generator
) -> np.ndarray:
    shape = (cell.batch_size, *(size or 1 for size in output.shape[1:]))
    name = type(loss).__name__ if isinstance(loss, keras.losses.Loss) else loss.__name__
    if isinstance(loss, SPARSE) or name.startswith("sparse_categorical"):
        return numbers.integers(shape[-1], size=shape[:-1]).astype("int32")
    if isinstance(loss, ONE_HOT) or name.startswith("categorical"):
        return np.eye(shape[-1], dtype="float32")[numbers.integers(shape[-1], size=shape[:-1])]
    if isinstance(loss, BINARY) or name.startswith("binary"):
        return numbers.integers(2, size=shape).astype("float32")
    return numbers.standard_normal(shape).astype("float32")


def data(cell: Cell) -> tuple[tf.data.Dataset, tf.data.Dataset | None]:
    """Batches of the user's own, of training and, if there are any, of tests.

    The function gives one ``tf.data.Dataset`` or two. Where it takes ``batch_size`` they are of
    batches, else of examples.

    Raises:
        RefusedError: it is no such function.
    """
    make = named(cell.dataset, "--data")
    takes_size = callable(make) and "batch_size" in inspect.signature(make).parameters
    with refusing(f"--data {cell.dataset!r} failed"):
        made = make(batch_size=cell.batch_size) if takes_size else make()
    sets = list(made) if isinstance(made, (list, tuple)) else [made]
    if not 1 <= len(sets) <= 2 or not all(isinstance(one, tf.data.Dataset) for one in sets):
        raise RefusedError(f"--data {cell.dataset!r} gave no tf.data.Dataset, or pair of them")
    if not takes_size:
        sets = [one.batch(cell.batch_size, drop_remainder=True) for one in sets]
    return sets[0], sets[1] if len(sets) == 2 else None


def refuse_unlike(network: keras.Model, cell: Cell) -> None:
    """RefusedError where the batches of ``--data`` are of another size than the model takes.

    Keras would run the layers on them all the same, which makes another net.
    """
    given = keras.tree.flatten(keras.utils.unpack_x_y_sample_weight(data(cell)[0].element_spec)[0])
    taken = getattr(network, "inputs", None) or []
    if len(given) != 1 or len(taken) != 1 or given[0].shape.rank != len(taken[0].shape):
        return
    sizes, wanted = given[0].shape[1:], tf.TensorShape(taken[0].shape[1:])
    if not sizes.is_compatible_with(wanted):
        raise RefusedError(
            f"--data {cell.dataset!r} gives examples of shape {tuple(sizes)}, and model "
            f"{cell.model!r} takes {tuple(wanted)}: change one of both"
        )
