"""Small constants that stand in a graph once, however many operations read them.

Each constant of a traced step stays in memory between the steps, 256 bytes for the smallest.
What a step of a thousand blocks needs for every block would be megabytes.
"""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import tensorflow as tf

_BY_GRAPH: WeakKeyDictionary[tf.Graph, dict[Any, tf.Tensor]] = WeakKeyDictionary()


def constant(value: Any, dtype: tf.DType) -> tf.Tensor:
    """The constant of that value and dtype in the graph that is being traced."""
    if tf.executing_eagerly():
        return tf.constant(value, dtype)
    array = np.asarray(value, dtype.as_numpy_dtype)
    graph = tf.compat.v1.get_default_graph()
    known = _BY_GRAPH.setdefault(graph, {})
    key = (array.tobytes(), array.shape, dtype)
    if key not in known:
        # It may be read where what is waited for now is not there yet.
        with graph.control_dependencies(None):
            known[key] = tf.constant(array, dtype)
    return known[key]
