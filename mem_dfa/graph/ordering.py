"""Order by data dependency: "this not before that", in graph mode, eagerly and under XLA.

A traced step is a graph without order: TensorFlow merges a second forward pass into the first one
when both have the same inputs, and starts whatever does not depend on the previous block at the
start of the step. Control dependencies stop that, and cost nothing, but XLA drops them: there a
value that really enters the arithmetic is needed, which costs an addition an element.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import tensorflow as tf
from tensorflow.python.ops.control_flow_util import GraphOrParentsInXlaContext

from mem_dfa.graph.once import constant


def token(tensors: Sequence[tf.Tensor]) -> tf.Tensor:
    """A scalar 0 that exists only after every one of `tensors` does.

    Under XLA 0 = [s > ∞], which no optimizer of TensorFlow or XLA simplifies, for s the sum of one
    element of each tensor. Unlike 0·s it stays 0 when s is NaN or infinite. Eagerly whatever is
    there is there.

    Args:
        tensors: of any dtype, which under XLA is numeric; sparse ones and variables, too.
    """
    if tf.executing_eagerly():
        return tf.constant(0.0)
    # The rows of an Embedding's gradient, which would be made whole otherwise.
    sparse = (tf.IndexedSlices, tf.SparseTensor)
    tensors = [t.values if isinstance(t, sparse) else t for t in tensors]
    if runs_as_a_graph():
        # A variable itself would be waited for, and not its next value.
        with tf.control_dependencies([tf.convert_to_tensor(tensor) for tensor in tensors]):
            return tf.constant(0.0)
    firsts = [tf.cast(_first(tensor), tf.float32) for tensor in tensors]
    return tf.cast(tf.add_n(firsts) > constant(float("inf"), tf.float32), tf.float32)


def _first(tensor: tf.Tensor) -> tf.Tensor:
    """One element; 0 where there may be none, as in a slice of a batch of unknown size."""
    flat = tf.reshape(tensor, constant([-1], tf.int32))
    zero, one = constant([0], tf.int32), constant([1], tf.int32)
    if tensor.shape.num_elements():
        return tf.reshape(tf.slice(flat, zero, one), constant([], tf.int32))
    return tf.reduce_sum(tf.strided_slice(flat, zero, one), constant(0, tf.int32))


def after(
    tensor: tf.Tensor | tf.SparseTensor | tf.Variable, earlier: tf.Tensor | None
) -> tf.Tensor | tf.SparseTensor:
    """`tensor`, unchanged, but not before `earlier`.

    Args:
        tensor: any shape and dtype, which under XLA is numeric. A variable is read; XLA makes a
            copy.
        earlier: a scalar from `token`; None for "no order". Eagerly, operations run in the order
            in which they are written, and no copy is made.
    """
    if earlier is None or tf.executing_eagerly():
        return tensor
    if runs_as_a_graph():
        with tf.control_dependencies([earlier]):
            return tf.identity(tensor)
    return tensor + tf.cast(earlier, tensor.dtype)


def runs_as_a_graph() -> bool:
    """Whether what is traced now is to run as a graph, in which control dependencies hold."""
    if tf.executing_eagerly() or tf.config.optimizer.get_jit():
        return False
    return not GraphOrParentsInXlaContext(tf.compat.v1.get_default_graph())


# Constants, shapes and their like take no memory. A bias's gradient, from which nothing else is
# computed, is left to itself because TensorFlow fuses it with the kernel's, made later.
_FREE = ("BiasAddGrad", "Const", "Identity", "NoOp", "Placeholder", "Reshape", "Shape", "ShapeN")


@contextlib.contextmanager
def in_turn(first: tf.Tensor | None = None) -> Iterator[None]:
    """Run the operations made inside one after another, in the order in which they are made.

    TensorFlow runs what does not depend on each other at once, or in either order, so that the
    peak of a gradient with branches differs from step to step. Control dependencies are enough
    where nothing is computed twice; XLA drops them, but has one order for everything.

    Args:
        first: made before, and waited for by all of them.
    """
    if tf.executing_eagerly():
        yield
        return
    graph = tf.compat.v1.get_default_graph()
    count = len(graph.get_operations())
    yield
    last = None if first is None else first.op
    for operation in graph.get_operations()[count:]:
        if operation.type in _FREE:
            continue
        if last is not None:
            operation._add_control_input(last)
        last = operation
