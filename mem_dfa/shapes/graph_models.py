"""Whether the graph of a Keras model is all that it does."""

from __future__ import annotations

from typing import Any

import keras
from keras.src.models import Functional


def owner(layer: keras.layers.Layer, name: str) -> str | None:
    """The class that gives the layer its attribute `name`; None if that is one of Keras's."""
    if name in vars(layer):
        return "the model itself"
    kind = next((kind for kind in type(layer).__mro__ if name in vars(kind)), keras.Model)
    return None if kind.__module__.partition(".")[0] == "keras" else f"class {kind.__name__}"


def has_own_call(layer: keras.layers.Layer) -> bool:
    """Whether a layer of a kind that Keras has runs something else when it is called."""
    return any(owner(layer, name) for name in ("call", "__call__"))


def is_graph(layer: object) -> bool:
    """Whether running its layers is all that a model does: one with its own `call` is one layer."""
    return isinstance(layer, (keras.Sequential, Functional)) and not has_own_call(layer)


def graph_of(operation: object) -> Any | None:
    """What holds the graph of a built model that is no more than its layers; else None."""
    # A Sequential is made of a functional model, as soon as it is built.
    return getattr(operation, "_functional", operation) if is_graph(operation) else None
