"""What a second run of a block can repeat: not what keeps a state that nobody can restore.

Keras's own code keeps its state in Keras's variables, which are restored. Anybody else's is traced
twice, in graphs that never run, to see what it does: in every execution mode, eager as well.
"""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import keras
import tensorflow as tf
from tensorflow.python.framework import op_def_registry, ops

from mem_dfa.chain.block import Block
from mem_dfa.chain.generators import held_generators
from mem_dfa.chain.outside import OutsideScope
from mem_dfa.errors import UnsupportedError
from mem_dfa.random_state import restored_draws

# Of the operations that TensorFlow calls stateful, those that change nothing.
CHANGING_NOTHING = (
    "Assert",
    "Case",
    "CheckNumerics",
    "CudnnRNN",  # Keras gives it no dropout
    "DisableCopyOnRead",
    "HashTable",
    "If",
    "LookupTableFind",
    "LookupTableSize",
    "Print",
    "ReadVariableOp",
    "ResourceGather",
    "StatefulPartitionedCall",
    "StatelessRandomGetAlg",
    "TensorArray",
    "VarHandleOp",
    "VarIsInitializedOp",
    "VariableShape",
    "While",
)
"""Beginnings of their types."""
DRAWING = ("Multinomial", "Normal", "Random", "RngReadAndSkip", "RngSkip", "Sampler", "Uniform")
"""Parts of the types of those that draw."""
DRAW = "draw with keras.random and a keras.random.SeedGenerator"
KEEP = "keep it in a keras.Variable"
ADVICE = "which a second run of the block cannot repeat: {}, or train with 'bp' or 'dfa'."


def refuse_unrepeatable(block: Block) -> None:
    """Refuse a block whose second run would not be the first one.

    Raises:
        UnsupportedError: it keeps a state that cannot be restored.
    """
    reason = None if block.runs_only_keras else _looked_at(block).reason
    if reason:
        raise UnsupportedError(reason)


def refuse_borrowed(blocks: Sequence[Block]) -> None:
    """Refuse blocks whose code reaches for variables or tensors of another block, as by a closure.

    Raises:
        UnsupportedError: there is one.
    """
    owners = {id(variable): block for block in blocks for variable in block.variables}
    for block in blocks:
        outside = [] if block.runs_only_keras else _looked_at(block).outside
        for used in outside:
            if isinstance(used, tf.Tensor):
                raise UnsupportedError(
                    f"{block.any_layer} uses a tensor of another layer that was handed on in "
                    "secret, as in an attribute, so that no gradient would pass back through it: "
                    "make it an input of the layer, or train with 'bp'."
                )
            if id(used) in owners:
                raise UnsupportedError(
                    f"{block.any_layer} uses '{used.path}' of {owners[id(used)].name}: a variable "
                    "may be used in one block only; give each use one of its own, or train with "
                    "'bp'."
                )


@dataclass(frozen=True)
class _Findings:
    """Why a block cannot be run twice, if it cannot, and what it uses that is not its own."""

    reason: str
    outside: Sequence[keras.Variable | tf.Tensor] = ()


_FOUND: WeakKeyDictionary[Block, _Findings] = WeakKeyDictionary()


def _looked_at(block: Block) -> _Findings:
    if block not in _FOUND:
        _FOUND[block] = _look_at(block)
    return _FOUND[block]


def _look_at(block: Block) -> _Findings:
    where = block.any_layer
    try:
        (first, outside), (second, _) = _traced(block), _traced(block)
    except Exception as error:  # of anybody's code
        # Keras puts what happened, in bold, between a heading and the arguments.
        says = str(error).split("\x1b[1m")[-1].split("\x1b[0m")[0].split("\n")[0]
        return _Findings(
            f"{where} cannot be traced ({says}), so nobody can tell whether a second run repeats "
            "the first: use TensorFlow's operations only, or train with 'bp' or 'dfa'."
        )
    held = next(held_generators(block), None)
    if held is not None:
        draws = f"draws by a {type(held).__module__}.{type(held).__name__} of its own"
        return _Findings(f"{where} {draws}, {ADVICE.format(DRAW)}", outside)
    does = next(filter(None, map(_unrepeatable, first)), None)
    if does is not None:
        return _Findings(f"{where} {does}", outside)
    if _summary(first) != _summary(second):
        return _Findings(
            f"{where} does something else each time that it is called, as by a counter or random "
            f"numbers of its own, {ADVICE.format(KEEP + '; ' + DRAW)}",
            outside,
        )
    return _Findings("", outside)


def _traced(
    block: Block,
) -> tuple[list[tf.compat.v1.NodeDef], list[keras.Variable | tf.Tensor]]:
    """The operations of a run, those of functions inside too, and what it uses of the outside."""
    outside: list[keras.Variable | tf.Tensor] = []

    def run(inputs: tf.Tensor) -> tf.Tensor:
        with OutsideScope(block.variables) as scope:
            outputs = block.run(inputs, "forward")
        outside.extend(scope.seen.variables)
        return outputs

    before = block.atoms[0].before
    spec = tf.TensorSpec(before.shape, before.dtype)
    with restored_draws():
        graph = tf.function(run, autograph=False).get_concrete_function(spec).graph
    outside += filter(tf.is_symbolic_tensor, (tensor for tensor, _ in graph.captures))
    definition = graph.as_graph_def()
    functions = (node for function in definition.library.function for node in function.node_def)
    return [*definition.node, *functions], outside


def _unrepeatable(node: tf.compat.v1.NodeDef) -> str | None:
    """What an operation does that a second run does not repeat, and what to do; None if nothing."""
    if "_gradient_op_type" in node.attr:
        gradient = ops.gradient_registry.lookup(node.attr["_gradient_op_type"].s.decode())
        if any(name.startswith("recompute_grad.") for name in _names_inside(gradient)):
            return (
                "recomputes itself (tf.recompute_grad or keras.remat), outside of the run that a "
                "gradient belongs to: take it away, blocks are run again anyway, or train with "
                "'bp'."
            )
    definition = op_def_registry.get(node.op)
    if definition is None or not definition.is_stateful or node.op.startswith(CHANGING_NOTHING):
        return None
    operation = f"({node.op} '{node.name}')"
    if any(part in node.op for part in DRAWING):
        return f"draws random numbers by tf.random {operation}, {ADVICE.format(DRAW)}"
    return f"changes a state that is no keras.Variable {operation}, {ADVICE.format(KEEP)}"


def _names_inside(function: Callable[..., Any], depth: int = 3) -> Iterator[str]:
    """The names of a function and of those in its closure."""
    yield getattr(function, "__qualname__", "")
    cells = getattr(function, "__closure__", None) or ()
    for cell in cells if depth else ():
        if inspect.isfunction(cell.cell_contents):
            yield from _names_inside(cell.cell_contents, depth - 1)


def _summary(nodes: list[tf.compat.v1.NodeDef]) -> Counter:
    """How many operations of each kind, and which constants."""
    return Counter((node.op, node.attr["value"].SerializeToString()) for node in nodes)
