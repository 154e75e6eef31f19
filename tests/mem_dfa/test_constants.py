"""What stands in a graph once."""

import gc
import weakref

import tensorflow as tf

from mem_dfa.graph.once import constant


def twice(x: tf.Tensor) -> tf.Tensor:
    return x + constant(2.0, tf.float32) * constant(2.0, tf.float32)


def test_a_constant_stands_in_each_graph_once() -> None:
    """In one of a function inside another once as well, and it is that graph's own."""
    inner = tf.function(twice, autograph=False)

    @tf.function(autograph=False)
    def outer(x: tf.Tensor) -> tf.Tensor:
        return twice(x) + inner(x)

    x = tf.constant(1.0)
    for function in (inner, outer):
        operations = function.get_concrete_function(x).graph.get_operations()
        assert sum(operation.type == "Const" for operation in operations) == 1
    assert float(outer(x)) == 10.0
    assert float(twice(x)) == 5.0  # eagerly


def test_it_does_not_keep_a_graph_alive() -> None:
    graphs = []

    def traced(x: tf.Tensor) -> tf.Tensor:
        graphs.append(weakref.ref(tf.compat.v1.get_default_graph()))
        return twice(x)

    function = tf.function(traced, autograph=False)
    assert float(function(tf.constant(1.0))) == 5.0
    assert graphs[0]() is not None
    del function
    gc.collect()
    assert graphs[0]() is None
