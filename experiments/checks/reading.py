"""How long it takes to read a large recording into a timeline."""

import itertools
import statistics
import time
from collections import defaultdict
from typing import Any

from mem_dfa.experiments.terminal import screen


def seconds(count: int) -> float:
    """The median of some readings of a recording with so many memory events."""
    from mem_dfa.profiling import Timeline
    from mem_dfa.profiling.recording.events import read_events
    from mem_dfa.profiling.timeline.lifetimes import fill

    found = []
    with screen.progress(f"reading {count} events"):
        for _ in range(3):
            space = recording(count)
            start = time.perf_counter()
            timeline = fill(Timeline(), read_events(space))
            found.append(time.perf_counter() - start)
            if len(timeline.events) != count or timeline.fault:
                raise RuntimeError(f"{len(timeline.events)} events were read; {timeline.fault}")
    return statistics.median(found)


def recording(count: int) -> Any:
    """An XSpace message with `count` memory events, as TensorFlow writes them.

    Tensors of five layers come and go; half of the events are deallocations.
    """
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    space = xplane_pb2.XSpace()
    plane = space.planes.add(name="/host:CPU")
    line = plane.lines.add()
    keys: dict[str, int] = defaultdict(itertools.count(1).__next__)
    for number in range(count):
        pair, frees = divmod(number, 2)
        words = {"allocator_name": "bfc"}
        numbers = {"addr": 256 * (pair % 1000), "allocation_bytes": 256, "requested_bytes": 64}
        numbers |= {"bytes_allocated": 256 * (1 - frees), "peak_bytes_in_use": 256}
        if not frees:
            words |= {"tf_op": f"net_1/conv_{pair % 5}_1/BiasAdd", "shape": "[16]"}
            words["region_type"], numbers["data_type"] = "output", 1
        event = line.events.add(metadata_id=1 + frees, offset_ps=number * 1000)
        for name, number_of in numbers.items():
            event.stats.add(metadata_id=keys[name], int64_value=number_of)
        for name, word in words.items():
            event.stats.add(metadata_id=keys[name], ref_value=keys[word])
    for name, key in keys.items():
        plane.stat_metadata[key].name = name
    for key, name in enumerate(("MemoryAllocation", "MemoryDeallocation"), start=1):
        plane.event_metadata[key].name = name
    return space
