"""What the operations of a forward and a backward pass hold, from a graph of them.

What a forward operation made and a backward one reads is kept. The greatest sum follows from going
through the operations in the order in which they were made, freeing each tensor after its last
reader. TensorFlow may run them in another order, so the sum is an estimate; what is kept is exact.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

# These hand their input on as it is.
ALIASES = frozenset(
    {"ExpandDims", "Identity", "PreventGradient", "Reshape", "Squeeze", "StopGradient"}
)
# These write over an input of the same size that nothing else reads.
ELEMENTWISE = frozenset(
    "Add AddN AddV2 BiasAdd Div DivNoNan Elu EluGrad Erf Exp Expm1 Log Log1p Maximum Minimum Mul "
    "Neg Pow RealDiv Relu Relu6 Relu6Grad ReluGrad Rsqrt RsqrtGrad Selu SeluGrad Sigmoid "
    "SigmoidGrad Softmax Softplus SoftplusGrad Softsign SoftsignGrad Sqrt SqrtGrad Square Sub Tanh "
    "TanhGrad".split()
)
# These need the shape of their input alone, which is known.
SHAPE_ALONE = frozenset({"OnesLike", "Rank", "Shape", "ShapeN", "Size", "ZerosLike"})
# What they give is there before the passes.
OUTSIDE = ("Placeholder", "ReadVariableOp")
LOOPS = ("StatelessWhile", "While")
# What these hold between the two passes no graph shows.
HIDDEN = ("EagerPyFunc", "PyFunc", "PyFuncStateless")


class UnknownBytesError(ValueError):
    """What a layer holds cannot be told from shapes."""


@dataclass(frozen=True)
class Traced:
    """What a layer's operations hold for one batch.

    Attributes:
        kept: bytes made in the forward pass and read in the backward pass, the output not counted.
        peak: the greatest sum in either pass, with what is kept, the output and its error signal.
        output_is_input: the output is the input, maybe in another shape.
        reads_output: the backward pass reads the output.
    """

    kept: int
    peak: int
    output_is_input: bool
    reads_output: bool


def walk(
    operations: Sequence[Any],
    forward_count: int,
    inputs: Sequence[Any],
    errors: Sequence[Any],
    outputs: Sequence[Any],
    gradients: Sequence[Any],
) -> Traced:
    """What is held, inputs and variables not counted.

    Args:
        operations: of the graph, in the order in which they were made.
        forward_count: how many of them are the forward pass.
        inputs: of the forward pass, and so on: tensors of the graph.
        errors: the error signals at the outputs.
        outputs: of the forward pass.
        gradients: of the weights and inputs.

    Raises:
        UnknownBytesError: a size is not known before the operations run.
    """
    place = {operation: number for number, operation in enumerate(operations)}
    needed = sorted(_needed([*outputs, *gradients]), key=place.__getitem__)
    hidden = [op for op in needed if op.type in HIDDEN or _is_compiled(op)]
    if hidden:
        raise UnknownBytesError(f"runs an operation of kind {hidden[0].type}, which hides its own")
    given = set(map(_root, inputs))
    last = {}  # reader of each tensor
    for operation in needed:
        for tensor in _read(operation):
            last[_root(tensor)] = place[operation]
    ends, results = set(map(_root, gradients)), set(map(_root, outputs))
    constants: set[Any] = set()
    live = {}
    peak, kept = 0, None
    for operation in needed:
        number = place[operation]
        if kept is None and number >= forward_count:
            # What lies behind is done with the output when its error signal is there.
            live = {t: size for t, size in live.items() if last.get(t, 0) >= number}
            kept = sum(size for t, size in live.items() if t not in results)
            live |= {_root(error): _size(error) for error in errors}
        if operation.type in OUTSIDE:
            continue
        read = {_root(tensor) for tensor in _read(operation)}
        if operation.type == "Const" or (read and all(t.deref().op in constants for t in read)):
            constants.add(operation)  # TensorFlow computes it beforehand
            continue
        free = {t for t in read & live.keys() if last[t] == number and t not in ends | results}
        for tensor in {_root(t) for t in operation.outputs} - read:
            size = _size(tensor.deref())
            if operation.type in ELEMENTWISE:
                same = next((t for t in free if live[t] == size), None)
                free.discard(same)
                live.pop(same, None)
            live[tensor] = size
        peak = max(peak, sum(live.values()))
        for tensor in free:
            del live[tensor]
    return Traced(
        kept=kept or 0,
        peak=peak,
        output_is_input=results <= given,
        reads_output=any(last.get(t, 0) >= forward_count for t in results),
    )


def _needed(ends: Sequence[Any]) -> set[Any]:
    """The operations that lead to the results; TensorFlow leaves out the others."""
    found: set[Any] = set()
    waiting = [tensor.op for tensor in ends]
    while waiting:
        operation = waiting.pop()
        if operation not in found:
            found.add(operation)
            waiting += [tensor.op for tensor in _read(operation)]
    return found


def _read(operation: Any) -> Sequence[Any]:
    return () if operation.type in SHAPE_ALONE else operation.inputs


def _root(tensor: Any) -> Any:
    """A key for the memory that a tensor lies in."""
    while tensor.op.type in ALIASES:
        tensor = tensor.op.inputs[0]
    if tensor.op.type in LOOPS and _is_list(tensor):  # what a loop's lists hold counts together
        tensor = next(output for output in tensor.op.outputs if _is_list(output))
    return tensor.ref()


def _is_list(tensor: Any) -> bool:
    return tensor.dtype.name == "variant"


def _is_compiled(operation: Any) -> bool:
    return "_XlaMustCompile" in operation.node_def.attr and operation.get_attr("_XlaMustCompile")


def _size(tensor: Any) -> int:
    """Bytes of a tensor, or of all that the lists of a loop hold."""
    kind = tensor.op.type
    if tensor.dtype.name == "resource":
        return 0
    if not _is_list(tensor):
        count = tensor.shape.num_elements()
        if count is None:
            raise UnknownBytesError(f"makes a tensor of shape {tensor.shape} inside")
        return count * tensor.dtype.size
    if kind in LOOPS:
        return _loop_bytes(tensor.op)
    if kind == "TensorListFromTensor":
        return _size(tensor.op.inputs[0])
    if kind in ("EmptyTensorList", "TensorListReserve", "Placeholder"):
        return 0  # what is put in counts where it is
    raise UnknownBytesError(f"keeps the result of an operation of kind {kind}")


def _loop_bytes(loop: Any) -> int:
    """What the lists that a loop fills hold after its last step."""
    from tensorflow.python.ops.while_v2 import _get_graph

    body = _get_graph(loop, "body", "_body_graph")
    put = {}
    for output in filter(_is_list, body.outputs):
        maker = _root(output).deref().op
        if maker.type in ("TensorListPushBack", "TensorListSetItem"):
            item = maker.inputs[-1] if maker.type == "TensorListPushBack" else maker.inputs[2]
            put[_root(item)] = _size(_root(item).deref())
        elif maker.type not in ("Placeholder", "TensorListPopBack"):
            raise UnknownBytesError(f"has a loop that makes a list by {maker.type}")
    return _steps(loop) * sum(put.values()) if put else 0


def _steps(loop: Any) -> int:
    """How often the body of a loop runs."""
    from tensorflow import get_static_value

    most = _root(loop.inputs[1]).deref()
    if most.op.type in LOOPS:  # the loop whose gradient this one is
        return _steps(most.op)
    steps = get_static_value(
        most.op.inputs[0] if most.op.type == "Max" else most
    )  # as Keras has it
    if steps is None or np.max(steps) < 0:
        raise UnknownBytesError("has a loop whose number of steps is not known")
    return int(np.max(steps))
