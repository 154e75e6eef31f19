"""Memory of any Keras or TensorFlow step, measured by TensorFlow's own allocator.

Names are imported when they are first used: `import mem_dfa.profiling`, which pytest does at every
start for the plugin, costs next to nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from mem_dfa.extras import missing

if TYPE_CHECKING:
    from mem_dfa.profiling.allocator import ENVIRONMENT_VARIABLE as ENVIRONMENT_VARIABLE
    from mem_dfa.profiling.allocator import Allocator as Allocator
    from mem_dfa.profiling.allocator import enable as enable
    from mem_dfa.profiling.errors import MeterError as MeterError
    from mem_dfa.profiling.errors import TraceError as TraceError
    from mem_dfa.profiling.facade import Timeline as Timeline
    from mem_dfa.profiling.recording.events import AllocationEvent as AllocationEvent
    from mem_dfa.profiling.recording.events import read_events as read_events
    from mem_dfa.profiling.recording.recorder import find_trace as find_trace
    from mem_dfa.profiling.recording.recorder import record as record
    from mem_dfa.profiling.tracing import trace as trace
    from mem_dfa.profiling.training.callback import MemoryCallback as MemoryCallback

_NAMES_OF_MODULES = {
    "allocator": ("ENVIRONMENT_VARIABLE", "Allocator", "enable"),
    "errors": ("MeterError", "TraceError"),
    "facade": ("Timeline",),
    "recording.events": ("AllocationEvent", "read_events"),
    "recording.recorder": ("find_trace", "record"),
    "tracing": ("trace",),
    "training.callback": ("MemoryCallback",),
}
_MODULES = {name: module for module, names in _NAMES_OF_MODULES.items() for name in names}
__all__ = sorted(_MODULES)


def __getattr__(name: str) -> object:
    """Only a name that is not imported yet comes here."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # By the installed name also where a checkout's folder is imported as `profiling`: a class that
    # existed twice would be caught by no `except`.
    try:
        value = getattr(import_module(f"mem_dfa.profiling.{_MODULES[name]}"), name)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            missing(error, "profiling") or str(error), name=error.name
        ) from error
    globals()[name] = value
    return value
