"""Memory of any Keras or TensorFlow step, measured by TensorFlow's own allocator."""

from profiling.allocator import ENVIRONMENT_VARIABLE, Allocator, MeterError, enable
from profiling.events import AllocationEvent, read_events
from profiling.peaks import allocated_peak_bytes, device_allocator, requested_peak_bytes
from profiling.recording import find_trace, record
from profiling.timeline import Timeline
from profiling.tracing import trace
from profiling.xplane import TraceError

__all__ = [
    "ENVIRONMENT_VARIABLE",
    "AllocationEvent",
    "Allocator",
    "MeterError",
    "Timeline",
    "TraceError",
    "allocated_peak_bytes",
    "device_allocator",
    "enable",
    "find_trace",
    "read_events",
    "record",
    "requested_peak_bytes",
    "trace",
]
