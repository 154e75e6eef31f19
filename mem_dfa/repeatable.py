"""What a second run of a block can repeat: not what keeps a state that nobody can restore.

Keras's own code keeps its state in Keras's variables, which are restored. Anybody else's is traced
twice, in graphs that never run, to see what it does: in every execution mode, eager as well.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.framework import op_def_registry, ops

from mem_dfa.block import Block
from mem_dfa.errors import UnsupportedError
from mem_dfa.foreign_code import OWN_PACKAGES, parts_of
from mem_dfa.outside import OutsideScope, restored_draws

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
GENERATORS = (np.random.Generator, np.random.RandomState, random.Random)
# Of the modules `random` and `numpy.random` themselves: their state is restored.
GLOBAL_GENERATORS = (random._inst, np.random.mtrand._rand)
ADVICE = "which a second run of the block cannot repeat: {}, or train with 'bp' or 'dfa'."


def refuse_unrepeatable(block: Block) -> None:
    """Look at what a block does, once for each block.

    Raises:
        UnsupportedError: it keeps a state that cannot be restored.
    """
    if block.runs_only_keras or getattr(block, "is_repeatable", False):
        return
    where = f"A layer of {block.name} ({block.layer_names})"
    held = next(_generators(block), None)
    if held is not None:
        kind = f"{type(held).__module__}.{type(held).__name__}"
        advice = ADVICE.format("draw with keras.random and a keras.random.SeedGenerator")
        raise UnsupportedError(f"{where} draws by a {kind} of its own, {advice}")
    (first, _), (second, _) = _traced(block, where), _traced(block, where)
    for node in first:
        _refuse(node, where)
    if _summary(first) != _summary(second):
        advice = ADVICE.format("keep such numbers in keras.Variable, draw with keras.random")
        raise UnsupportedError(
            f"{where} does something else each time that it is called, as by a counter or random "
            f"numbers of its own, {advice}"
        )
    block.is_repeatable = True


def refuse_borrowed(blocks: Sequence[Block]) -> None:
    """Look for layers whose code reaches for variables of another block, as by a closure.

    Raises:
        UnsupportedError: there is one.
    """
    owners = {
        id(variable): block
        for block in blocks
        for layer in block.layers
        for variable in layer.variables
    }
    for block in blocks:
        if block.runs_only_keras:
            continue
        where = f"A layer of {block.name} ({block.layer_names})"
        try:
            _, seen = _traced(block, where)
        except UnsupportedError:
            continue  # what runs once may do what cannot be traced
        for variable in seen:
            if id(variable) in owners:
                raise UnsupportedError(
                    f"{where} uses '{variable.path}' of {owners[id(variable)].name}: a variable "
                    "may be used in one block only; give each use one of its own, or train with "
                    "'bp'."
                )


def _traced(block: Block, where: str) -> tuple[list[tf.compat.v1.NodeDef], list[keras.Variable]]:
    """The operations of a run of the block, those of functions inside too, and what it saw."""
    own = [variable for layer in block.layers for variable in layer.variables]
    seen: list[keras.Variable] = []

    def run(inputs: tf.Tensor) -> tf.Tensor:
        with OutsideScope(own) as scope:
            outputs = block.run(inputs, "forward")
        seen.extend(scope.seen.variables)
        return outputs

    before = block.atoms[0].before
    spec = tf.TensorSpec(before.shape, before.dtype)
    try:
        with restored_draws():
            graph = tf.function(run, autograph=False).get_concrete_function(spec).graph
    except UnsupportedError:
        raise
    except Exception as error:
        # Keras puts what happened, in bold, between a heading and the arguments.
        says = str(error).split("\x1b[1m")[-1].split("\x1b[0m")[0].split("\n")[0]
        raise UnsupportedError(
            f"{where} cannot be traced ({says}), so nobody can tell whether a second run repeats "
            "the first: use TensorFlow's operations only, or train with 'bp' or 'dfa'."
        ) from error
    definition = graph.as_graph_def()
    functions = (node for function in definition.library.function for node in function.node_def)
    return [*definition.node, *functions], seen


def _refuse(node: tf.compat.v1.NodeDef, where: str) -> None:
    definition = op_def_registry.get(node.op)
    if "_gradient_op_type" in node.attr:
        gradient = ops.gradient_registry.lookup(node.attr["_gradient_op_type"].s.decode())
        if any(name.startswith("recompute_grad.") for name in _names_inside(gradient)):
            raise UnsupportedError(
                f"{where} recomputes itself (tf.recompute_grad or keras.remat), outside of the run "
                "that a gradient belongs to: take it away, blocks are run again anyway, or train "
                "with 'bp'."
            )
    if definition is None or not definition.is_stateful or node.op.startswith(CHANGING_NOTHING):
        return
    if any(part in node.op for part in DRAWING):
        does = f"draws random numbers by tf.random ({node.op} '{node.name}')"
        advice = "draw with keras.random and a keras.random.SeedGenerator"
    else:
        does = f"changes a state that is no keras.Variable ({node.op} '{node.name}')"
        advice = "keep it in a keras.Variable"
    raise UnsupportedError(f"{where} {does}, {ADVICE.format(advice)}")


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


def _generators(block: Block) -> Iterator[Any]:
    """Random number generators that are no keras.Variable, in reach of the layers' own code."""
    waiting: list[Any] = []
    for operation in (op for atom in block.atoms for op in atom.operations):
        for part in parts_of(operation):
            waiting += vars(part).values()
            waiting += (
                method
                for kind in type(part).__mro__
                if not kind.__module__.startswith(OWN_PACKAGES)
                for method in vars(kind).values()
            )
    known: dict[int, Any] = {}  # kept alive, so that no two have the same id
    while waiting:
        value = waiting.pop()
        if id(value) in known:
            continue
        known[id(value)] = value
        value = inspect.unwrap(value) if callable(value) else value
        if inspect.ismethod(value) or inspect.isbuiltin(value):
            waiting.append(value.__self__)
            value = getattr(value, "__func__", None)
        if isinstance(value, GENERATORS) and value not in GLOBAL_GENERATORS:
            yield value
        elif isinstance(value, dict):
            waiting += value.values()
        elif isinstance(value, (list, tuple, set)):
            waiting += value
        elif isinstance(value, functools.partial):
            waiting += (value.func, *value.args, *value.keywords.values())
        elif inspect.isfunction(value) and not value.__module__.startswith(OWN_PACKAGES):
            waiting += _reached_by(value)


def _reached_by(function: Callable[..., Any]) -> Iterator[Any]:
    """What a function finds in its closure and among the names of its module that it uses."""
    for cell in function.__closure__ or ():
        with contextlib.suppress(ValueError):  # not filled yet
            yield cell.cell_contents
    codes = [function.__code__]
    for code in codes:
        codes += (constant for constant in code.co_consts if inspect.iscode(constant))
        yield from (function.__globals__.get(name) for name in code.co_names)
