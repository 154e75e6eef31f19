"""Where a model's logits are: before its last activation."""

from __future__ import annotations

import keras

from mem_dfa.chain.atom import ActivationPart, Atom, LinearPart, is_linear
from mem_dfa.chain.foreign_code import is_known_layer

RESHAPES = (
    keras.layers.Flatten,
    keras.layers.Identity,
    keras.layers.InputLayer,
    keras.layers.Permute,
    keras.layers.Reshape,
)
ACTIVATIONS = (
    keras.layers.Activation,
    keras.layers.ELU,
    keras.layers.LeakyReLU,
    keras.layers.ReLU,
    keras.layers.Softmax,
)
ACTIVATION_OPERATIONS = (
    "Elu",
    "Gelu",
    "HardSigmoid",
    "LeakyRelu",
    "LogSigmoid",
    "LogSoftmax",
    "Relu",
    "Relu6",
    "Selu",
    "Sigmoid",
    "Silu",
    "Softmax",
    "Softplus",
    "Softsign",
    "Tanh",
)


def split_head(atoms: list[Atom]) -> tuple[list[Atom], list[Atom]]:
    """Cut before the model's last activation, so that the body ends in the logits z.

    A weight layer with an activation of its own, such as Dense(10, "softmax"), is split in two.
    What may be an activation, see `_may_be_activation`, belongs to the head as well.
    """
    start = len(atoms)
    for position in range(len(atoms) - 1, -1, -1):
        atom = atoms[position]
        operation = atom.operations[0] if len(atom.operations) == 1 else None
        linear = getattr(operation, "activation", None) in (None, keras.activations.linear)
        if isinstance(operation, ACTIVATIONS) and not (
            isinstance(operation, keras.layers.Activation) and linear
        ):
            return atoms[:position], atoms[position:]
        if type(operation).__name__ in ACTIVATION_OPERATIONS:
            return atoms[:position], atoms[position:]
        if is_linear(operation) and not linear:
            parts = (atom.before, atom.after, atom.nodes)
            return (
                [*atoms[:position], LinearPart(*parts)],
                [ActivationPart(*parts), *atoms[position + 1 :]],
            )
        if _may_be_activation(atom):
            start = position
        elif not isinstance(operation, (*RESHAPES, keras.layers.Activation)):
            break
    return atoms[:start], atoms[start:]


def _may_be_activation(atom: Atom) -> bool:
    """Whether nobody can tell: what keeps the shape, has no weights and is no layer of Keras's.

    A softmax in a Lambda, in a layer of the user's own, or made of operations. If it is another
    thing, e is taken before it all the same, by the exact chain rule.
    """
    return atom.before.shape == atom.after.shape and not any(
        isinstance(operation, keras.layers.Layer)
        and (operation.weights or is_known_layer(operation))
        for operation in atom.operations
    )
