"""Names for a profile: which phase and block an operation belongs to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import tensorflow as tf


@contextmanager
def scope(phase: str, block: str = "") -> Iterator[None]:
    """Operations of the context are named `phase/block/…` in a profile, in every execution mode.

    Args:
        phase: `forward`, `replay`, `backward` or `update`.
        block: such as `block_004`; "" for what belongs to no one block.
    """
    # An absolute scope (trailing slash) keeps its name when it is opened a second time.
    path = f"{phase}/{block}/" if block else f"{phase}/"
    if not tf.executing_eagerly():
        with tf.name_scope(path):
            yield
        return
    # Eagerly an operation has no path: a span of the profiler says it, at no cost without one.
    with tf.profiler.experimental.Trace(f"scope:{path}"):
        yield
