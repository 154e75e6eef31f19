"""Two fresh processes, for it is decided once in each: in one TensorFlow counts, in one it doesn't.

Each does all that depends on it, one after another.
"""

import json
from collections.abc import Callable
from typing import Any

import pytest

from mem_dfa import profiling

VARIABLE = profiling.ENVIRONMENT_VARIABLE

COUNTING = """
import json
from mem_dfa import profiling
profiling.enable()
import tensorflow as tf

def empty(size_bytes):
    return tf.raw_ops.Empty(shape=[size_bytes], dtype=tf.uint8, init=False)

# One large free chunk from which all others are cut exactly, so that rounding alone is left.
empty(64 * 2**20)
allocator = profiling.Allocator()
moves = {}
for size_bytes in (1, 1024, 1025, 100 * 1024, 10 * 2**20):
    before = allocator.current_bytes()
    allocator.reset_peak()
    reset = allocator.peak_bytes()
    tensor = empty(size_bytes)
    during, peak = allocator.current_bytes(), allocator.peak_bytes()
    del tensor
    after = allocator.current_bytes()
    moves[size_bytes] = [during - before, peak >= during, after - before, reset - before]
    assert allocator.peak_bytes() == peak

kernel = tf.Variable(tf.random.stateless_uniform([300, 300], [1, 2]))
images = tf.random.stateless_uniform([50, 300], [3, 4])

def step():
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.tanh(tf.matmul(tf.tanh(tf.matmul(images, kernel)), kernel)))
    kernel.assign_sub(tape.gradient(loss, kernel))

results = {"moves": moves}
for name, function in {"eager": step, "graph": tf.function(step)}.items():
    function()
    old = empty(1000)
    resident = allocator.current_bytes()
    with profiling.trace(allocator=allocator) as timeline:
        del old
        function()
    events, tensors = timeline.events, timeline.tensors
    products = tensors[tensors.op.str.endswith("MatMul") & (tensors["shape"] == "[300,300]")]
    results[name] = {
        "resident": resident,
        "allocator_peak": allocator.peak_bytes(),
        "timeline": [timeline.resident_bytes, timeline.peak_bytes, timeline.fault],
        "requested_peak": timeline.step_requested_bytes,
        "attribution": timeline.attribution,
        "first": [events.kind[0], *map(int, events.filter(like="ed_bytes").iloc[0, :2])],
        "in_order": bool(events["time_ns"].is_monotonic_increasing),
        "products": products[["op", "dtype", "phase"]].drop_duplicates().values.tolist(),
        "inputs": tensors[tensors.category == "input"]["shape"].tolist(),
    }
print(json.dumps(results))
"""

NOT_COUNTING = f"""
import json, os, sys
from mem_dfa import profiling

def refusal():
    try:
        profiling.Allocator()
    except profiling.MeterError as error:
        return str(error)

results = {{"unset": refusal()}}
os.environ["{VARIABLE}"] = "0"
results |= {{"off": refusal(), "tensorflow": "tensorflow" in sys.modules}}

import keras, numpy
from mem_dfa.profiling import probes
cpu = (probes.cpu_statistics, probes.events, probes.graph_paths)
results["probes"] = [probes.result(probe)["works"] for probe in cpu]
del os.environ["{VARIABLE}"]
model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
model.compile("sgd", "mse")
try:
    model.fit(numpy.ones([4, 2]), numpy.ones([4]), callbacks=[profiling.MemoryCallback()])
except profiling.MeterError as error:
    results["fit"] = str(error)
results["steps"] = int(model.optimizer.iterations)
profiling.enable()
results["late"] = refusal()
print(json.dumps(results))
"""


@pytest.fixture(scope="module")
def counting(run_python: Callable[..., str]) -> dict[str, Any]:
    return json.loads(run_python(COUNTING))


@pytest.fixture(scope="module")
def not_counting(run_python: Callable[..., str]) -> dict[str, Any]:
    return json.loads(run_python(NOT_COUNTING))


def test_numbers_move_by_exactly_what_is_allocated(counting: dict) -> None:
    assert counting["moves"] == {
        "1": [256, True, 0, 0],
        "1024": [1024, True, 0, 0],
        "1025": [1280, True, 0, 0],
        "102400": [102_400, True, 0, 0],
        "10485760": [10_485_760, True, 0, 0],
    }


@pytest.mark.parametrize("execution", ["eager", "graph"])
def test_peak_of_the_events_is_the_allocators_own(counting: dict, execution: str) -> None:
    step = counting[execution]
    resident, peak, fault = step["timeline"]
    assert fault == ""
    assert peak == step["allocator_peak"] > resident == step["resident"]
    # At some time the kernel's gradient, 300 x 300 float32, is alive.
    assert 360_000 <= step["requested_peak"] <= peak
    assert step["in_order"] is True


@pytest.mark.parametrize("execution", ["eager", "graph"])
def test_tensor_from_before_the_recording_is_freed_by_its_requested_bytes(
    counting: dict, execution: str
) -> None:
    assert counting[execution]["first"] == ["deallocation", 1024, 1000]
    assert "[50,300]" in counting[execution]["inputs"]


def test_allocations_name_their_operation_and_tensor(counting: dict) -> None:
    eager, graph = counting["eager"], counting["graph"]
    for step in (eager, graph):
        assert step["products"]
        assert {dtype for _, dtype, _ in step["products"]} == {"float32"}
        assert {phase for *_, phase in step["products"]} == {"backward"}
    # Eagerly only the type is known; oneDNN builds have a name of their own for it.
    assert {op for op, *_ in eager["products"]} <= {"MatMul", "_MklMatMul"}
    assert all("gradient_tape/" in op for op, *_ in graph["products"])
    assert graph["attribution"] == "graph"


@pytest.mark.parametrize(("case", "state"), [("unset", "is not set"), ("off", "is '0'")])
def test_variable_missing_or_off_is_refused(not_counting: dict, case: str, state: str) -> None:
    assert not_counting[case].startswith(f"{VARIABLE} {state}; it must be '1'")
    assert f"Start Python with {VARIABLE}=1" in not_counting[case]
    assert not_counting["tensorflow"] is False


def test_variable_set_after_the_first_operation_is_refused(not_counting: dict) -> None:
    """As TensorFlow is built with oneDNN; see the plugin's tests for the other kind."""
    symptom = "The memory statistics of CPU:0 did not move when 1024 bytes were allocated."
    late = f"{VARIABLE} was set too late, after TensorFlow's first operation."
    assert not_counting["late"].startswith(f"{symptom} {late}")


def test_missing_meter_is_told_before_training(not_counting: dict) -> None:
    assert f"{VARIABLE} is not set" in not_counting["fit"]
    assert not_counting["steps"] == 0


def test_probes_notice_a_meter_that_does_not_count(not_counting: dict) -> None:
    """No probe of the CPU may say that it works."""
    assert not_counting["probes"] == [False, False, False]
