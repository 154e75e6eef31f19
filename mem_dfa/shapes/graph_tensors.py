"""Bytes of the tensors of a graph, and of what its loops put into lists."""

from __future__ import annotations

from typing import Any

import numpy as np

# These hand their input on as it is.
ALIASES = frozenset(
    {"ExpandDims", "Identity", "PreventGradient", "Reshape", "Squeeze", "StopGradient"}
)
# What they give is there before the passes.
OUTSIDE = ("Placeholder", "ReadVariableOp")
LOOPS = ("StatelessWhile", "While")


class UnknownBytesError(ValueError):
    """What a layer holds cannot be told from shapes."""


def root(tensor: Any) -> Any:
    """A key for the memory that a tensor lies in."""
    while tensor.op.type in ALIASES:
        tensor = tensor.op.inputs[0]
    if tensor.op.type in LOOPS and is_list(tensor):  # what a loop's lists hold counts together
        tensor = next(output for output in tensor.op.outputs if is_list(output))
    return tensor.ref()


def is_list(tensor: Any) -> bool:
    """Whether a tensor stands for a list of them."""
    return tensor.dtype.name == "variant"


def size_of(tensor: Any) -> int:
    """Bytes of a tensor, or of all that the lists of a loop hold."""
    kind = tensor.op.type
    if tensor.dtype.name == "resource" or kind in OUTSIDE:
        return 0
    if not is_list(tensor):
        count = tensor.shape.num_elements()
        if count is None:
            raise UnknownBytesError(f"makes a tensor of shape {tensor.shape} inside")
        return count * tensor.dtype.size
    if kind in LOOPS:
        return _loop_bytes(tensor.op)
    if kind == "TensorListFromTensor":
        return size_of(tensor.op.inputs[0])
    if kind in ("EmptyTensorList", "TensorListReserve", "Placeholder", "ZerosLike"):
        return 0  # what is put in counts where it is
    if getattr(tensor.graph, "_while", None):
        return 0  # in a loop, of which they count together
    raise UnknownBytesError(f"keeps the result of an operation of kind {kind}")


def _loop_bytes(loop: Any) -> int:
    """What the lists that a loop fills hold after its last step."""
    body = body_of(loop)
    results = dict(zip(map(root, body.inputs), map(root, body.outputs), strict=False))
    put: dict[Any, int] = {}
    for output in filter(is_list, body.outputs):
        for item, copies in _put(root(output).deref().op):
            # What one step starts from is what the step before it ended in.
            place = results.get(root(item), root(item))
            put[place] = max(put.get(place, 0), copies * size_of(place.deref()))
    return _steps(loop) * sum(put.values()) if any(put.values()) else 0


def _put(maker: Any) -> list[tuple[Any, int]]:
    """What one step of a loop puts into a list, and how many copies of the list are alive."""
    if maker.type == "TensorListPushBack":
        return [(maker.inputs[1], 1)]
    if maker.type == "TensorListSetItem":
        return [(maker.inputs[2], 1)]
    if maker.type == "AddN":  # the sum is another list
        makers = [root(tensor).deref().op for tensor in maker.inputs]
        return [(item, 2) for part in makers for item, _ in _put(part)]
    if maker.type in ("Placeholder", "TensorListPopBack", "ZerosLike"):
        return []
    raise UnknownBytesError(f"has a loop that makes a list by {maker.type}")


def _steps(loop: Any) -> int:
    """How often the body of a loop runs."""
    from tensorflow import get_static_value

    most = root(loop.inputs[1]).deref()
    if most.op.type in LOOPS:  # the loop whose gradient this one is
        return _steps(most.op)
    steps = get_static_value(
        most.op.inputs[0] if most.op.type == "Max" else most
    )  # as Keras has it
    if steps is None or np.max(steps) < 0:
        raise UnknownBytesError("has a loop whose number of steps is not known")
    return int(np.max(steps))


def body_of(loop: Any) -> Any:
    """The graph of one step of a loop."""
    from tensorflow.python.ops.while_v2 import _get_graph

    return _get_graph(loop, "body", "_body_graph")
