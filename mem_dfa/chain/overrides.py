"""What a network says of its own training, which a trainer around it would pass over."""

from __future__ import annotations

import keras
from keras.src.trainers.trainer import Trainer

from mem_dfa.errors import UnsupportedError

# What Keras's trainers are made of, and what they ask a model for; without old names that nothing
# calls.
TRAINING = {
    name
    for kind in keras.Model.__mro__
    if kind is not keras.Model and issubclass(kind, Trainer)
    for name in vars(kind)
    if not name.startswith("__")
} - {"compiled_loss", "compiled_metrics", "loss"} | {
    "losses",
    "non_trainable_variables",
    "trainable_variables",
    "trainable_weights",
}


def _owner(layer: keras.layers.Layer, name: str) -> str | None:
    """The class that gives the layer its attribute `name`; None if that is one of Keras's."""
    if name in vars(layer):
        return "the model itself"
    kind = next((kind for kind in type(layer).__mro__ if name in vars(kind)), keras.Model)
    return None if kind.__module__.partition(".")[0] == "keras" else f"class {kind.__name__}"


def has_own_call(layer: keras.layers.Layer) -> bool:
    """Whether a layer of a kind that Keras has runs something else when it is called."""
    return any(_owner(layer, name) for name in ("call", "__call__"))


def refuse_own_training(network: keras.Model, algorithm: str) -> None:
    """Look for what Keras would run when it trained the network, and a trainer does not.

    Args:
        network: of any kind.
        algorithm: name of the trainer's class, for the message.

    Raises:
        UnsupportedError: there is some; the message names each method and where it is from.
    """
    owners = {name: _owner(network, name) for name in sorted(TRAINING)}
    own = {name: owner for name, owner in owners.items() if owner is not None}
    if own:
        names = ", ".join(f"{name} (of {owner})" for name, owner in own.items())
        raise UnsupportedError(
            f"{algorithm} received model '{network.name}' with training of its own, which a "
            f"trainer around it does not run: {names}; put the term into the loss or metrics given "
            f"to compile, override the method in a subclass of {algorithm}, or train with the "
            "model's own fit."
        )
    free = [] if network.trainable else [v for v in network.variables if v.trainable]
    if free:
        raise UnsupportedError(
            f"{algorithm} received model '{network.name}', which is frozen as a whole while "
            f"'{free[0].path}' in it is not: Keras would train nothing; set trainable of the "
            "model, or of that layer, to say what is meant."
        )
