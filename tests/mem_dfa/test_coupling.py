"""One half of a reversible block, run backward: what waits for what, in the graph itself.

Which of two operations runs first differs from step to step; that one waits for the other does not.
"""

import keras
import pytest
import tensorflow as tf

from mem_dfa.graph.ordering import token
from mem_dfa.layers.reversible import ReversibleBlock
from mem_dfa.memory.inverse import Half

SHAPE = (2, 4, 4, 2)


def half() -> keras.Sequential:
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input(SHAPE[1:]),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.Conv2D(SHAPE[-1], 3, padding="same", use_bias=False),
        ]
    )


def before(operation: tf.Operation) -> set[str]:
    """The names of all that has run when an operation starts."""
    found, waiting = set(), [operation]
    while waiting:
        one = waiting.pop()
        for earlier in [*one.control_inputs, *(tensor.op for tensor in one.inputs)]:
            if earlier.name not in found:
                found.add(earlier.name)
                waiting.append(earlier)
    return found


@pytest.fixture(scope="module", params=["additive", "affine"])
def operations(request: pytest.FixtureRequest) -> list[tf.Operation]:
    layer = ReversibleBlock(half(), half(), coupling=request.param)

    def step(z: tf.Tensor, y: tf.Tensor, earlier: tf.Tensor, error: tf.Tensor) -> tuple:
        run = Half("block_001", layer, layer.f, z, y, token([earlier]))
        return run.backward(error, error, lambda loss: loss)[:3]

    specs = [tf.TensorSpec(SHAPE, name=name) for name in ("z", "y", "earlier", "error")]
    return tf.function(step).get_concrete_function(*specs).graph.get_operations()


def test_nothing_of_the_run_starts_before_its_turn(operations: list[tf.Operation]) -> None:
    # Statistics of z need none of the weights that are held back.
    kinds = ("Mean", "SquaredDifference", "Relu", "Conv2D")
    run = [op for op in operations if op.name.startswith("replay/") and op.type in kinds]
    assert {op.type for op in run} == set(kinds)
    assert [op.name for op in run if "earlier" not in before(op)] == []


def test_the_gradient_waits_for_the_whole_run(operations: list[tf.Operation]) -> None:
    (convolution,) = (op for op in operations if op.type == "Conv2D")
    kinds = ("Conv2DBackpropFilter", "Conv2DBackpropInput", "ReluGrad")
    gradient = [op for op in operations if op.type in kinds]
    assert len(gradient) == len(kinds)
    assert [op.name for op in gradient if convolution.name not in before(op)] == []
