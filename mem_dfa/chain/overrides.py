"""What a network says of its own training, which a trainer around it would pass over."""

from __future__ import annotations

import keras
from keras.src.trainers.trainer import Trainer

from mem_dfa.errors import UnsupportedError
from mem_dfa.shapes.graph_models import owner

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


def refuse_own_training(network: keras.Model, algorithm: str) -> None:
    """Look for what Keras would run when it trained the network, and a trainer does not.

    Args:
        network: of any kind.
        algorithm: name of the trainer's class, for the message.

    Raises:
        UnsupportedError: there is some; the message names each method and where it is from.
    """
    owners = {name: owner(network, name) for name in sorted(TRAINING)}
    own = {name: found for name, found in owners.items() if found is not None}
    if own:
        names = ", ".join(f"{name} (of {found})" for name, found in own.items())
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
