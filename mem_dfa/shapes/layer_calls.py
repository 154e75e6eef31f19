"""The calls of a Keras model's layers, with the shapes that a batch has in each of them.

The tensors of a model's graph have the shapes it was built with. A model inside another one, or
one whose input has no fixed size, is run on others: those of the call count.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from mem_dfa.random_state import restored_draws
from mem_dfa.shapes.graph_models import graph_of
from mem_dfa.shapes.graph_tensors import UnknownBytesError

Spec = Any  # a keras.KerasTensor
Specs = dict[int, Spec]


@dataclass(frozen=True)
class Call:
    """One call of a layer or operation.

    Attributes:
        operation: what is called.
        node: the call as the model's graph recorded it.
        values: for the id of each recorded tensor that goes in, what goes in.
        inputs: what goes in, in order.
        outputs: what comes out.
    """

    operation: Any
    node: Any
    values: Specs
    inputs: tuple[Spec, ...]
    outputs: tuple[Spec, ...]


def spec_of(tensor: Any, batch_size: int | None, sizes: Sequence[int | None] | None = None) -> Spec:
    """A tensor's shape and dtype, for a batch, and with other sizes where some are given."""
    from keras import KerasTensor

    return KerasTensor((batch_size, *(tensor.shape[1:] if sizes is None else sizes)), tensor.dtype)


def calls_of_model(model: Any, batch_size: int) -> Iterator[Call]:
    """The calls of a Sequential or functional model on a batch, in an order in which they run.

    Raises:
        UnknownBytesError: the model has no such graph, as a subclassed one, or its input no size.
    """
    inner = graph_of(model)
    if inner is None:
        raise UnknownBytesError(
            f"model {model.name!r} is no Sequential or functional model, so its layers' shapes are "
            "not known beforehand"
        )
    unfixed = next((tensor for tensor in inner.inputs if None in tensor.shape[1:]), None)
    if unfixed is not None:
        raise UnknownBytesError(f"its input has the shape {unfixed.shape}")
    specs = {id(tensor): spec_of(tensor, batch_size) for tensor in inner.inputs}
    return calls_of(_nodes(inner), specs)


def calls_of(nodes: Iterable[Any], specs: Specs) -> Iterator[Call]:
    """The calls of `nodes`, those of nested models opened.

    Args:
        nodes: of a model's graph, in an order in which they can run.
        specs: for the id of each recorded tensor, what it is here; what comes out is added.
    """
    for node in nodes:
        inner = graph_of(node.operation)
        inputs = tuple(specs[id(tensor)] for tensor in node.input_tensors)
        if inner is not None:
            inside = {id(tensor): spec for tensor, spec in zip(inner.inputs, inputs, strict=True)}
            yield from calls_of(_nodes(inner), inside)
            outputs = tuple(inside[id(tensor)] for tensor in inner.outputs)
        else:
            outputs = _outputs(node, inputs, specs)
            values = {id(tensor): specs[id(tensor)] for tensor in node.input_tensors}
            yield Call(node.operation, node, values, inputs, outputs)
        specs.update(zip(map(id, node.outputs), outputs, strict=True))


def _outputs(node: Any, inputs: Sequence[Spec], specs: Specs) -> tuple[Spec, ...]:
    import keras

    pairs = zip(node.input_tensors, inputs, strict=True)
    recorded = all(tensor.shape[1:] == spec.shape[1:] for tensor, spec in pairs)
    known = not any(None in tensor.shape[1:] for tensor in node.outputs)
    # Anything else may fold the batch into another axis.
    if recorded and known and inputs and type(node.operation).__module__.startswith("keras.src.la"):
        return tuple(spec_of(tensor, inputs[0].shape[0]) for tensor in node.outputs)
    args, kwargs = node.arguments.fill_in(specs)
    operation = node.operation
    with restored_draws():
        outputs = operation.compute_output_spec(*args, **kwargs)
        if any(None in spec.shape for spec in keras.tree.flatten(outputs)):
            # It may know less than its own call.
            outputs = keras.Operation.compute_output_spec(operation, *args, **kwargs)
    return tuple(keras.tree.flatten(outputs))


def _nodes(inner: Any) -> Iterator[Any]:
    for depth in sorted(inner._nodes_by_depth, reverse=True):
        yield from (node for node in inner._nodes_by_depth[depth] if not node.is_input)
