"""A model's graph cut at its separators: the tensors that alone part what is before from after."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import keras
from keras.src.models import Functional
from keras.src.ops.node import Node

from mem_dfa.chain.atom import Atom
from mem_dfa.errors import UnsupportedError
from mem_dfa.shapes.graph_models import is_graph


def atoms_of(model: keras.Model) -> Iterator[Atom]:
    """Cut one level of the model's graph at its separators, then open nested models."""
    if not isinstance(model, (keras.Sequential, Functional)):
        raise UnsupportedError(
            f"Model '{model.name}' is a subclassed {type(model).__name__}: only a keras.Sequential "
            "or a functional keras.Model can be cut into blocks."
        )
    if not is_graph(model):
        raise UnsupportedError(
            f"Model '{model.name}' ({type(model).__name__}) has a call of its own, so that its "
            "layers are not all it does and it cannot be cut into blocks: make a layer of what "
            "call adds, or train with 'bp'."
        )
    if not model.built or not getattr(model, "inputs", None):
        raise UnsupportedError(
            f"Model '{model.name}' is not built: add a keras.Input as its first layer, or call "
            "model.build(input_shape) first."
        )
    for kind, tensors in (("inputs", model.inputs), ("outputs", model.outputs)):
        if len(tensors) != 1:
            raise UnsupportedError(
                f"Model '{model.name}' has {len(tensors)} {kind}: only a model with one input "
                "and one output is a chain of blocks: join them in it, or train with 'bp' or "
                "'microbatch'."
            )
    start, end = model.inputs[0], model.outputs[0]
    nodes = _nodes_between(start, end)
    waiting = Counter(id(tensor) for node in nodes for tensor in _inputs_of(node))
    waiting[id(end)] += 1
    alive, before, held = {id(start)}, start, []
    for node in nodes:
        held.append(node)
        for tensor in _inputs_of(node):
            waiting[id(tensor)] -= 1
            if not waiting[id(tensor)]:
                alive.discard(id(tensor))
        alive |= {id(tensor) for tensor in node.output_tensors if waiting[id(tensor)]}
        if len(alive) == 1:
            after = next(t for t in [before, *node.output_tensors] if id(t) in alive)
            inner = held[0].operation
            if len(held) == 1 and is_graph(inner):
                yield from atoms_of(inner)
            else:
                yield Atom(before, after, held)
            before, held = after, []


def _inputs_of(node: Node) -> list[keras.KerasTensor]:
    return list({id(tensor): tensor for tensor in node.input_tensors}.values())


def _nodes_between(start: keras.KerasTensor, end: keras.KerasTensor) -> list:
    """The calls on a path from `start` to `end`, each after those it depends on."""
    order: list = []
    seen: set[int] = set()
    stack = [(end, False)]
    while stack:
        tensor, done = stack.pop()
        if tensor is start:
            continue
        operation, node_index, _ = tensor._keras_history
        node = operation._inbound_nodes[node_index]
        if done:
            order.append(node)
        elif id(node) not in seen:
            seen.add(id(node))
            stack.append((tensor, True))
            stack.extend((source, False) for source in node.input_tensors)
    return order
