"""What runs one after another, and not at once."""

import itertools
import re
from collections.abc import Callable, Iterator

import keras
import pytest
import tensorflow as tf

from mem_dfa import ALGORITHMS
from mem_dfa.algorithms.revnet import RevNet
from mem_dfa.graph.ordering import after, in_turn, token
from mem_dfa.layers.reversible import ReversibleBlock
from tests.mem_dfa.comparison import compiled, recorded

SIZE, WIDTH, BATCH, STEPS = 16, 8, 8, 6


def branches(x: tf.Tensor) -> tf.Tensor:
    with in_turn():
        first, second = tf.linalg.matmul(x, x), tf.linalg.matmul(x, 2.0 * x)
    return first + second


def test_operations_wait_for_the_one_made_before_them() -> None:
    traced = tf.function(branches).get_concrete_function(tf.TensorSpec((4, 4)))
    ran = [op for op in traced.graph.get_operations() if op.type in ("MatMul", "Mul", "AddV2")]
    assert [op.type for op in ran] == ["MatMul", "Mul", "MatMul", "AddV2"]
    before = [[other.name for other in op.control_inputs] for op in ran]
    # What is made outside waits for its inputs alone.
    assert before == [[], [ran[0].name], [ran[1].name], []]


def test_eagerly_it_is_as_written() -> None:
    x = tf.eye(4)
    tf.debugging.assert_equal(branches(x), 3.0 * x)


def residual_unit(width: int) -> keras.Model:
    """Two branches, each with what BatchNormalization's gradient makes."""
    inputs = keras.Input((SIZE, SIZE, WIDTH))
    outputs = []
    for number in range(2):
        x = keras.layers.Conv2D(width, 3, padding="same", use_bias=False)(inputs)
        x = keras.layers.BatchNormalization()(x)
        outputs.append(keras.layers.ReLU(name=f"unit_{number}")(x))
    return keras.Model(inputs, keras.layers.Add()(outputs))


def half() -> keras.Sequential:
    return keras.Sequential(
        [
            keras.Input((SIZE, SIZE, WIDTH // 2)),
            keras.layers.Conv2D(WIDTH // 2, 3, padding="same"),
            keras.layers.BatchNormalization(),
        ]
    )


def test_every_step_of_a_net_with_branches_asks_for_the_same() -> None:
    net = keras.Sequential(
        [
            keras.Input((SIZE, SIZE, 3)),
            keras.layers.Conv2D(WIDTH, 3, padding="same"),
            ReversibleBlock(half(), half()),
            residual_unit(WIDTH),
            ReversibleBlock(half(), half()),
            residual_unit(2 * WIDTH),
            keras.layers.GlobalAveragePooling2D(),
        ]
    )
    trainer = compiled(RevNet(net), keras.optimizers.SGD(0.01))
    x, y = tf.random.stateless_normal((BATCH, SIZE, SIZE, 3), (1, 2)), tf.zeros((BATCH,), tf.int32)
    taken = [timeline.step_requested_bytes for timeline in recorded(trainer, x, y, STEPS)]
    # Scalars, of the order of which nothing is said.
    assert max(taken) - min(taken) < 0.001 * min(taken)


def needed(operation: tf.Operation) -> set[tf.Operation]:
    """What has to be done before it."""
    found: set[tf.Operation] = set()
    waiting = [operation]
    while waiting:
        one = waiting.pop()
        new = {*one.control_inputs, *(tensor.op for tensor in one.inputs)} - found
        found |= new
        waiting += new
    return found


@pytest.mark.parametrize(
    ("algorithm", "details"),
    [
        ("checkpoint", {"every": 1}),  # where nothing is run again
        ("checkpoint", {"every": 2}),
        ("checkpoint_fa", {"every": 1}),
        ("dfa", {}),
        ("mem_dfa", {}),
    ],
)
def test_a_block_is_updated_before_the_next_one_is_differentiated(
    algorithm: str, details: dict[str, int]
) -> None:
    """Otherwise the gradients of the one are held beside those of the other, or are not."""
    dense = [keras.layers.Dense(5, activation="relu") for _ in range(4)]
    net = keras.Sequential([keras.Input((4,)), *dense, keras.layers.Dense(3)])
    trainer = compiled(ALGORITHMS[algorithm](net, **details), keras.optimizers.SGD(0.1))
    trainer.optimizer.build(trainer.trainable_variables)
    data = (tf.zeros((2, 4)), tf.zeros((2,), tf.int32))
    graph = tf.function(trainer.train_step).get_concrete_function(data).graph
    written, differentiated = {}, {}
    for operation in graph.get_operations():
        for block in re.findall(r"block_\d+", operation.name):
            if re.match(r"update/.*/AssignSub", operation.name):
                written.setdefault(block, []).append(operation)
            elif operation.type == "MatMul" and "gradient_tape/" in operation.name:
                differentiated.setdefault(block, []).append(operation)
    order = list(written)
    assert len(order) == 5
    for block, following in itertools.pairwise(order):
        for operation in differentiated[following]:
            assert needed(operation).issuperset(written[block]), operation.name


def test_branches_of_a_block_are_differentiated_in_turn() -> None:
    """Otherwise it is another peak when a shortcut's gradient runs beside its branch's."""
    layers = keras.layers
    inputs = keras.Input((SIZE, SIZE, 3))
    before = layers.Conv2D(WIDTH, 3, padding="same")(inputs)
    after = layers.BatchNormalization()(layers.Conv2D(WIDTH, 3, padding="same")(before))
    joined = layers.Add()([layers.Conv2D(WIDTH, 1)(before), layers.ReLU()(after)])
    net = keras.Model(inputs, layers.Dense(3)(layers.GlobalAveragePooling2D()(joined)))
    trainer = compiled(ALGORITHMS["checkpoint"](net, every=1), keras.optimizers.SGD(0.1))
    trainer.optimizer.build(trainer.trainable_variables)
    data = (tf.zeros((BATCH, SIZE, SIZE, 3)), tf.zeros((BATCH,), tf.int32))
    graph = tf.function(trainer.train_step).get_concrete_function(data).graph
    kinds = ("Conv2DBackpropInput", "Conv2DBackpropFilter", "Mul", "ReluGrad")
    gradient = [
        operation
        for operation in graph.get_operations()
        if operation.type in kinds and re.match(r"gradient_tape/.*/block_002/", operation.name)
    ]
    assert {operation.type for operation in gradient} == set(kinds)
    for earlier, later in itertools.pairwise(gradient):
        assert earlier in needed(later), later.name


def test_what_a_reversible_net_rebuilt_is_compared_and_its_errors_joined_in_turn() -> None:
    """Either takes as much as a block when it runs all at once, or beside an update."""
    net = keras.Sequential(
        [
            keras.Input((SIZE, SIZE, 3)),
            keras.layers.Conv2D(WIDTH, 3, padding="same"),
            ReversibleBlock(half(), half()),
            keras.layers.GlobalAveragePooling2D(),
        ]
    )
    trainer = compiled(RevNet(net), keras.optimizers.SGD(0.01))
    trainer.optimizer.build(trainer.trainable_variables)
    data = (tf.zeros((BATCH, SIZE, SIZE, 3)), tf.zeros((BATCH,), tf.int32))
    graph = tf.function(trainer.train_step).get_concrete_function(data).graph
    operations = graph.get_operations()
    compared = [
        operation
        for operation in operations
        if operation.name.startswith("replay/check/") and operation.type in ("Sub", "Abs", "Max")
    ]
    assert len(compared) > 50
    for one, following in itertools.pairwise(compared):
        assert one in needed(following), following.name
    (joined,) = [op for op in operations if op.type == "ConcatV2" and "backward/" in op.name]
    written = {op for op in operations if re.match("update/block_002/.*AssignSub", op.name)}
    assert written
    assert written <= needed(joined)


@pytest.fixture
def compiles_by_itself() -> Iterator[None]:
    tf.config.optimizer.set_jit("autoclustering")
    yield
    tf.config.optimizer.set_jit(False)


def held_back(x: tf.Tensor) -> tf.Tensor:
    return after(x, token([2.0 * x]))


def types_of(traced: tf.types.experimental.PolymorphicFunction) -> set[str]:
    """The operations of a function and of those that it calls."""
    definition = traced.get_concrete_function(tf.TensorSpec((4,))).graph.as_graph_def()
    inner = [node.op for function in definition.library.function for node in function.node_def]
    return {*inner, *(node.op for node in definition.node)}


def test_a_graph_waits_without_arithmetic() -> None:
    assert not types_of(tf.function(held_back)) & {"AddV2", "Add", "Greater"}


@pytest.mark.parametrize("inner", [held_back, tf.function(held_back)])
def test_xla_waits_by_arithmetic(inner: Callable[[tf.Tensor], tf.Tensor]) -> None:
    traced = tf.function(lambda x: inner(x), jit_compile=True)
    assert {"AddV2", "Greater"} <= types_of(traced)
    tf.debugging.assert_equal(traced(tf.range(4.0)), tf.range(4.0))


@pytest.mark.usefixtures("compiles_by_itself")
def test_what_xla_may_compile_waits_by_arithmetic() -> None:
    assert {"AddV2", "Greater"} <= types_of(tf.function(held_back))


def test_a_variable_is_waited_for_as_it_is_now() -> None:
    variable = tf.Variable(1.0)

    @tf.function
    def step(x: tf.Tensor) -> tf.Tensor:
        variable.assign_add(1.0)
        return after(x, token([variable]))

    (output,) = step.get_concrete_function(tf.TensorSpec(())).outputs
    waited_for, types = [output.op], []
    while waited_for:
        operation = waited_for.pop()
        types.append(operation.type)
        waited_for += [*operation.control_inputs, *(tensor.op for tensor in operation.inputs)]
    assert "AssignAddVariableOp" in types


def test_the_value_of_a_variable_is_read_after_what_it_waits_for() -> None:
    variable = tf.Variable(1.0)

    @tf.function
    def step(x: tf.Tensor) -> tf.Tensor:
        return after(variable, token([x]))

    graph = step.get_concrete_function(tf.TensorSpec(())).graph
    (read,) = [op for op in graph.get_operations() if op.type == "ReadVariableOp"]
    assert read.control_inputs
