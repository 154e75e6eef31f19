"""Blocks' inputs in host memory: BP's own steps, and copies that go out and come back in time.

The host is a second device of the same processor: memory cannot tell where something is kept, the
graph can.
"""

import re
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import config_pb2
from tensorflow.python.grappler import tf_optimizer

from mem_dfa import Offload, UnsupportedError
from tests.mem_dfa.comparison import (
    EXECUTIONS,
    assert_goes_on_after_saving,
    batch,
    change,
    compiled,
    distance,
    operations_before,
)
from tests.mem_dfa.test_checkpoint import adam, deep_net, momentum, steps_of_bp

BLOCKS, ROWS = 8, 2


@pytest.mark.parametrize("execution", ["graph", "eager"])
def test_the_weights_are_those_of_bp(execution: str) -> None:
    trainer = compiled(Offload(deep_net(), host="CPU:1"), momentum(), **EXECUTIONS[execution])
    for steps, expected in zip((1, 2), steps_of_bp(momentum)[0], strict=True):
        assert distance(change(trainer, steps), expected) <= 1e-5


@pytest.mark.usefixtures("float64")
def test_the_weights_are_those_of_bp_in_float64_with_adam() -> None:
    trainer = compiled(Offload(deep_net(), host="CPU:1"), adam(), run_eagerly=True)
    for steps, expected in zip((1, 2), steps_of_bp(adam, "float64")[0], strict=True):
        assert distance(change(trainer, steps, "float64"), expected) <= 1e-7


def dense_net() -> keras.Model:
    dense = [keras.layers.Dense(5, activation="relu") for _ in range(BLOCKS - 1)]
    return keras.Sequential([keras.Input((4,)), *dense, keras.layers.Dense(3)])


@pytest.fixture(scope="module", name="graph")
def graph_of_a_step() -> tf.Graph:
    trainer = compiled(Offload(dense_net(), host="CPU:1"), keras.optimizers.SGD(0.1))
    trainer.optimizer.build(trainer.trainable_variables)
    data = (tf.zeros((ROWS, 4)), tf.zeros((ROWS,), tf.int32))
    return tf.function(trainer.train_step).get_concrete_function(data).graph


def by_block(operations: list[tf.Operation], pattern: str) -> dict[int, tf.Operation]:
    """The last operation of each block, counted from 1, whose name is like a pattern."""
    found = ((re.search(pattern, operation.name), operation) for operation in operations)
    return {int(match[1]): operation for match, operation in found if match}


def on_the_host(graph: tf.Graph, phase: str) -> dict[int, tf.Operation]:
    """The copies there, by the block."""
    operations = [one for one in graph.get_operations() if one.device.endswith("CPU:1")]
    return by_block(operations, rf"^{phase}/block_(\d+)")


def before(operation: tf.Operation) -> set[tf.Operation]:
    return operations_before(operation.outputs[0])


def test_copies_are_fetched_two_blocks_ahead(graph: tf.Graph) -> None:
    updates = by_block(graph.get_operations(), r"^update/block_(\d+)/.*AssignSub")
    fetched = on_the_host(graph, "replay")
    # The first block reads the batch, and the last one runs once.
    assert sorted(fetched) == list(range(2, BLOCKS))
    for block, copy in fetched.items():
        done = {other for other, update in updates.items() if update in before(copy)}
        # Of the last ones when the backward pass begins, of others while block + 2 runs.
        assert done == set(range(min(block + 3, BLOCKS), BLOCKS + 1)), block


def test_blocks_run_on_while_two_copies_are_under_way(graph: tf.Graph) -> None:
    copies = on_the_host(graph, "forward")  # of outputs; the last block but one needs none
    assert sorted(copies) == list(range(1, BLOCKS - 1))
    for block, run in by_block(graph.get_operations(), r"^forward/block_(\d+)/.*MatMul$").items():
        waited = {other for other, copy in copies.items() if copy in before(run)}
        assert waited == set(range(1, min(block - 2, BLOCKS - 3))), block


def test_tensorflow_keeps_the_copies_when_it_optimizes_the_graph(graph: tf.Graph) -> None:
    exported = tf.compat.v1.train.export_meta_graph(graph_def=graph.as_graph_def(), graph=graph)
    ends = exported.collection_def["train_op"].node_list.value
    ends.extend(tensor.name for tensor in graph.outputs)
    ends.extend(one.name for one in graph.get_operations() if "AssignSub" in one.name)
    options = config_pb2.ConfigProto()
    options.graph_options.rewrite_options.min_graph_nodes = -1
    optimized = tf_optimizer.OptimizeGraph(options, exported)
    assert len(optimized.node) < len(graph.get_operations())
    moved = [node for node in optimized.node if node.device.endswith("CPU:1")]
    for phase, count in {"forward": BLOCKS - 3, "replay": BLOCKS - 2}.items():
        # That of the first copy, which waits for nothing, goes by itself.
        assert sum(node.name.startswith(f"{phase}/") for node in moved) >= count


def test_what_is_kept_on_the_host() -> None:
    trainer = Offload(dense_net(), host="CPU:1")
    assert trainer.host_bytes(64) == (BLOCKS - 2) * 4 * 64 * 5


def test_it_goes_on_after_saving(tmp_path: Path) -> None:
    trainer = compiled(Offload(dense_net(), host="CPU:1"), momentum())
    data = np.ones((ROWS, 4), np.float32), np.arange(ROWS)
    assert_goes_on_after_saving(trainer, data, tmp_path)


def test_the_memory_that_computes_is_no_host() -> None:
    with pytest.raises(UnsupportedError, match=r"received host='CPU:0', which computes, too"):
        Offload(dense_net())
    with pytest.raises(UnsupportedError, match=r"host='CPU:7': give one of .*CPU:0, CPU:1"):
        Offload(dense_net(), host="CPU:7")


def test_xla_has_one_device() -> None:
    trainer = Offload(dense_net(), host="CPU:1")
    with pytest.raises(UnsupportedError, match="jit_compile=True: XLA compiles a step for one"):
        trainer.compile("sgd", "mse", jit_compile=True)
    trainer.compile("sgd", "mse")
    assert trainer.jit_compile is False


def test_nothing_of_one_step_waits_for_another() -> None:
    """Eagerly there is one keeper for all steps."""
    trainer = compiled(Offload(deep_net(), host="CPU:1"), momentum(), run_eagerly=True)
    x, y = batch()
    losses = [float(trainer.train_on_batch(x, y)[0]) for _ in range(3)]
    assert losses == sorted(losses, reverse=True)
    assert np.isfinite(losses).all()
