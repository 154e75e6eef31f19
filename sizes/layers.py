"""Bytes of a Keras layer's call, from shapes alone; the one thing that both packages share.

The rules follow TensorFlow's graph execution: every layer's output is kept for the backward pass
unless the layer works in place; the backward pass frees it layer by layer, holding the error
signal at the layer's output and at its input, and what the update of its weights takes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

# BFC hands out whole units of this many bytes.
ALLOCATION_UNIT_BYTES = 256

# The gradients of these need their output alone, so TensorFlow overwrites the input with it.
IN_PLACE_ACTIVATIONS = frozenset(
    {"linear", "relu", "relu6", "elu", "selu", "leaky_relu", "sigmoid", "tanh", "softmax"}
)
IN_PLACE_LAYERS = frozenset(
    {"Add", "ELU", "Flatten", "Identity", "InputLayer", "LeakyReLU", "ReLU", "Reshape", "Softmax"}
)


@dataclass(frozen=True)
class LayerBytes:
    """What one layer's call holds for one batch.

    Attributes:
        kept_bytes: kept for the backward pass; 0 for a layer that works in place.
        output_bytes: of its output, and of the error signal there.
        weight_bytes: of its trainable weights.
        scratch_bytes: held while its gradient is formed, beside the error signals.
    """

    kept_bytes: int
    output_bytes: int
    weight_bytes: int
    scratch_bytes: int = 0


def backward_peak_bytes(
    layers: Sequence[LayerBytes], weight_copies: int = 2, input_error_bytes: int = 0
) -> int:
    """The greatest sum while the backward pass goes from the last layer to the first.

    Args:
        layers: in the order in which they run.
        weight_copies: tensors as large as a layer's weights while these are updated: its gradient,
            and the new weights, which TensorFlow writes beside the old ones as long as another
            operation may still read those.
        input_error_bytes: of the error signal at the first layer's input; 0 if none is formed.
    """
    # What works in place has its output counted where the buffer was made.
    holding = [layer for layer in layers if layer.kept_bytes]
    kept = sum(layer.kept_bytes for layer in holding)
    peak = kept
    for number in reversed(range(len(holding))):
        layer = holding[number]
        error_at_input = holding[number - 1].output_bytes if number else input_error_bytes
        update = weight_copies * layer.weight_bytes
        # Its own output is still there when its error signal arrives, not when it is passed on.
        peak = max(peak, kept + layer.output_bytes)
        kept -= layer.kept_bytes
        peak = max(peak, kept + layer.output_bytes + error_at_input + update + layer.scratch_bytes)
    return peak


def forward_peak_bytes(layers: Sequence[LayerBytes], input_bytes: int) -> int:
    """The greatest sum while layers run of which nothing is kept for a backward pass.

    Args:
        layers: in the order in which they run.
        input_bytes: of the first layer's input.
    """
    peak = input_bytes
    for layer in layers:
        if layer.kept_bytes:  # what works in place has its output counted where it was made
            peak, input_bytes = max(peak, input_bytes + layer.kept_bytes), layer.output_bytes
    return peak


def operations_of(model: Any) -> Iterable[Any]:
    """The layers of a functional model in an order in which they run, nested models opened.

    Raises:
        ValueError: the model has no such graph, as a subclassed one.
    """
    inner = getattr(model, "_functional", None) or model  # what a Sequential is made of
    if not hasattr(inner, "_nodes_by_depth"):
        raise ValueError(
            f"Model {model.name!r} is no Sequential or functional model, so its layers' shapes "
            "are not known beforehand; measure it instead."
        )
    for depth in sorted(inner._nodes_by_depth, reverse=True):
        for node in inner._nodes_by_depth[depth]:
            yield from opened(node.operation)


def opened(operation: Any) -> Iterable[Any]:
    """An operation with those inside it, where it is a model or made of models."""
    if _has_graph(operation):
        yield from operations_of(operation)
        return
    # A layer that is made of models, as a reversible block is.
    for part in getattr(operation, "_layers", ()):
        if _has_graph(part):
            yield from operations_of(part)
    yield operation


def _has_graph(operation: Any) -> bool:
    return hasattr(operation, "_nodes_by_depth") or hasattr(operation, "_functional")


def layer_bytes(operation: Any, batch_size: int) -> LayerBytes:
    """What one layer holds for a batch, from the shapes its graph was built with."""
    outputs = [tensor_bytes((batch_size, *t.shape[1:]), t.dtype) for t in _outputs(operation)]
    output = sum(outputs)
    kept = 0 if type(operation).__name__ in IN_PLACE_LAYERS else output
    activation = getattr(operation, "activation", None)
    name = getattr(activation, "__name__", "linear")
    if type(operation).__name__ == "Activation":
        kept = 0 if name in IN_PLACE_ACTIVATIONS else output
    elif name not in IN_PLACE_ACTIVATIONS:
        kept += output  # the activation's input is needed as well
    # A layer made of models has its weights counted in these.
    parts = any(map(_has_graph, getattr(operation, "_layers", ())))
    weights = [] if parts else getattr(operation, "trainable_variables", [])
    # Keras normalises by several operations, whose gradients are of the input's size each.
    scratch = 2 * output if type(operation).__name__ == "BatchNormalization" else 0
    weight_bytes = sum(tensor_bytes(v.shape, v.dtype) for v in weights)
    return LayerBytes(kept, output, weight_bytes, scratch)


def _outputs(operation: Any) -> list[Any]:
    output = operation.output
    return list(output) if isinstance(output, (list, tuple)) else [output]


def tensor_bytes(shape: Iterable[int | None], dtype: str) -> int:
    """Bytes of a tensor in whole allocation units.

    Raises:
        ValueError: the shape is not known.
    """
    from tensorflow import as_dtype

    sizes = tuple(shape)
    if None in sizes:
        raise ValueError(f"Received a tensor of shape {sizes}; give the model's Input its shape.")
    nbytes = math.prod(sizes) * as_dtype(dtype).size
    return -(-nbytes // ALLOCATION_UNIT_BYTES) * ALLOCATION_UNIT_BYTES


def backpropagation_bytes(model: Any, batch_size: int) -> int:
    """Step bytes of plain backpropagation on a Sequential or functional model."""
    return backward_peak_bytes([layer_bytes(op, batch_size) for op in operations_of(model)])
