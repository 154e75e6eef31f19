"""What MEM-DFA learns depends neither on how it is run nor on what it holds."""

import keras
import pytest
import tensorflow as tf

from mem_dfa import MemDFA, profiling
from mem_dfa.chain import repeated_blocks
from tests.mem_dfa.comparison import EXECUTIONS, change, compiled, distance
from tests.mem_dfa.test_slices import net

IN_CALLS = ("graph", 3, "regenerated", True)
GRAPH_AND_EAGER = [
    ("graph", 3, "stored", False),
    IN_CALLS,
    ("eager", 3, "regenerated", False),
]
XLA = [
    ("xla", 3, "regenerated", False),
    ("xla", 1, "stored", True),
]
OPTIMIZERS = {
    "sgd": lambda: keras.optimizers.SGD(0.1),
    "momentum": lambda: keras.optimizers.SGD(0.1, momentum=0.9),
    "adam": lambda: keras.optimizers.Adam(0.01),
}


def changed(optimizer: str, execution: str, slices: int, feedback: str, dtype: str) -> list:
    """Ten steps of one trainer, from the same weights, data and seed."""
    trainer = MemDFA(net(), feedback=feedback, slices=slices, seed=3)
    trainer = compiled(trainer, OPTIMIZERS[optimizer](), **EXECUTIONS[execution])
    return change(trainer, steps=10, dtype=dtype)


def assert_independent(
    optimizer: str, how: list[tuple], dtype: str, tolerance: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = changed(optimizer, "eager", 1, "stored", dtype)
    for execution, slices, feedback, called in how:
        monkeypatch.setattr(repeated_blocks, "LEAST_ALIKE", 1 if called else 48)
        assert (
            distance(changed(optimizer, execution, slices, feedback, dtype), expected) <= tolerance
        ), (execution, slices, feedback, called)


# What XLA compiles is dear, and the same for each optimizer but for its own step, which
# test_together.py and test_alike.py compile.
@pytest.mark.parametrize(
    ("optimizer", "how"), [("sgd", [IN_CALLS]), ("momentum", [*GRAPH_AND_EAGER, *XLA])]
)
def test_ten_steps_agree_in_float32(
    optimizer: str, how: list[tuple], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert_independent(optimizer, how, "float32", 1e-5, monkeypatch)


@pytest.mark.usefixtures("float64")
def test_ten_steps_agree_in_float64(monkeypatch: pytest.MonkeyPatch) -> None:
    assert_independent("adam", GRAPH_AND_EAGER, "float64", 1e-7, monkeypatch)


@pytest.mark.skipif(not tf.config.list_physical_devices("GPU"), reason="TensorFlow found no GPU")
def test_on_a_gpu_the_result_and_the_flat_memory_are_the_same() -> None:
    with tf.device("CPU:0"):
        expected = changed("momentum", "graph", 1, "stored", "float32")
    steps = []
    with tf.device("GPU:0"):
        ours = changed("momentum", "graph", 3, "regenerated", "float32")
        for depth in (4, 12):
            keras.utils.set_random_seed(0)
            hidden = [keras.layers.Conv2D(8, 3, padding="same") for _ in range(depth)]
            network = keras.Sequential(
                [keras.Input((8, 8, 3)), *hidden, keras.layers.Flatten(), keras.layers.Dense(3)]
            )
            trainer = compiled(MemDFA(network, slices=1), keras.optimizers.SGD(0.1))
            change(trainer, steps=2)
            with profiling.trace(trainer, device="GPU:0") as timeline:
                change(trainer, steps=1)
            steps.append(timeline.step_requested_bytes)
    assert distance(ours, expected) <= 1e-4  # other kernels add in another order
    assert steps[1] <= 1.03 * steps[0]
