"""How long it takes to read a large recording into a timeline."""

import itertools
import statistics
import time
from collections import defaultdict
from typing import Any

from mem_dfa.experiments.terminal import screen


def seconds(count: int) -> float:
    """The median of three readings of a recording with so many memory events."""
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
    """An XSpace message, as TensorFlow writes it, of so many events: tensors come and go."""
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    space = xplane_pb2.XSpace()
    plane = space.planes.add(name="/host:CPU")
    line = plane.lines.add()
    keys: dict[str, int] = defaultdict(itertools.count(1).__next__)
    for key, name in enumerate(("MemoryAllocation", "MemoryDeallocation")):
        plane.event_metadata[key].name = name
    for number in range(count):
        pair, frees = divmod(number, 2)
        told: dict[str, Any] = {"allocator_name": "bfc", "addr": 256 * (pair % 1000)}
        told |= {"requested_bytes": 64, "allocation_bytes": 256, "peak_bytes_in_use": 256}
        told["bytes_allocated"] = 256 * (1 - frees)
        if not frees:
            told |= {"tf_op": f"net_1/conv_{pair % 5}_1/BiasAdd", "shape": "[16]"}
            told |= {"region_type": "output", "data_type": 1}
        event = line.events.add(metadata_id=frees, offset_ps=number * 1000)
        for name, value in told.items():
            stat = {"ref_value": keys[value]} if isinstance(value, str) else {"int64_value": value}
            event.stats.add(metadata_id=keys[name], **stat)
    for name, key in keys.items():
        plane.stat_metadata[key].name = name
    return space
