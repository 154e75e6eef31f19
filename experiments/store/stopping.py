"""Signals that end a run: SIGTERM and SIGHUP as Ctrl-C does, and none while a row is written."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def interrupting() -> Iterator[list[int]]:
    """Lets the signals that end a run raise KeyboardInterrupt in the block, so that it cleans up.

    A signal that is ignored, as SIGHUP under nohup, or that another program has a use for, is left
    alone. The numbers of those that came are in the list.
    """
    came: list[int] = []

    def interrupt(number: int, frame: FrameType | None) -> None:
        came.append(number)
        raise KeyboardInterrupt

    with _handled(interrupt, lambda usual: usual is signal.SIG_DFL):
        yield came


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Keeps the signals that end a run waiting until the block is done."""
    came: list[int] = []
    try:
        with _handled(lambda number, frame: came.append(number), callable):
            yield
    finally:
        if came:
            signal.raise_signal(came[0])


@contextlib.contextmanager
def _handled(
    handler: Callable[[int, FrameType | None], None], is_changed: Callable[[Any], bool]
) -> Iterator[None]:
    """Handles signals so instead of as usual, in the main thread, which alone can."""
    is_here = threading.current_thread() is threading.main_thread()
    usual = {number: signal.getsignal(number) for number in ENDING if is_here}
    usual = {number: old for number, old in usual.items() if is_changed(old)}
    try:
        for number in usual:
            signal.signal(number, handler)
        yield
    finally:
        for number, old in usual.items():
            signal.signal(number, old)
