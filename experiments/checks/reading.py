"""How long it takes to read a large recording into a timeline."""

import statistics
import time
from typing import Any

from mem_dfa.experiments.terminal import screen

READINGS = 3


def seconds(count: int) -> float:
    """The median of some readings of a recording with so many memory events."""
    found = []
    with screen.progress(f"reading {count} events") as report:
        for number in range(1, READINGS + 1):
            found.append(_seconds(count))
            report(f"{number} of {READINGS}", number / READINGS)
    return statistics.median(found)


def _seconds(count: int) -> float:
    from mem_dfa.profiling import Timeline
    from mem_dfa.profiling.recording.events import read_events
    from mem_dfa.profiling.timeline.lifetimes import fill

    space = recording(count)
    start = time.perf_counter()
    timeline = fill(Timeline(), read_events(space))
    seconds = time.perf_counter() - start
    if len(timeline.events) != count or timeline.fault:
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
