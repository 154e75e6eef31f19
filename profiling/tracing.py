"""`trace`: record the memory of a step and give it back as a timeline."""

from __future__ import annotations

import gc
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mem_dfa.profiling.allocator import Allocator
from mem_dfa.profiling.errors import TraceError
from mem_dfa.profiling.facade import Timeline
from mem_dfa.profiling.recording import xplane
from mem_dfa.profiling.recording.events import device_allocator, read_events
from mem_dfa.profiling.recording.held_tensors import held, names_of
from mem_dfa.profiling.recording.recorder import find_trace, record
from mem_dfa.profiling.recording.spans import eager_spans, read_operations
from mem_dfa.profiling.timeline.lifetimes import fill


@contextmanager
def trace(
    model: Any = None,
    *,
    optimizer: Any = None,
    device: str | None = None,
    title: str = "step",
    allocator: Allocator | None = None,
) -> Iterator[Timeline]:
    """Record what happens in the context; the timeline is there when it ends.

    Run a step once before, outside: the first one traces functions and makes optimizer slots.

        with profiling.trace(model) as timeline:
            model.train_on_batch(x, y)
        timeline.live_at_peak()

    Args:
        model: a Keras model whose layers, variables and optimizer give their names; without one
            layers are read from the operations' paths and nothing resident is named.
        optimizer: where it is not `model.optimizer`.
        device: "CPU:0" or "GPU:0"; the first GPU, if there is one, unless said otherwise.
        title: for headings.
        allocator: of that device, already proved; a new one is proved otherwise.

    Raises:
        MeterError: the allocator's statistics are missing or do not tell the truth.
        TraceError: nothing was recorded on that device, another recording is running, or there is
            no room for one in the folder of temporary files.
    """
    meter = allocator or Allocator(device or default_device())
    gc.collect()
    held_before = held(model, optimizer)
    timeline = Timeline(title)
    with _temporary_folder() as directory:
        meter.reset_peak()
        with eager_spans(), record(directory):
            yield timeline
        peak_bytes = meter.peak_bytes()
        space = xplane.load(find_trace(directory))
    events = read_events(space)
    name = device_allocator(events, meter.device)
    if name is None:
        found = ", ".join(sorted({event.allocator for event in events}))
        raise TraceError(
            f"Nothing was allocated on {meter.device} while recording, only by {found}: run a "
            f"step on that device inside the block, or name another device."
        )
    fill(
        timeline,
        events,
        allocator=name,
        device=meter.device,
        names=names_of(model, optimizer),
        held_before=held_before,
        held_after=held(model, optimizer),
        operations=read_operations(space),
        allocator_peak_bytes=peak_bytes,
    )


def _temporary_folder() -> tempfile.TemporaryDirectory:
    try:
        return tempfile.TemporaryDirectory()
    except OSError as error:
        raise TraceError(
            f"Cannot make a folder for the recording ({error.strerror}: {error.filename}); make "
            "room there, or set TMPDIR."
        ) from error


def default_device() -> str:
    """The first GPU, if there is one, otherwise the CPU."""
    import tensorflow as tf

    return "GPU:0" if tf.config.list_logical_devices("GPU") else "CPU:0"
