"""Signals that end a run: SIGTERM and SIGHUP as Ctrl-C does, and none while a row is written."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def interrupting() -> Iterator[list[int]]:
    """Lets the signals that end a run raise KeyboardInterrupt in the block, so that it cleans up.

    A signal that is ignored, as SIGHUP under nohup, or that another program has a use for, is left
    alone.

    Returns:
        The numbers of those that came.
    """
    came: list[int] = []

    def interrupt(number: int, frame: FrameType | None) -> None:
        came.append(number)
        raise KeyboardInterrupt

    usual = [n for n in ENDING if _is_here() and signal.getsignal(n) is signal.SIG_DFL]
    for number in usual:
        signal.signal(number, interrupt)
    try:
        yield came
    finally:
        for number in usual:
            signal.signal(number, signal.SIG_DFL)


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Keeps the signals that end a run waiting until the block is done."""
    came: list[int] = []
    before = {
        number: signal.getsignal(number)
        for number in ENDING
        if _is_here() and callable(signal.getsignal(number))
    }
    try:
        for number in before:
            signal.signal(number, lambda number, frame: came.append(number))
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if came:
            signal.raise_signal(came[0])


def _is_here() -> bool:
    """Whether signals are handled in this thread, which none but the main one may change."""
    return threading.current_thread() is threading.main_thread()
