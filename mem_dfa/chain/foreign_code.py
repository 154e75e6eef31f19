"""Whether a layer runs code of somebody else's, which may do anything."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import keras

OWN_PACKAGES = ("keras.src.", "mem_dfa.", "tensorflow.python.ops.")
# What draws keeps a state.
DRAWING_MODULES = ("keras.src.random.", "tensorflow.python.ops.random")
# Made once, or asked outside of a layer's call.
NOT_CALLED = ("_initializer", "_regularizer", "_constraint")


def parts_of(operation: keras.Operation) -> Iterator[keras.Operation]:
    """An operation with all layers and operations inside."""
    layers = operation._flatten_layers() if isinstance(operation, keras.layers.Layer) else ()
    for part in layers or (operation,):
        yield part
        if isinstance(part, keras.Model):
            yield from (
                inner
                for inner in getattr(part, "operations", ())
                if not isinstance(inner, keras.layers.Layer)
            )


def is_keras_only(operation: keras.Operation) -> bool:
    """Whether no code runs in it but Keras's, TensorFlow's and this package's."""
    return all(_is_own(called) for part in parts_of(operation) for called in _called_by(part))


def is_known_layer(layer: keras.layers.Layer) -> bool:
    """Whether what a layer does is known by its class, which is one of Keras's and no Lambda."""
    of_keras = type(layer).__module__.startswith("keras.src.layers.")
    return of_keras and not isinstance(layer, keras.layers.Lambda)


def _called_by(part: keras.Operation) -> Iterator[Any]:
    yield type(part)
    for name, value in vars(part).items():
        if callable(value) and not name.endswith(NOT_CALLED):
            yield value


def _is_own(called: Any) -> bool:
    if isinstance(called, functools.partial):
        return _is_own(called.func)
    module = getattr(called, "__module__", None) or type(called).__module__
    return module.startswith(OWN_PACKAGES) and not module.startswith(DRAWING_MODULES)
