"""What a program holds before a step: its variables and tensors, with their addresses."""

from __future__ import annotations

import ctypes
import gc
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from mem_dfa.profiling.words import FEEDBACK, INPUT, OPTIMIZER_STATE, PARAMETER, RESIDENT

_BLOCK = re.compile(r"block_\d+(_to_\d+)?$")
_POINTER = ctypes.pythonapi.PyCapsule_GetPointer
_POINTER.restype = ctypes.c_void_p
_POINTER.argtypes = [ctypes.py_object, ctypes.c_char_p]


@dataclass(frozen=True, slots=True)
class Held:
    """A tensor that Python holds.

    Attributes:
        address: of its first byte, as in the allocator's events.
        nbytes: by shape and dtype.
        shape: such as "[3,3,16]".
        dtype: such as "float32".
        name: the variable's path; "" for a tensor.
        layer: the layer it belongs to; "" where there is none.
        block: the block its path names, as `feedback_block_004` does; "" where it names none.
        category: parameter, optimizer state, feedback, input or resident.
    """

    address: int
    nbytes: int
    shape: str
    dtype: str
    name: str
    layer: str
    block: str
    category: str


@dataclass(frozen=True)
class Names:
    """What a model calls its parts.

    Attributes:
        layers: names of its layers, nested models opened; without a model none, and the path's
            numbered part nearest to the operation is taken for the layer.
        optimizers: names of its optimizers, beside those that Keras gives by default.
        variables: shape and layer of each trainable variable, such as ("[5,5,3,16]", "conv_1"), in
            the optimizer's order.
    """

    layers: frozenset[str] = frozenset()
    optimizers: frozenset[str] = frozenset()
    variables: tuple[tuple[str, str], ...] = ()


def leaf_layers(model: Any) -> list[Any]:
    """The layers of a Keras model, those of nested models included, models left out."""
    import keras

    layers = model._flatten_layers(include_self=False, recursive=True)
    return [layer for layer in layers if not isinstance(layer, keras.Model)]


def names_of(model: Any, optimizer: Any = None) -> Names:
    """What `model` calls its parts, see `Names`; an empty one for no model."""
    if model is None:
        return Names()
    layers = leaf_layers(model)
    owner = {id(v): layer.name for layer in layers for v in layer.variables}
    optimizer = optimizer or getattr(model, "optimizer", None)
    return Names(
        layers=frozenset(layer.name for layer in layers),
        optimizers=frozenset() if optimizer is None else frozenset({optimizer.name.lower()}),
        variables=tuple(
            (shape_text(v.shape), owner.get(id(v), "")) for v in model.trainable_variables
        ),
    )


def held(model: Any = None, optimizer: Any = None) -> list[Held]:
    """Every variable of the model and its optimizer, then every other tensor Python holds.

    A tensor that no variable owns is an input: a batch, a label, whatever the program keeps at
    hand for the step. Each address comes once.
    """
    found: dict[int, Held] = {}
    for item in (*_variables(model, optimizer), *_tensors()):
        found.setdefault(item.address, item)
    return list(found.values())


def _variables(model: Any, optimizer: Any) -> Iterator[Held]:
    if model is None:
        return
    optimizer = optimizer or getattr(model, "optimizer", None)
    layers = leaf_layers(model)
    owner = {id(v): layer.name for layer in layers for v in layer.variables}
    state = [] if optimizer is None else optimizer.variables
    seen = {id(v) for v in state}
    for variable in model.variables:
        if id(variable) in seen:
            continue
        is_feedback = "feedback" in variable.path
        layer = owner.get(id(variable)) or _layer_in(variable.path, layers)
        yield from _held(
            variable.value, variable.path, layer, FEEDBACK if is_feedback else PARAMETER
        )
    for variable in state:
        layer = _layer_in(variable.path, layers)
        yield from _held(variable.value, variable.path, layer, OPTIMIZER_STATE)
    for variable in getattr(model, "metrics_variables", ()):
        yield from _held(variable.value, variable.path, "", RESIDENT)


def _layer_in(path: str, layers: list[Any]) -> str:
    """The layer that a variable made for it is named after: `adam/conv_1_kernel_momentum`."""
    matches = [layer.name for layer in layers if layer.name in path]
    return max(matches, key=len, default="")


def _tensors() -> Iterator[Held]:
    import tensorflow as tf

    for item in gc.get_objects():
        try:
            has_buffer = isinstance(item, tf.Tensor) and hasattr(item, "_numpy")
        except Exception:  # a weak proxy of what is gone, or what answers for something else
            continue
        if has_buffer:
            yield from _held(item, "", "", INPUT)


def _held(tensor: Any, name: str, layer: str, category: str) -> Iterator[Held]:
    import tensorflow as tf

    try:
        value = tensor.read_value() if isinstance(tensor, tf.Variable) else tensor
        if value.dtype in (tf.string, tf.resource, tf.variant):
            return
        capsule = tf.experimental.dlpack.to_dlpack(value)
    except Exception:  # a tensor without a buffer that can be shared, such as a deleted one
        return
    # The first field of a DLPack tensor is its data pointer.
    struct = ctypes.cast(_POINTER(capsule, b"dltensor"), ctypes.POINTER(ctypes.c_void_p))
    address = struct[0]
    if address:
        nbytes = math.prod(value.shape) * value.dtype.size
        block = _BLOCK.search(name)
        yield Held(
            address,
            nbytes,
            shape_text(value.shape),
            value.dtype.name,
            name,
            layer,
            block.group() if block else "",
            category,
        )


def shape_text(shape: Any) -> str:
    """A shape as the allocator's events write it, such as "[3,3,16]"."""
    return f"[{','.join(str(size) for size in shape)}]"
