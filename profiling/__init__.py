"""Memory of any Keras or TensorFlow step, measured by TensorFlow's own allocator."""

from profiling.allocator import ENVIRONMENT_VARIABLE, Allocator, MeterError, enable
from profiling.events import AllocationEvent, TraceError, read_events
from profiling.peaks import allocated_peak_bytes, requested_peak_bytes
from profiling.recording import find_trace, record

__all__ = [
    "ENVIRONMENT_VARIABLE",
    "AllocationEvent",
    "Allocator",
    "MeterError",
    "TraceError",
    "allocated_peak_bytes",
    "enable",
    "find_trace",
    "read_events",
    "record",
    "requested_peak_bytes",
]
