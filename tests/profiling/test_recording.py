"""Recordings of real steps, against the allocator's own numbers."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mem_dfa.profiling import TraceError, find_trace, record

RECORDED_STEPS = """
import json, sys
from pathlib import Path
import profiling
profiling.enable()
import tensorflow as tf

kernel = tf.Variable(tf.random.stateless_uniform([300, 300], [1, 2]))
images = tf.random.stateless_uniform([50, 300], [3, 4])

def step():
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.tanh(tf.matmul(tf.tanh(tf.matmul(images, kernel)), kernel)))
    kernel.assign_sub(tape.gradient(loss, kernel))

allocator = profiling.Allocator()
results = {}
for name, function in {"eager": step, "graph": tf.function(step)}.items():
    function()
    old = tf.raw_ops.Empty(shape=[1000], dtype=tf.uint8, init=False)
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


@pytest.fixture(scope="module")
def recorded(
    tmp_path_factory: pytest.TempPathFactory, run_python: Callable[..., str]
) -> dict[str, dict[str, Any]]:
    return json.loads(run_python(RECORDED_STEPS, str(tmp_path_factory.mktemp("steps"))))


@pytest.mark.parametrize("execution", ["eager", "graph"])
def test_peak_of_the_events_is_the_allocators_own(recorded: dict, execution: str) -> None:
    step = recorded[execution]
    resident, peak, fault = step["timeline"]
    assert fault == ""
    assert peak == step["allocator_peak"] > resident == step["resident"]
    # At some time the kernel's gradient, 300 x 300 float32, is alive.
    assert 360_000 <= step["requested_peak"] <= peak
    assert step["in_order"] is True


@pytest.mark.parametrize("execution", ["eager", "graph"])
def test_tensor_from_before_the_recording_is_freed_by_its_requested_bytes(
    recorded: dict, execution: str
) -> None:
    assert recorded[execution]["first"] == ["deallocation", 1024, 1000]
    assert "[50,300]" in recorded[execution]["inputs"]


def test_allocations_name_their_operation_and_tensor(recorded: dict) -> None:
    for step in recorded.values():
        assert step["products"]
        assert {dtype for _, dtype, _ in step["products"]} == {"float32"}
        assert {phase for *_, phase in step["products"]} == {"backward"}
    # Eagerly only the type is known; oneDNN builds have a name of their own for it.
    assert {op for op, *_ in recorded["eager"]["products"]} <= {"MatMul", "_MklMatMul"}
    assert all("gradient_tape/" in op for op, *_ in recorded["graph"]["products"])
    assert recorded["graph"]["attribution"] == "graph"


def test_missing_recording(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="Found 0 recordings"):
        find_trace(tmp_path)


def test_several_recordings_are_named(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "host.xplane.pb").touch()
    with pytest.raises(TraceError, match=r"Found 2 .* one/host.xplane.pb two/host.xplane.pb"):
        find_trace(tmp_path)
    assert find_trace(tmp_path / "two") == tmp_path / "two" / "host.xplane.pb"


def test_recording_stops_and_is_written_when_the_step_fails(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), record(tmp_path / "failed"):
        raise ZeroDivisionError
    assert find_trace(tmp_path / "failed").stat().st_size > 0
    # Only possible because the first one was stopped.
    with record(tmp_path / "next"):
        pass
    assert find_trace(tmp_path / "next").stat().st_size > 0


def test_second_recording_at_a_time_is_refused(tmp_path: Path) -> None:
    refused = pytest.raises(TraceError, match="Another TensorFlow profiler recording is running")
    with record(tmp_path / "outer"), refused, record(tmp_path / "inner"):
        pytest.fail("two recordings ran at once")
    assert find_trace(tmp_path / "outer").is_file()


def test_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(TraceError, match=r"Cannot record into .*file"), record(tmp_path / "file"):
        pytest.fail("recorded into a file")
