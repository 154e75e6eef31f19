"""Timelines of hand-written events, in bytes counted by hand."""

import dataclasses
import random

import pytest
from mem_dfa.profiling import AllocationEvent, Timeline, TraceError
from mem_dfa.profiling.recording.held_tensors import Held, Names
from mem_dfa.profiling.timeline.lifetimes import UNNAMED, fill

from tests.profiling.events import events_of

CONV = "StatefulPartitionedCall/net_1/conv_1/BiasAdd"
CONV_GRADIENT = "StatefulPartitionedCall/gradient_tape/net_1/conv_1/Conv2DBackpropFilter"
NAMES = Names(layers=frozenset({"conv"}))


def filled(events: list[AllocationEvent], **details: object) -> Timeline:
    return fill(Timeline(), events, **details)


def held(address: int, nbytes: int, name: str = "net/conv/kernel") -> Held:
    category = "parameter" if name else "input"
    return Held(address, nbytes, "[1]", "float32", name, "conv" if name else "", "", category)


def test_freed_tensor_leaves_the_peak_behind() -> None:
    timeline = filled(events_of((1, 512), (2, 256), (1, -512), (2, -256)))
    assert timeline.resident_bytes == 0
    assert timeline.peak_bytes == timeline.step_bytes == 768
    assert timeline.running_bytes().tolist() == [0, 512, 768, 256, 0]
    assert timeline.running_bytes().index.tolist() == [-1, 0, 1000, 2000, 3000]
    assert timeline.fault == ""


def test_never_freed_lives_past_the_end() -> None:
    timeline = filled(events_of((1, 512), (2, 256), (2, -256)))
    assert timeline.tensors["end_ns"].tolist() == [timeline.duration_ns + 1, 2000]
    assert timeline.live_at(timeline.duration_ns)["allocated_bytes"].tolist() == [512]


def test_alive_before_the_recording_is_counted_and_may_be_freed_in_it() -> None:
    timeline = filled(events_of((1, 256), (9, -1024), before_bytes=4096))
    assert timeline.resident_bytes == 4096
    assert timeline.peak_bytes == 4096 + 256
    live = timeline.live_at(-1)
    assert live["allocated_bytes"].tolist() == [3072, 1024]
    assert live["op"].tolist() == [UNNAMED, ""]
    assert timeline.live_at(1000)["allocated_bytes"].tolist() == [3072, 256]


def test_peak_before_the_first_event() -> None:
    timeline = filled(events_of((9, -1024), (1, 256), before_bytes=4096))
    assert (timeline.peak_bytes, timeline.peak_time_ns, timeline.step_bytes) == (4096, -1, 0)
    assert timeline.live_at_peak()["allocated_bytes"].sum() == 4096


def test_reused_address_is_another_tensor() -> None:
    timeline = filled(events_of((1, 256), (1, -256), (1, 512), (1, -512)))
    assert timeline.tensors["allocated_bytes"].tolist() == [256, 512]
    assert timeline.tensors["start_ns"].tolist() == [0, 2000]
    assert timeline.tensors["end_ns"].tolist() == [1000, 3000]
    assert timeline.events["tensor"].tolist() == [0, 0, 1, 1]


def test_events_of_several_threads_are_put_in_order() -> None:
    events = events_of((1, 256), (2, 512), (1, -256), (3, 1024), (2, -512), (3, -1024))
    expected = filled(events).running_bytes().tolist()
    random.Random(0).shuffle(events)
    timeline = filled(events)
    assert timeline.running_bytes().tolist() == expected == [0, 256, 768, 512, 1536, 1024, 0]
    assert timeline.fault == ""


def test_zero_bytes_are_an_event_without_effect() -> None:
    timeline = filled(events_of((1, 256), (1, 0), (2, 256), (1, -256), (2, -256)))
    assert timeline.running_bytes().tolist() == [0, 256, 256, 512, 256, 0]
    assert timeline.fault == ""
    assert timeline.live_at_peak()["allocated_bytes"].tolist() == [256, 256, 0]


def test_two_allocators_are_kept_apart() -> None:
    events = events_of((1, 256)) + events_of((1, 4096), allocator="GPU_0_bfc", start_ns=500)
    assert filled(events, allocator="GPU_0_bfc").peak_bytes == 4096
    assert filled(events, allocator="bfc_cpu").peak_bytes == 256
    with pytest.raises(TraceError, match="several allocators; name one of GPU_0_bfc, bfc_cpu"):
        filled(events)
    with pytest.raises(TraceError, match="No events of allocator GPU_1_bfc"):
        filled(events, allocator="GPU_1_bfc")


def test_a_lost_event_is_told_with_its_bytes() -> None:
    events = events_of((1, 256), (2, 512), (2, -512), (1, -256))
    timeline = filled(events[:1] + events[2:], allocator_peak_bytes=768)
    assert "jumps 1 times, by 512 bytes" in timeline.fault
    # The allocator's own number does not depend on events.
    assert timeline.peak_bytes == 768
    with pytest.raises(TraceError, match=r"not exact, so it is not shown.*512 bytes"):
        timeline.require_exact()


@pytest.mark.parametrize(("allocator_peak", "exact"), [(768, True), (769, False), (1024, False)])
def test_another_peak_than_the_allocators_is_told(allocator_peak: int, exact: bool) -> None:
    timeline = filled(events_of((1, 512), (2, 256)), allocator_peak_bytes=allocator_peak)
    assert (timeline.fault == "") == exact
    assert exact or f"{allocator_peak - 768} bytes apart" in timeline.fault
    assert timeline.peak_bytes == allocator_peak


def test_residents_get_their_holders_names() -> None:
    holders = [held(512, 300), held(1024, 256, name=""), held(77, 256, name="")]
    events = events_of((2048, 256), (512, -300), before_bytes=2048)
    timeline = filled(events, held_before=holders, names=NAMES)
    table = timeline.live_at(-1).set_index("op")
    assert table["allocated_bytes"].to_dict() == {UNNAMED: 1280, "net/conv/kernel": 512, "": 256}
    assert table["category"].to_dict() == {
        UNNAMED: "resident",
        "net/conv/kernel": "parameter",
        "": "input",
    }
    # 77 is no multiple of 256 from the other addresses: NumPy's memory.
    assert 77 not in timeline.tensors["address"].to_numpy()
    assert table.loc["net/conv/kernel", "block"] == "conv"


def test_holders_never_count_for_more_than_there_was() -> None:
    timeline = filled(
        events_of((2048, 256), before_bytes=512), held_before=[held(0, 512), held(1024, 256, "")]
    )
    assert timeline.live_at(-1)["allocated_bytes"].tolist() == [512]


def test_what_a_variable_holds_in_the_end_is_a_parameter() -> None:
    events = events_of((256, 256, CONV_GRADIENT), (512, 256, "adam/Mul"), (256, -256))
    timeline = filled(events, held_after=[held(512, 256), held(256, 256)], names=NAMES)
    assert timeline.tensors["category"].tolist() == ["gradient", "parameter"]
    assert timeline.tensors["phase"].tolist() == ["backward", "update"]
    assert timeline.tensors["layer"].tolist() == ["conv", "conv"]


def test_sums_by_every_key_are_the_peak() -> None:
    events = events_of(
        (1, 512, CONV), (2, 256, CONV_GRADIENT), (3, 256, "Equal"), before_bytes=1024
    )
    timeline = filled(events, names=NAMES)
    for key in ("block", "phase", "category", "op", "layer"):
        assert timeline.by(key).sum() == timeline.peak_bytes == 2048
    assert timeline.by("block").to_dict() == {"other": 1280, "conv": 768}
    assert timeline.by("phase").to_dict() == {
        "resident": 1024,
        "forward": 512,
        "backward": 256,
        "other": 256,
    }
    with pytest.raises(ValueError, match="Received by\\('size'\\); allowed are block, phase"):
        timeline.by("size")


def test_differences_sum_to_the_difference_of_the_peaks() -> None:
    before = filled(events_of((1, 512, CONV), (2, 256, CONV_GRADIENT)), names=NAMES)
    after = filled(events_of((1, 512, CONV), (2, 1024, CONV), before_bytes=256), names=NAMES)
    table = before.diff(after)
    assert table["difference_bytes"].sum() == after.peak_bytes - before.peak_bytes == 1024
    assert table["difference_bytes"].to_dict() == {
        ("conv", "activation"): 1024,
        ("conv", "gradient"): -256,
        ("other", "resident"): 256,
    }
    assert table.index[0] == ("conv", "activation")
    assert (before.diff(before)["difference_bytes"] == 0).all()


def test_requested_bytes_at_their_own_peak() -> None:
    """The sum is that of the step, also where a tensor from before makes room; the last of two."""
    early, late = "forward/block_001/mul", "forward/block_002/mul"
    events = events_of((9, -100), (1, 700, early), (1, -700), (2, 700, late), before_bytes=512)
    timeline = filled(events)
    assert timeline.step_requested_bytes == 600
    assert timeline.requested_at_peak().to_dict() == {
        ("block_002", "activation"): 700,
        ("other", "resident"): -100,
    }
    assert timeline.requested_resident().sum() == 512 - 256 + 100


def test_a_step_below_what_was_there_before_has_no_peak() -> None:
    timeline = filled(events_of((9, -512), (1, 256, CONV), before_bytes=512))
    assert timeline.step_requested_bytes == 0
    assert timeline.requested_at_peak().empty


def test_blocks_are_compared_by_their_layers() -> None:
    """Of a model trained whole, and of the same one cut into blocks in two ways."""
    kernel, other = "{}/block_00{}/conv_1/BiasAdd", "backward/block_00{}/mul"
    names = dataclasses.replace(NAMES, layers=frozenset({"conv", "pool"}))
    whole = filled(events_of((1, 512, CONV), (2, 1024, "pool_1/MaxPool")), names=names)
    both = events_of(
        (1, 256, kernel.format("replay", 1)),
        (2, 1024, "replay/block_001/pool_1/MaxPool"),
        (3, 128, other.format(1)),
    )
    each = events_of(
        (1, 512, kernel.format("forward", 2)),
        (2, 512, "forward/block_003/pool_1/MaxPool"),
        (3, 256, other.format(2)),
    )
    blocks, others = filled(both, names=names), filled(each, names=names)
    assert whole.diff(blocks)["difference_bytes"].to_dict() == {
        ("conv", "activation"): -256,
        ("conv", "gradient"): 256,
        ("pool", "activation"): 0,
    }
    assert blocks.diff(others)["difference_bytes"].to_dict() == {
        ("pool", "activation"): -512,
        ("conv", "activation"): 256,
        ("conv", "gradient"): 0,
    }
    assert blocks.by("layer").to_dict() == {"pool": 1024, "conv": 512}


def test_one_nanosecond_for_two_events() -> None:
    events = [dataclasses.replace(e, time_ps=7) for e in events_of((1, 512), (1, -512), (2, 256))]
    timeline = filled(events)
    assert timeline.live_at_peak()["allocated_bytes"].tolist() == [512]


@pytest.mark.parametrize(
    ("op", "scope", "expected"),
    [
        (CONV, "", "graph"),
        ("Conv2D", "net_1/conv_1", "eager with layers"),
        ("Conv2D", "", "eager"),
        ("__inference_one_step_on_data_7", "", "xla"),
    ],
)
def test_says_how_much_is_known(op: str, scope: str, expected: str) -> None:
    events = [dataclasses.replace(event, scope=scope) for event in events_of((1, 512, op))]
    assert (
        filled([*events, *events_of((2, 256, "x"), start_ns=10, before_bytes=512)]).attribution
        == expected
    )


def test_nothing_can_be_read_before_the_recording_ends() -> None:
    with pytest.raises(TraceError, match=r"timeline\.events is there when the recording has ended"):
        Timeline().events  # noqa: B018
    with pytest.raises(AttributeError):
        Timeline().colour  # noqa: B018
