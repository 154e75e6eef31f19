"""Bytes of a Keras layer's call, from shapes alone.

The rules follow TensorFlow's graph execution: every layer's output is kept for the backward pass
unless the layer works in place; the backward pass frees it layer by layer, holding the error
signal at the layer's output and at its input, and what the update of its weights takes.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from mem_dfa.shapes.graph_tensors import UnknownBytesError
from mem_dfa.shapes.layer_calls import Call, calls_of_model
from mem_dfa.shapes.traced_layer import traced
from mem_dfa.units import ALLOCATION_UNIT_BYTES

# The gradients of these need their output alone, so TensorFlow overwrites the input with it.
IN_PLACE_ACTIVATIONS = frozenset(
    {"linear", "relu", "relu6", "elu", "selu", "sigmoid", "tanh", "softmax"}
)
# Keras's own layers whose bytes follow from shapes, as measured; every other one is traced.
RESHAPES = frozenset({"Flatten", "Identity", "InputLayer", "Reshape"})
ACTIVATIONS = frozenset({"Activation", "ELU", "ReLU", "Softmax"})
AVERAGES = frozenset({"AveragePooling1D", "AveragePooling2D", "AveragePooling3D"})
MAXIMA = frozenset({"MaxPooling1D", "MaxPooling2D", "MaxPooling3D"})
LINEAR = frozenset({"Conv1D", "Conv2D", "Conv3D", "Dense"})
RULED = (
    frozenset({"Add", "BatchNormalization"}) | RESHAPES | ACTIVATIONS | AVERAGES | MAXIMA | LINEAR
)


@dataclass(frozen=True)
class LayerBytes:
    """What one layer's call holds for one batch.

    Attributes:
        kept_bytes: kept for the backward pass; 0 for a layer that works in place.
        output_bytes: of its output, and of the error signal there.
        weight_bytes: of its trainable weights.
        scratch_bytes: held while its gradient is formed, beside the error signals.
        waiting_bytes: of the error signals at its other inputs, which wait for a branch.
        reads_output: its gradient needs its output, which no layer behind it may overwrite.
        unknown: why these are estimates only, naming the layer; else empty.
        loops: its gradient loops, and TensorFlow works on now more, now fewer steps at once.
    """

    kept_bytes: int
    output_bytes: int
    weight_bytes: int
    scratch_bytes: int = 0
    waiting_bytes: int = 0
    reads_output: bool = True
    unknown: str = ""
    loops: bool = False


def backward_peak_bytes(
    layers: Sequence[LayerBytes],
    weight_copies: int = 2,
    input_error_bytes: int = 0,
    output_bytes: int = 0,
) -> int:
    """The greatest sum while the backward pass goes from the last layer to the first.

    Args:
        layers: in the order in which they run.
        weight_copies: tensors as large as a layer's weights while these are updated: its gradient,
            and the new weights, which TensorFlow writes beside the old ones as long as another
            operation may still read those.
        input_error_bytes: of the error signal at the first layer's input; 0 if none is formed.
        output_bytes: of the last layer's output, if something else needs it; else 0.
    """
    # What works in place has its output counted where the buffer was made.
    holding = [layer for layer in layers if layer.kept_bytes or layer.scratch_bytes]
    kept = sum(layer.kept_bytes for layer in holding)
    peak = kept
    for number in reversed(range(len(holding))):
        layer = holding[number]
        error_at_input = holding[number - 1].output_bytes if number else input_error_bytes
        update = weight_copies * layer.weight_bytes
        # Its own output is still there when its error signal arrives, not when it is passed on.
        peak = max(peak, kept + layer.output_bytes)
        kept -= layer.kept_bytes
        if layer is holding[-1]:
            kept += output_bytes
        peak = max(peak, kept + layer.output_bytes + error_at_input + update + layer.scratch_bytes)
    return peak + max((layer.waiting_bytes for layer in layers), default=0)


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


def bytes_of_calls(calls: Iterable[Call]) -> list[LayerBytes]:
    """What each of consecutive calls holds, in the order in which they run."""
    calls, sizes = list(calls), []
    readers = Counter(id(spec) for call in calls for spec in call.inputs)
    spare: set[int] = set()  # outputs that their own layer does not need
    for call in calls:
        free = [spec for spec in call.inputs if id(spec) in spare and readers[id(spec)] == 1]
        sizes.append(layer_bytes(call, free))
        reshaped = type(call.operation).__name__ in RESHAPES
        if free if reshaped else not sizes[-1].reads_output:
            spare.update(map(id, call.outputs))
    return sizes


def layer_bytes(call: Call, free: Sequence[Any] = ()) -> LayerBytes:
    """What the call of one layer holds.

    Args:
        call: of the layer.
        free: those of its inputs that may be overwritten.
    """
    layer, output = call.operation, sum(map(spec_bytes, call.outputs))
    variables = getattr(layer, "trainable_variables", ())
    weights = sum(tensor_bytes(v.shape, v.dtype) for v in variables)
    if follows_shapes(layer):
        return _by_rule(call, free, output, weights)
    try:
        found = traced(call)
    except UnknownBytesError as error:
        unknown = f"layer '{layer.name}' ({type(layer).__name__}) {error}"
        return LayerBytes(output, output, weights, unknown=unknown)
    kept = found.kept + (0 if found.output_is_input else output)
    inputs = [spec_bytes(spec) for spec in {id(spec): spec for spec in call.inputs}.values()]
    scratch = max(0, found.peak - output - sum(inputs) - weights)
    waiting = sum(inputs) - max(inputs, default=0)
    return LayerBytes(
        kept, output, weights, scratch, waiting, found.reads_output, loops=found.loops
    )


def follows_shapes(layer: Any) -> bool:
    """Whether the bytes of a layer follow from the shapes of its output and weights."""
    kind = type(layer)
    if kind.__name__ not in RULED or not kind.__module__.startswith("keras.src.layers."):
        return False
    plain = (
        layer.compute_dtype == layer.variable_dtype  # else the weights are copied
        and not getattr(layer, "quantization_mode", None)
        and not getattr(layer, "lora_enabled", False)
        and getattr(layer, "groups", 1) == 1
        and getattr(layer, "padding", "") != "causal"
        and set(_flat(getattr(layer, "dilation_rate", 1))) == {1}
        and not getattr(layer, "negative_slope", 0)
    )
    return plain and _activation(layer) in IN_PLACE_ACTIVATIONS


def _activation(layer: Any) -> str:
    return getattr(getattr(layer, "activation", None), "__name__", "linear")


def _by_rule(call: Call, free: Sequence[Any], output: int, weights: int) -> LayerBytes:
    kind, activation = type(call.operation).__name__, _activation(call.operation)
    if kind in RESHAPES or (kind == "Activation" and activation == "linear"):
        return LayerBytes(0, output, 0, reads_output=False)
    if kind == "Add" or kind in ACTIVATIONS:
        in_place = any(spec_bytes(spec) == output for spec in free)
        scratch = output if "softmax" in (activation, kind.lower()) else 0
        return LayerBytes(0 if in_place else output, output, 0, scratch, reads_output=kind != "Add")
    # Keras normalises by several operations, whose gradients are of the input's size each.
    scratch = 2 * output if kind == "BatchNormalization" else 0
    kept = output
    if kind in MAXIMA:  # it keeps a byte for where each maximum was, and reads its output last
        kept, scratch = output + output // 4, output
    scratch += output if activation == "softmax" else 0
    reads_output = kind in MAXIMA or activation != "linear"
    return LayerBytes(kept, output, weights, scratch, reads_output=reads_output)


def _flat(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, (list, tuple)) else (value,)


def spec_bytes(spec: Any) -> int:
    """Bytes of a tensor of which shape and dtype are given."""
    return tensor_bytes(spec.shape, spec.dtype)


def tensor_bytes(shape: Iterable[int | None], dtype: str) -> int:
    """Bytes of a tensor in whole allocation units.

    Raises:
        ValueError: the shape is not known.
    """
    sizes = tuple(shape)
    known = [size for size in sizes if size is not None]
    if len(known) < len(sizes):
        raise ValueError(f"Received a tensor of shape {sizes}; give the model's Input its shape.")
    nbytes = raw_bytes(known, dtype)
    return -(-nbytes // ALLOCATION_UNIT_BYTES) * ALLOCATION_UNIT_BYTES


def raw_bytes(shape: Iterable[int], dtype: str) -> int:
    """Bytes of a tensor's values alone."""
    from tensorflow import as_dtype

    return math.prod(shape) * as_dtype(dtype).size


def variable_bytes(variables: Iterable[Any]) -> int:
    """Bytes of the values of `variables`."""
    return sum(raw_bytes(variable.shape, variable.dtype) for variable in variables)


def backpropagation_bytes(model: Any, batch_size: int) -> int:
    """Step bytes of plain backpropagation on a Sequential or functional model.

    Raises:
        UnknownBytesError: the model is neither, or it is not known what a layer keeps.
    """
    layers = bytes_of_calls(calls_of_model(model, batch_size))
    unknown = next((layer.unknown for layer in layers if layer.unknown), None)
    if unknown:
        raise UnknownBytesError(unknown)
    return backward_peak_bytes(layers)


def looping_layer(model: Any, batch_size: int) -> Any | None:
    """The first layer that loops, whose weights' gradients TensorFlow adds up with some delay."""
    calls = list(calls_of_model(model, batch_size))
    sizes = zip(calls, bytes_of_calls(calls), strict=True)
    return next((call.operation for call, layer in sizes if layer.loops), None)
