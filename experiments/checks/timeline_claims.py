"""What this project promises of its timelines, measured again; see `experiments.claims`."""

import statistics
import time
from collections.abc import Sequence
from typing import Any

from mem_dfa.experiments import bench
from mem_dfa.experiments.checks.findings import Finding, make_finding
from mem_dfa.experiments.cli import screen
from mem_dfa.experiments.engine import worker

MODELS = {"conv20": 20, "vgg16": None, "mnist_conv": None}
ALGORITHMS = ("bp", "fa", "dfa", "mem_dfa")
EXECUTIONS = ("graph", "eager", "xla")
LEAST_ATTRIBUTED_PERCENT = 99.0
RECORDING_RATIO_LIMIT = 2.0
EVENTS = 100_000
READING_LIMIT_S = 2.0
READINGS = 3

Result = dict[str, Any]


def findings(kit: Any) -> list[Finding]:
    """Record a step of every cell and judge the timelines."""
    results = {}
    for execution in EXECUTIONS:
        for model, layers in MODELS.items():
            for algorithm in ALGORITHMS:
                cell = kit.cell(algorithm, model, layers, execution=execution)
                with screen.progress(f"timeline of {cell.title}") as report:
                    results[algorithm, model, execution] = worker.call("follow", [cell], report)
    conv_bp = results["bp", "conv20", "graph"]
    return [
        *(peak_finding(execution, results) for execution in EXECUTIONS),
        make_finding(
            "timeline of conv20 bp, graph: bytes at the peak without block, phase or category",
            "%",
            100 - LEAST_ATTRIBUTED_PERCENT,
            None if conv_bp["status"] != "ok" else 100 * (1 - conv_bp["attributed_share"]),
        ),
        make_finding(
            "conv20 bp, graph: time of a recorded step / plain step, taking turns",
            "ratio",
            RECORDING_RATIO_LIMIT,
            None if conv_bp["status"] != "ok" else _recording_ratio(conv_bp),
        ),
        make_finding(
            f"reading {EVENTS} allocation events into a timeline",
            "s",
            READING_LIMIT_S,
            statistics.median(_reading_seconds() for _ in range(READINGS)),
        ),
    ]


def peak_finding(execution: str, results: dict[tuple, Result]) -> Finding:
    """How far a reconstructed peak is from the allocator's, at most."""
    chosen = [result for key, result in results.items() if key[2] == execution]
    known = all(result["status"] == "ok" and not result["fault"] for result in chosen)
    title = f"timelines, {execution}: peak apart from the allocator's own, {len(chosen)} cells"
    return make_finding(title, "bytes", 0, _greatest_distance(chosen) if known else None)


def _greatest_distance(results: Sequence[Result]) -> int:
    return max(abs(r["peak_bytes"] - r["allocator_peak_bytes"]) for r in results)


def _recording_ratio(result: Result) -> float:
    plain, traced = result["seconds"]
    return statistics.median(bench.ratios(traced, plain))


def _reading_seconds() -> float:
    """Parse a recording of the size of `EVENTS` and make its tables."""
    from mem_dfa.profiling import Timeline
    from mem_dfa.profiling.recording.events import read_events
    from mem_dfa.profiling.timeline.lifetimes import fill

    space = recording(EVENTS)
    start = time.perf_counter()
    timeline = fill(Timeline(), read_events(space))
    seconds = time.perf_counter() - start
    if len(timeline.events) != EVENTS or timeline.fault:
        raise RuntimeError(f"{len(timeline.events)} events were read; {timeline.fault}")
    return seconds


def recording(count: int) -> Any:
    """An XSpace message with `count` memory events, as TensorFlow writes them.

    Tensors of five layers come and go; half of the events are deallocations.
    """
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    space = xplane_pb2.XSpace()
    plane = space.planes.add(name="/host:CPU")
    names = ("allocator_name", "addr", "allocation_bytes", "requested_bytes", "bytes_allocated")
    names += ("peak_bytes_in_use", "tf_op", "shape", "data_type", "region_type")
    keys = {name: key for key, name in enumerate(names, start=1)}
    texts = ["bfc", "[16]", "output", *(f"net_1/conv_{i}_1/BiasAdd" for i in range(5))]
    references = {text: key for key, text in enumerate(texts, start=100)}
    for name, key in (keys | references).items():
        plane.stat_metadata[key].name = name
    for key, name in enumerate(("MemoryAllocation", "MemoryDeallocation"), start=1):
        plane.event_metadata[key].name = name
    line = plane.lines.add(timestamp_ns=0)
    for number in range(count):
        pair, frees = divmod(number, 2)
        event = line.events.add(metadata_id=1 + frees, offset_ps=number * 1000)
        numbers = {"addr": 256 * (pair % 1000), "allocation_bytes": 256, "requested_bytes": 64}
        numbers |= {"bytes_allocated": 256 * (1 - frees), "peak_bytes_in_use": 256}
        for name, value in numbers.items():
            event.stats.add(metadata_id=keys[name], int64_value=value)
        words = {"allocator_name": "bfc"}
        if not frees:
            words |= {"tf_op": f"net_1/conv_{pair % 5}_1/BiasAdd", "shape": "[16]"}
            words |= {"region_type": "output"}
            event.stats.add(metadata_id=keys["data_type"], int64_value=1)
        for name, text in words.items():
            event.stats.add(metadata_id=keys[name], ref_value=references[text])
    return space
