"""What is read from an XPlane file, and which files are refused."""

from pathlib import Path
from typing import Any

import pytest
from mem_dfa.profiling import TraceError, read_events
from mem_dfa.profiling.facade import open_timeline


def space_of(*lines: tuple[int, list[tuple[int, str, dict[str, int | str]]]]) -> Any:
    """An XSpace of lines (start in ns, [(offset in ps, name, statistics)])."""
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    space = xplane_pb2.XSpace()
    plane = space.planes.add(name="/host:CPU")
    numbers: dict[str, int] = {}

    def number(name: str) -> int:
        key = numbers.setdefault(name, len(numbers) + 1)
        plane.stat_metadata[key].name = name
        return key

    for start_ns, events in lines:
        line = plane.lines.add(timestamp_ns=start_ns)
        for offset_ps, name, statistics in events:
            key = number(name)
            plane.event_metadata[key].name = name
            event = line.events.add(offset_ps=offset_ps, metadata_id=key)
            for statistic, value in statistics.items():
                stat = event.stats.add(metadata_id=number(statistic))
                if isinstance(value, int):
                    stat.int64_value = value
                elif statistic == "shape":
                    stat.str_value = value
                else:
                    stat.ref_value = number(value)
    return space


FIRST = {
    "allocator_name": "cpu",
    "addr": 4096,
    "allocation_bytes": 256,
    "requested_bytes": 40,
    "bytes_allocated": 1280,
    "peak_bytes_in_use": 2048,
    "tf_op": "block/MatMul",
    "shape": "[10]",
    "data_type": 1,
    "region_type": "temp",
}
SECOND = {**FIRST, "bytes_allocated": 1024, "data_type": 0, "tf_op": "", "shape": ""}
SECOND["region_type"] = ""


def test_every_field_is_read_and_lines_are_merged_by_time(tmp_path: Path) -> None:
    path = tmp_path / "a.xplane.pb"
    space = space_of(
        (7, [(5, "MemoryDeallocation", SECOND), (6, "MatMul", {"tf_op": "other"})]),
        (6, [(999, "MemoryAllocation", FIRST)]),
    )
    path.write_bytes(space.SerializeToString())
    first, second = read_events(path)
    assert (first.time_ps, first.kind, first.allocator) == (6999, "allocation", "cpu")
    assert (first.address, first.allocated_bytes, first.requested_bytes) == (4096, 256, 40)
    assert (first.running_bytes, first.peak_bytes) == (1280, 2048)
    assert (first.op, first.shape, first.dtype) == ("block/MatMul", "[10]", "float32")
    assert first.region_type == "temp"
    assert (second.time_ps, second.kind, second.running_bytes) == (7005, "deallocation", 1024)
    assert (second.op, second.shape, second.dtype, second.region_type) == ("", "", "", "")


def test_damaged_file(tmp_path: Path) -> None:
    path = tmp_path / "a.xplane.pb"
    whole = space_of((0, [(0, "MemoryAllocation", FIRST)])).SerializeToString()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(TraceError, match="is damaged or no XPlane file"):
        read_events(path)


def test_event_without_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "a.xplane.pb"
    lacking = {name: value for name, value in FIRST.items() if name != "requested_bytes"}
    space = space_of((0, [(0, "MemoryAllocation", lacking)]))
    path.write_bytes(space.SerializeToString())
    with pytest.raises(TraceError, match=r"a memory event lacks a value, .*'requested_bytes'"):
        read_events(path)


@pytest.mark.parametrize("field", ["str_value", "ref_value", "int64_value", "double_value"])
@pytest.mark.parametrize("name", FIRST)
def test_statistic_of_another_kind(name: str, field: str) -> None:
    """Numbers where texts should be, texts where numbers should be, and what is neither."""
    wanted = ("str_value", "ref_value") if isinstance(FIRST[name], str) else ("int64_value",)
    if field in wanted:
        return
    space = space_of((0, [(0, "MemoryAllocation", FIRST)]))
    plane = space.planes[0]
    key = next(key for key, metadata in plane.stat_metadata.items() if metadata.name == name)
    (stat,) = (stat for stat in plane.lines[0].events[0].stats if stat.metadata_id == key)
    stat.ClearField(stat.WhichOneof("value"))
    setattr(stat, field, "x" if field == "str_value" else key)
    with pytest.raises(TraceError, match=rf"one of another kind \(.*'{name}' in {field}"):
        read_events(space)


def test_number_that_no_timeline_may_hold(tmp_path: Path) -> None:
    path = tmp_path / "a.xplane.pb"
    space = space_of((0, [(0, "MemoryAllocation", {**FIRST, "requested_bytes": -5})]))
    path.write_bytes(space.SerializeToString())
    with pytest.raises(TraceError, match=r"events.requested_bytes\[0\] is -5; allowed is a whole"):
        open_timeline(path)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", r"\(0 bytes\) is empty or no XPlane file"),
        (b"<html>not found</html>", "is damaged or no XPlane file"),
        # Parses, as an unknown field.
        (b"\x7a\x03abc", r"\(5 bytes\) is empty or no XPlane file"),
    ],
)
def test_empty_and_foreign_file(tmp_path: Path, content: bytes, sentence: str) -> None:
    path = tmp_path / "a.xplane.pb"
    path.write_bytes(content)
    with pytest.raises(TraceError, match=sentence):
        read_events(path)


def test_recording_without_memory_events(tmp_path: Path) -> None:
    path = tmp_path / "a.xplane.pb"
    path.write_bytes(space_of((0, [(0, "MatMul", {})])).SerializeToString())
    with pytest.raises(TraceError, match=r"holds no memory events; record with profiling.record"):
        read_events(path)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match=r"Cannot read .*absent.*No such file"):
        read_events(tmp_path / "absent")
