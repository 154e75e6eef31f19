"""Spans: what a thread was doing. They place what operations alone do not, above all eagerly.

A span opened here is an event of TensorFlow's profiler, on the same clock and thread as the
allocations inside it. Its name is a path with a trailing slash, `replay/block_004/`, as that of a
name scope; any code may open such spans, this module reads them all.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

PREFIX = "scope:"


@dataclass(frozen=True, slots=True)
class Span:
    """What ran from `start_ps` to `end_ps` on one thread."""

    start_ps: int
    end_ps: int
    name: str
    thread: int


@contextmanager
def eager_spans() -> Iterator[None]:
    """Within the context, eager layer calls, gradients and optimizer steps open spans.

    TensorFlow names only an eager operation's type. In a traced function the name scopes say
    more, and nothing is opened.
    """
    import keras
    import tensorflow as tf

    layer_call = keras.layers.Layer.__call__
    gradient = tf.GradientTape.gradient
    apply = keras.optimizers.Optimizer.apply

    def span(name: str) -> Any:
        return tf.profiler.experimental.Trace(f"{PREFIX}{name}/")

    def spanned_call(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not tf.executing_eagerly():
            return layer_call(self, *args, **kwargs)
        # As in a graph, where a name is made unique by a number.
        with span(f"{self.name}_1"):
            return layer_call(self, *args, **kwargs)

    def spanned_gradient(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not tf.executing_eagerly():
            return gradient(self, *args, **kwargs)
        with span("gradient_tape"):
            return gradient(self, *args, **kwargs)

    def spanned_apply(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not tf.executing_eagerly():
            return apply(self, *args, **kwargs)
        with span(self.name):
            return apply(self, *args, **kwargs)

    keras.layers.Layer.__call__ = spanned_call
    tf.GradientTape.gradient = spanned_gradient
    keras.optimizers.Optimizer.apply = spanned_apply
    try:
        yield
    finally:
        keras.layers.Layer.__call__ = layer_call
        tf.GradientTape.gradient = gradient
        keras.optimizers.Optimizer.apply = apply


class Scopes:
    """The spans of one thread, to be asked what surrounds a moment."""

    def __init__(self, plane: Any, line: Any) -> None:
        """Read the spans of `line`, a thread of an XPlane's `plane`."""
        wanted = {
            key: metadata.name.removeprefix(PREFIX)
            for key, metadata in plane.event_metadata.items()
            if metadata.name.startswith(PREFIX)
        }
        spans = sorted(
            (event.offset_ps, -event.duration_ps, wanted[event.metadata_id])
            for event in (line.events if wanted else ())
            if event.metadata_id in wanted
        )
        # The path that holds from each moment on: spans of a thread nest, they never overlap.
        self._starts: list[int] = []
        self._paths: list[str] = []
        alive: list[tuple[int, str]] = []
        for start, minus_duration, name in spans:
            self._close(alive, start)
            alive.append((start - minus_duration, name))
            self._note(start, alive)
        self._close(alive, None)

    def at(self, offset_ps: int) -> str:
        """The path of the spans around a moment, counted from the line's start."""
        position = bisect_right(self._starts, offset_ps) - 1
        return self._paths[position] if position >= 0 else ""

    def _close(self, alive: list[tuple[int, str]], until: int | None) -> None:
        while alive and (until is None or alive[-1][0] <= until):
            end, _ = alive.pop()
            self._note(end, alive)

    def _note(self, moment: int, alive: list[tuple[int, str]]) -> None:
        self._starts.append(moment)
        self._paths.append("".join(name for _, name in alive).rstrip("/"))


def read_operations(space: Any) -> list[Span]:
    """The operations that ran, of all threads, in order of time.

    Args:
        space: see `xplane.load`.
    """
    found = []
    for plane in space.planes:
        # TensorFlow names an operation's event "name:type".
        names = {
            key: metadata.name.rsplit(":", 1)[0]
            for key, metadata in plane.event_metadata.items()
            if ":" in metadata.name
            and "::" not in metadata.name
            and not metadata.name.startswith(PREFIX)
        }
        for line in plane.lines:
            start_ps = line.timestamp_ns * 1000
            found += [
                Span(
                    start_ps + event.offset_ps,
                    start_ps + event.offset_ps + event.duration_ps,
                    names[event.metadata_id],
                    line.id,
                )
                for event in line.events
                if event.metadata_id in names
            ]
    return sorted(found, key=lambda span: (span.start_ps, -span.end_ps))
