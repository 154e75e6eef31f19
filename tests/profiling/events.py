"""Hand-written allocation events."""

from mem_dfa.profiling import AllocationEvent

CPU = "bfc_cpu"


def events_of(
    *changes: tuple[int, int] | tuple[int, int, str],
    before_bytes: int = 0,
    allocator: str = CPU,
    start_ns: int = 0,
) -> list[AllocationEvent]:
    """One event a microsecond per (address, requested bytes[, op]), negative where freed.

    Chunks are multiples of 256 bytes.
    """
    events = []
    running_bytes = before_bytes
    for number, (address, change_bytes, *op) in enumerate(changes):
        requested_bytes = abs(change_bytes)
        allocated_bytes = -(-requested_bytes // 256) * 256
        running_bytes += allocated_bytes if change_bytes > 0 else -allocated_bytes
        events.append(
            AllocationEvent(
                time_ps=(start_ns + 1000 * number) * 1000,
                kind="allocation" if change_bytes >= 0 else "deallocation",
                allocator=allocator,
                address=address,
                allocated_bytes=allocated_bytes,
                requested_bytes=requested_bytes,
                running_bytes=running_bytes,
                peak_bytes=running_bytes,
                op=op[0] if op else "",
                region_type="output" if op else "",
            )
        )
    return events
