"""What runs one after another, and not at once."""

import keras
import tensorflow as tf

from mem_dfa.algorithms.revnet import RevNet
from mem_dfa.layers.reversible import ReversibleBlock
from mem_dfa.ordering import in_turn
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
