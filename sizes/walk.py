"""What the operations of a forward and a backward pass hold, from a graph of them.

What a forward operation made and a backward one reads is kept. The greatest sum follows from going
through the operations in waves: each runs as soon as its inputs are there, beside all others of
which that is true, and a tensor is freed after the wave of its last reader. TensorFlow may run
fewer at a time, so the sum is an upper estimate; what is kept is exact.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

# These hand their input on as it is.
ALIASES = frozenset(
    {"ExpandDims", "Identity", "PreventGradient", "Reshape", "Squeeze", "StopGradient"}
)
# These write over an input of the same size that nothing else reads.
# fmt: off
ELEMENTWISE = frozenset({
    "Add", "AddN", "AddV2", "BiasAdd", "Div", "DivNoNan", "Elu", "EluGrad", "Erf", "Exp", "Expm1",
    "Log", "Log1p", "Maximum", "Minimum", "Mul", "Neg", "Pow", "RealDiv", "Relu", "Relu6",
    "Relu6Grad", "ReluGrad", "Rsqrt", "RsqrtGrad", "Selu", "SeluGrad", "Sigmoid", "SigmoidGrad",
    "Softmax", "Softplus", "SoftplusGrad", "Softsign", "SoftsignGrad", "Sqrt", "SqrtGrad",
    "Square", "Sub", "Tanh", "TanhGrad",
})
# fmt: on
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
    inputs: Sequence[Any],
    errors: Sequence[Any],
    outputs: Sequence[Any],
    gradients: Sequence[Any],
) -> Traced:
    """What is held, inputs and variables not counted.

    Args:
        operations: of the graph, in the order in which they were made.
        inputs: of the forward pass: tensors of the graph, as all that follow.
        errors: the error signals at the outputs.
        outputs: of the forward pass.
        gradients: of the weights and inputs.

    Raises:
        UnknownBytesError: a size is not known before the operations run.
    """
    needed = _needed([*outputs, *gradients])
    hidden = [op for op in needed if op.type in HIDDEN or _is_compiled(op)]
    if hidden:
        raise UnknownBytesError(f"runs an operation of kind {hidden[0].type}, which hides its own")
    constants = _constants(operations)
    waves = _waves(operations, {error.op for error in errors})
    order = sorted((op for op in operations if op in needed), key=waves.__getitem__)
    last = {_root(t): waves[op] for op in order for t in _read(op)}  # wave of the last reader
    given, results, ends = (set(map(_root, group)) for group in (inputs, outputs, gradients))
    early = sum(_size(t) for op in order for t in _factors(op, waves, constants))
    live: dict[Any, int] = {}
    peak, kept = 0, None
    for wave, group in itertools.groupby(order, key=waves.__getitem__):
        if kept is None and wave[0]:
            # What lies behind is done with the output when its error signal is there.
            live = {t: size for t, size in live.items() if last.get(t, (False, 0)) >= wave}
            kept = early + sum(size for t, size in live.items() if t not in results)
            live |= {_root(e): e.shape.num_elements() * e.dtype.size for e in errors}
        together = [op for op in group if op.type not in OUTSIDE and op not in constants]
        readers = Counter(_root(t) for op in together for t in op.inputs)
        free = {t for t in readers if t in live and last[t] == wave and t not in ends | results}
        for operation in together:
            read = {_root(tensor) for tensor in _read(operation)}
            for tensor in {_root(t) for t in operation.outputs} - read:
                size = _size(tensor.deref())
                if operation.type in ELEMENTWISE:
                    own = (t for t in read & free if live[t] == size and readers[t] == 1)
                    same = next(own, None)
                    free.discard(same)
                    live.pop(same, None)
                live[tensor] = size
        peak = max(peak, early + sum(live.values()))
        for tensor in free:
            del live[tensor]
    return Traced(
        kept=kept or 0,
        peak=peak,
        output_is_input=results <= given,
        reads_output=any(last.get(t, (False,))[0] for t in results),
    )


def _constants(operations: Sequence[Any]) -> set[Any]:
    """What TensorFlow computes before anything runs."""
    found = {op for op in operations if op.type == "Const"}
    for operation in operations:
        if operation.inputs and found.issuperset(t.op for t in _read(operation)):
            found.add(operation)
    return found


def _waves(operations: Sequence[Any], errors: set[Any]) -> dict[Any, tuple[bool, int]]:
    """For each operation whether it waits for an error signal, and its place in its pass.

    Those of one place may run at the same time.
    """
    waves: dict[Any, tuple[bool, int]] = {}
    for operation in operations:
        before = [*(tensor.op for tensor in operation.inputs), *operation.control_inputs]
        # A loop's first operations are made after it, when its gradient is.
        earlier = [waves.get(op, (False, 0)) for op in before]
        late = operation in errors or any(wave[0] for wave in earlier)
        place = max((wave[1] for wave in earlier if wave[0] == late), default=0)
        waves[operation] = (late, place + 1)
    return waves


def _factors(operation: Any, waves: dict[Any, tuple[bool, int]], constants: set[Any]) -> list[Any]:
    """Of a softmax's (δ·a)·c with a constant c, the a of which TensorFlow forms a·c early."""
    makers = [tensor.op for tensor in operation.inputs]
    if operation.type not in ("Mul", "RealDiv") or constants.isdisjoint(makers):
        return []
    products = [op for op in makers if op.type == "Mul" and waves[op][0]]
    factors = [tensor for op in products for tensor in op.inputs]
    return [tensor for tensor in factors if tensor.op.type == "Softmax" and not waves[tensor.op][0]]


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
    if tensor.dtype.name == "resource" or kind in OUTSIDE:
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
    if kind in ("EmptyTensorList", "TensorListReserve", "Placeholder", "ZerosLike"):
        return 0  # what is put in counts where it is
    raise UnknownBytesError(f"keeps the result of an operation of kind {kind}")


def _loop_bytes(loop: Any) -> int:
    """What the lists that a loop fills hold after its last step."""
    from tensorflow.python.ops.while_v2 import _get_graph

    body = _get_graph(loop, "body", "_body_graph")
    results = dict(zip(map(_root, body.inputs), map(_root, body.outputs), strict=False))
    put: dict[Any, int] = {}
    for output in filter(_is_list, body.outputs):
        for item, copies in _put(_root(output).deref().op):
            # What one step starts from is what the step before it ended in.
            root = results.get(_root(item), _root(item))
            put[root] = max(put.get(root, 0), copies * _size(root.deref()))
    return _steps(loop) * sum(put.values()) if any(put.values()) else 0


def _put(maker: Any) -> list[tuple[Any, int]]:
    """What one step of a loop puts into a list, and how many copies of the list are alive."""
    if maker.type == "TensorListPushBack":
        return [(maker.inputs[1], 1)]
    if maker.type == "TensorListSetItem":
        return [(maker.inputs[2], 1)]
    if maker.type == "AddN":  # the sum is another list
        makers = [_root(tensor).deref().op for tensor in maker.inputs]
        return [(item, 2) for part in makers for item, _ in _put(part)]
    if maker.type in ("Placeholder", "TensorListPopBack", "ZerosLike"):
        return []
    raise UnknownBytesError(f"has a loop that makes a list by {maker.type}")


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
