"""What stands in a graph once, however many operations read it: small constants above all.

Each constant of a traced step stays in memory between the steps, 256 bytes for the smallest.
What a step of a thousand blocks needs for every block would be megabytes.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

import numpy as np
import tensorflow as tf

_HELD = "_mem_dfa_once"


def once(key: Hashable, make: Callable[[], tf.Tensor]) -> tf.Tensor:
    """The tensor that `make` makes, once in the graph that is being traced; eagerly a new one.

    Args:
        key: of the tensor in the graph.
        make: must depend on nothing but variables that the step leaves as they are.
    """
    if tf.executing_eagerly():
        return make()
    graph = tf.compat.v1.get_default_graph()
    # Held by the graph itself: a tensor holds its graph, so a table beside it would keep both. Not
    # in a collection, which the graphs of functions inside take over.
    held = getattr(graph, _HELD, None)
    if held is None:
        held = {}
        setattr(graph, _HELD, held)
    if key not in held:
        # It may be read where what is waited for now is not there yet.
        with graph.control_dependencies(None):
            held[key] = make()
    return held[key]


def constant(value: Any, dtype: tf.DType) -> tf.Tensor:
    """The constant of that value and dtype."""
    array = np.asarray(value, dtype.as_numpy_dtype)
    key = (array.tobytes(), array.shape, dtype)
    return once(key, lambda: tf.constant(array, dtype))
