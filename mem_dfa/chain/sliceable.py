"""Whether a block does with slices of a batch what it does with the whole."""

from __future__ import annotations

import keras

from mem_dfa.chain.block import Block
from mem_dfa.chain.foreign_code import is_known_layer


def can_be_sliced(block: Block) -> bool:
    """Whether slices of the batch give what the whole batch gives.

    Not so for statistics over the batch (BatchNormalization), for random draws (Dropout draws one
    mask for all), along the batch's axis, and for what is not Keras's own and may do either. A
    sparse batch is not cut.
    """
    if block.state_variables or not block.runs_only_keras or block.atoms[0].before.sparse:
        return False
    return all(
        isinstance(operation, keras.layers.Layer)
        and all(_takes_example_by_example(layer) for layer in operation._flatten_layers())
        for operation in [*block.operations, *block.layers]
    )


def _takes_example_by_example(layer: keras.layers.Layer) -> bool:
    """Of a layer that has no state and runs Keras's code alone: not along the batch's axis."""
    if not is_known_layer(layer):
        return False
    # A negative axis of Keras's is counted from the end once the layer is built, or by its rank.
    inputs = [tensor for node in layer._inbound_nodes for tensor in node.input_tensors]
    rank = len(inputs[0].shape) if inputs else 0
    return not {0, -rank} & set(keras.tree.flatten(getattr(layer, "axis", None)))
