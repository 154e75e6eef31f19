"""Small timelines to draw, and the operations that they name."""

from mem_dfa.profiling import Timeline
from mem_dfa.profiling.recording.spans import Span
from mem_dfa.profiling.timeline.lifetimes import fill

from tests.profiling.events import events_of

FORWARD, BACKWARD = "forward/block_001/dense_1/MatMul", "gradient_tape/forward/block_001/dense_1/"
REPLAY, UPDATE = "replay/block_001/dense_1/MatMul", "sgd/Mul"
OTHER = "Cast"


def small(title: str = "small", *, scale: int = 1, layer_op: str = FORWARD) -> Timeline:
    """512 bytes before; then 256, 1024 (the peak, 1792 at 1 µs), and what backward needs.

    Args:
        title: for headings.
        scale: of every size.
        layer_op: the first operation.
    """
    events = events_of(
        (1, 256 * scale, layer_op),
        (2, 1024 * scale, FORWARD),
        (2, -1024 * scale),
        (3, 512 * scale, BACKWARD + "MatMul"),
        (1, -256 * scale),
        (4, 256 * scale, UPDATE),
        (3, -512 * scale),
        (4, -256 * scale),
        before_bytes=512 * scale,
    )
    # A thread's identifier, as TensorFlow's profiler gives them, and a start before the events.
    thread = -2391549171919619647
    operations = [
        Span(-2_000_000, 7_000_000, "step", thread),
        Span(0, 1_000_000, layer_op, thread),
    ]
    return fill(Timeline(title), events, operations=operations)


def long(count: int) -> Timeline:
    """`count` events: tensors of 256 to 4096 bytes of which ten are alive at a time."""
    changes: list[tuple[int, int, str]] = []
    pending: list[tuple[int, int]] = []
    for number in range(count // 2):
        size = 256 * (1 + number * 7 % 16)
        changes.append((number, size, (FORWARD, BACKWARD + "MatMul", UPDATE)[number // 5 % 3]))
        pending.append((number, -size))
        if len(pending) > 10:
            changes.append((*pending.pop(0), ""))
    return fill(Timeline("long"), events_of(*changes))
