"""Memory of any Keras or TensorFlow step, measured by TensorFlow's own allocator.

Names are imported when they are first used: `import profiling`, which pytest does at every start
for the plugin, costs next to nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from profiling.allocator import ENVIRONMENT_VARIABLE as ENVIRONMENT_VARIABLE
    from profiling.allocator import Allocator as Allocator
    from profiling.allocator import MeterError as MeterError
    from profiling.allocator import enable as enable
    from profiling.callback import MemoryCallback as MemoryCallback
    from profiling.events import AllocationEvent as AllocationEvent
    from profiling.events import read_events as read_events
    from profiling.prediction import Prediction as Prediction
    from profiling.prediction import predict as predict
    from profiling.recording import find_trace as find_trace
    from profiling.recording import record as record
    from profiling.timeline import Timeline as Timeline
    from profiling.tracing import trace as trace
    from profiling.xplane import TraceError as TraceError

_NAMES_OF_MODULES = {
    "allocator": ("ENVIRONMENT_VARIABLE", "Allocator", "MeterError", "enable"),
    "callback": ("MemoryCallback",),
    "events": ("AllocationEvent", "read_events"),
    "prediction": ("Prediction", "predict"),
    "recording": ("find_trace", "record"),
    "timeline": ("Timeline",),
    "tracing": ("trace",),
    "xplane": ("TraceError",),
}
_MODULES = {name: module for module, names in _NAMES_OF_MODULES.items() for name in names}
__all__ = sorted(_MODULES)


def __getattr__(name: str) -> object:
    """Only a name that is not imported yet comes here."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value
