"""What lies between two separators of a model: run it as the model itself would."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

import keras
import tensorflow as tf
from keras.src.layers.convolutional.base_conv import BaseConv
from keras.src.layers.convolutional.base_conv_transpose import BaseConvTranspose
from keras.src.layers.convolutional.base_depthwise_conv import BaseDepthwiseConv
from keras.src.layers.convolutional.base_separable_conv import BaseSeparableConv
from keras.src.ops.node import Node

from mem_dfa.shapes.graph_models import has_own_call, is_graph
from mem_dfa.shapes.layer_calls import Call, calls_of

Tensor: TypeAlias = tf.Tensor

# A linear map of the input and then `activation`, which may be None.
LINEAR = (
    keras.layers.Dense,
    keras.layers.EinsumDense,
    BaseConv,
    BaseConvTranspose,
    BaseDepthwiseConv,
    BaseSeparableConv,
)
NORMALISATIONS = (
    keras.layers.BatchNormalization,
    keras.layers.GroupNormalization,
    keras.layers.LayerNormalization,
    keras.layers.Normalization,
    keras.layers.RMSNormalization,
    keras.layers.UnitNormalization,
)


def is_linear(layer: object) -> bool:
    """Whether a layer is a linear map of its input and then its `activation`.

    One with its own `call` may do something after its activation.
    """
    if not isinstance(layer, LINEAR):
        return False
    return layer.activation in (None, keras.activations.linear) or not has_own_call(layer)


def leaf_layers(layer: keras.layers.Layer) -> Iterator[keras.layers.Layer]:
    """The layers of a model, with nested Sequential and functional models opened."""
    if is_graph(layer):
        for inner in layer.layers:
            yield from leaf_layers(inner)
    else:
        yield layer


def is_weight_layer(layer: keras.layers.Layer) -> bool:
    """Whether a layer opens a block: it has weights and is no normalisation."""
    # `weights` leaves out the state of seed generators, which a Dropout has as well.
    return bool(layer.weights) and not isinstance(layer, NORMALISATIONS)


class Atom:
    """The operations between two separators, run as one function of one tensor."""

    def __init__(
        self, before: keras.KerasTensor, after: keras.KerasTensor, nodes: Sequence[Node]
    ) -> None:
        """Take the calls `nodes`, in an order in which they can run, from `before` to `after`."""
        self.before, self.after, self.nodes = before, after, tuple(nodes)
        self.operations = [node.operation for node in nodes]
        self.name = self.operations[-1].name

    def __call__(self, inputs: Tensor, training: bool) -> Tensor:
        """Run the model's own layers as a functional Keras model does."""
        values = {id(self.before): inputs}
        for node in self.nodes:
            args, kwargs = node.arguments.fill_in(values)
            # The recorded call may hold a layer's default; Keras lets the running one win, too.
            if "training" in getattr(node.operation, "_call_context_args", ()):
                kwargs["training"] = training
            results = keras.tree.flatten(node.operation(*args, **kwargs))
            values.update(zip(map(id, node.outputs), results, strict=True))
        return values[id(self.after)]

    def calls(self, inputs: keras.KerasTensor) -> tuple[list[Call], keras.KerasTensor]:
        """The calls inside, nested models opened, and what comes out for an input like `inputs`."""
        specs = {id(self.before): inputs}
        return list(calls_of(self.nodes, specs)), specs[id(self.after)]

    @property
    def layers(self) -> list[keras.layers.Layer]:
        """The layers inside, nested models opened, each once."""
        found = (op for op in self.operations if isinstance(op, keras.layers.Layer))
        return list({id(leaf): leaf for layer in found for leaf in leaf_layers(layer)}.values())

    @property
    def weight_layers(self) -> list[keras.layers.Layer]:
        """The layers that hold weights, normalisations not counted."""
        return [layer for layer in self.layers if is_weight_layer(layer)]


class LayerAtom(Atom):
    """One layer or model as an atom, wherever it is called."""

    def __init__(self, layer: keras.layers.Layer) -> None:
        """Take the layer, with the first input it was called with, if it was."""
        self.operations, self.name = [layer], layer.name
        self.before = layer._inbound_nodes[0].input_tensors[0] if layer._inbound_nodes else None

    def __call__(self, inputs: Tensor, training: bool) -> Tensor:
        """Run the layer."""
        return self.operations[0](inputs, training=training)


class LinearPart(Atom):
    """A weight layer without the activation it has of its own: it ends in the logits z."""

    def __call__(self, inputs: Tensor, training: bool) -> Tensor:
        """Z from the layer's input."""
        with without_activation(self.operations[0]):
            return super().__call__(inputs, training)


class ActivationPart(Atom):
    """The activation that a weight layer has of its own."""

    @property
    def layers(self) -> list[keras.layers.Layer]:
        """None: the weights belong to the linear part."""
        return []

    def calls(self, inputs: keras.KerasTensor) -> tuple[list[Call], keras.KerasTensor]:
        """None: the layer's call is the linear part."""
        return [], inputs

    def __call__(self, inputs: Tensor, training: bool) -> Tensor:
        """The activation of z."""
        return self.operations[0].activation(inputs)


@contextmanager
def with_call(layer: keras.layers.Layer, call: Callable[..., Any]) -> Iterator[None]:
    """Within the context the layer runs `call` in the place of its own."""
    own = vars(layer).get("call")  # which the user may have set
    layer.call = call
    try:
        yield
    finally:
        if own is None:
            del layer.call
        else:
            layer.call = own


@contextmanager
def without_activation(layer: keras.layers.Layer) -> Iterator[None]:
    """Within the context the layer ends in its linear part."""
    activation = layer.activation
    layer.activation = None
    try:
        yield
    finally:
        layer.activation = activation
