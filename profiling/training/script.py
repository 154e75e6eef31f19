"""A Python script run inside this process, as `python script arguments` would run it."""

from __future__ import annotations

import os
import runpy
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

INTERRUPTED = 130  # what shells report for Ctrl-C
_OWN_FILES = str(Path(__file__).parents[1])


def run_script(script: str, arguments: Sequence[str]) -> int:
    """Run a script as `__main__`, unchanged.

    What it raises is shown as Python would, without the frames of what runs it here.

    Args:
        script: path of a Python file.
        arguments: what follows it in `sys.argv`.

    Returns:
        Its exit status: 1 where it raised, 130 after Ctrl-C.
    """
    with _as_if_started(script, arguments):
        try:
            runpy.run_path(os.path.abspath(script), run_name="__main__")
        except SystemExit as end:
            return _status(end.code)
        except KeyboardInterrupt:
            return INTERRUPTED
        except BaseException as error:
            trace = _trace_of_script(error.__traceback__, os.path.abspath(script))
            sys.excepthook(type(error), error.with_traceback(trace), trace)
            return 1
    return 0


@contextmanager
def _as_if_started(script: str, arguments: Sequence[str]) -> Iterator[None]:
    """What a program finds at its start; afterwards what was there before."""
    before = sys.argv, sys.path, sys.stdout, sys.stderr, sys.excepthook
    sys.argv = [script, *arguments]
    sys.path = [os.path.dirname(os.path.realpath(script)), *sys.path]
    sys.excepthook = sys.__excepthook__
    in_main_thread = threading.current_thread() is threading.main_thread()
    if in_main_thread and signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        sys.argv, sys.path, sys.stdout, sys.stderr, sys.excepthook = before


def _status(code: object) -> int:
    """What Python makes of the argument of `sys.exit`."""
    if code is None:
        return 0
    if isinstance(code, int):
        return code
    print(code, file=sys.stderr)
    return 1


def _trace_of_script(trace: TracebackType | None, script: str) -> TracebackType | None:
    """The traceback from the script's first frame on; None where it did not come to run."""
    frames = []
    while trace is not None:
        frames.append(trace)
        trace = trace.tb_next
    files = [frame.tb_frame.f_code.co_filename for frame in frames]
    first = files.index(script) if script in files else len(files)
    found = None
    for frame, file in reversed([*zip(frames, files, strict=True)][first:]):
        if not file.startswith(_OWN_FILES):  # of what stands in the place of Keras's `fit`
            found = TracebackType(found, frame.tb_frame, frame.tb_lasti, frame.tb_lineno)
    return found
