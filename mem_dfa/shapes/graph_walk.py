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

from mem_dfa.shapes.graph_tensors import LOOPS, OUTSIDE, UnknownBytesError, body_of, root, size_of

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
# A step of a loop may start before the one before it has ended: as many as were seen alive.
STEPS_AT_ONCE = 4
# What these hold between the two passes no graph shows.
HIDDEN = ("EagerPyFunc", "PyFunc", "PyFuncStateless")


# Whether an operation waits for an error signal, and its place in its pass. Those of one place may
# run at the same time.
Wave = tuple[bool, int]
Waves = dict[Any, Wave]
FIRST: Wave = (False, 0)


@dataclass(frozen=True)
class Traced:
    """What a layer's operations hold for one batch.

    Attributes:
        kept: bytes made in the forward pass and read in the backward pass, the output not counted.
        peak: the greatest sum in either pass, with what is kept, the output and its error signal.
        output_is_input: the output is the input, maybe in another shape.
        reads_output: the backward pass reads the output.
        loops: it runs a loop, of which TensorFlow works on now more, now fewer steps at once.
    """

    kept: int
    peak: int
    output_is_input: bool
    reads_output: bool
    loops: bool


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
    order = [op for op in operations if op in needed]
    early = _waves(operations, {error.op for error in errors})
    constants = _constants(operations)
    factors = sum(size_of(t) for op in order for t in _factors(op, early, constants))
    run = [op for op in order if op not in constants]
    kept, peak = _held(run, early, errors, outputs, gradients)
    # What nothing waits for, as the gradients of weights, may come last instead.
    lazy_peak = _held(run, _lazy_waves(order, early), errors, outputs, gradients)[1]
    given, results = set(map(root, inputs)), set(map(root, outputs))
    late = (op for op in run if early[op][0])
    return Traced(
        kept=kept + factors,
        peak=max(peak, lazy_peak) + factors,
        output_is_input=results <= given,
        reads_output=not results.isdisjoint(root(t) for op in late for t in _read(op)),
        loops=any(op.type in LOOPS for op in run),
    )


def _held(
    operations: Sequence[Any],
    waves: Waves,
    errors: Sequence,
    outputs: Sequence,
    gradients: Sequence,
) -> tuple[int, int]:
    """Bytes kept from the forward for the backward pass, and the greatest sum in either."""
    last: dict[Any, Wave] = {}  # in which a tensor is read
    for operation in operations:
        for tensor in map(root, _read(operation)):
            last[tensor] = max(last.get(tensor, waves[operation]), waves[operation])
    results, ends = set(map(root, outputs)), set(map(root, gradients))
    live: dict[Any, int] = {}
    peak = 0
    kept: int | None = None
    wave_of = waves.__getitem__
    for wave, group in itertools.groupby(sorted(operations, key=wave_of), key=wave_of):
        if kept is None and wave[0]:
            # What lies behind is done with the output when its error signal is there.
            live = {t: size for t, size in live.items() if last.get(t, FIRST) >= wave}
            kept = sum(size for t, size in live.items() if t not in results)
            live |= {root(e): e.shape.num_elements() * e.dtype.size for e in errors}
        together = [op for op in group if op.type not in OUTSIDE]
        readers = Counter(root(t) for op in together for t in op.inputs)
        free = {t for t in readers if t in live and last[t] == wave and t not in ends | results}
        for operation in together:
            read = {root(tensor) for tensor in _read(operation)}
            for tensor in {root(t) for t in operation.outputs} - read:
                size = size_of(tensor.deref())
                if operation.type in ELEMENTWISE:
                    own = (t for t in read & free if live[t] == size and readers[t] == 1)
                    same = next(own, None)
                    free.discard(same)
                    live.pop(same, None)
                live[tensor] = size
        peak = max(peak, sum(live.values()) + sum(map(_step_bytes, together)))
        for tensor in free:
            del live[tensor]
    return kept or 0, peak


def _step_bytes(operation: Any) -> int:
    """What one step of a loop holds beside what it puts into lists."""
    if operation.type not in LOOPS:
        return 0
    body = body_of(operation)
    inside = body.get_operations()
    constants = _constants(inside)
    run = [op for op in inside if op not in constants]
    return STEPS_AT_ONCE * _held(run, _waves(inside, set()), (), body.outputs, ())[1]


def _constants(operations: Sequence[Any]) -> set[Any]:
    """What TensorFlow computes before anything runs."""
    found = {op for op in operations if op.type == "Const"}
    for operation in operations:
        if operation.inputs and found.issuperset(t.op for t in _read(operation)):
            found.add(operation)
    return found


def _waves(operations: Sequence[Any], errors: set[Any]) -> Waves:
    """When each operation runs if it runs as soon as it can."""
    waves: Waves = {}
    for operation in operations:
        before = [*(tensor.op for tensor in operation.inputs), *operation.control_inputs]
        # A loop's first operations are made after it, when its gradient is.
        earlier = [waves.get(op, FIRST) for op in before]
        late = operation in errors or any(wave[0] for wave in earlier)
        place = max((wave[1] for wave in earlier if wave[0] == late), default=0)
        waves[operation] = (late, place + 1)
    return waves


def _lazy_waves(operations: Sequence[Any], waves: Waves) -> Waves:
    """When each runs if those of the backward pass run as late as they can."""
    lazy = dict(waves)
    left: Counter[Any] = Counter()  # how many places come after an operation
    for operation in reversed(operations):
        late = waves[operation][0]
        for tensor in operation.inputs:
            left[tensor.op] = max(left[tensor.op], left[operation] + 1)
        if late:
            lazy[operation] = (True, -left[operation])
    return lazy


def _factors(operation: Any, waves: Waves, constants: set[Any]) -> list[Any]:
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


def _is_compiled(operation: Any) -> bool:
    return "_XlaMustCompile" in operation.node_def.attr and operation.get_attr("_XlaMustCompile")
