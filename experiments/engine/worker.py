"""Tasks in fresh processes, so that nothing of one is counted in another. No TensorFlow here."""

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any

from mem_dfa.experiments.cells.cell import Cell
from mem_dfa.experiments.engine import temporary

ENVIRONMENT = {
    "TF_CPU_ALLOCATOR_USE_BFC": "1",  # without it the CPU's statistics leave tensors out
    "TF_CUDNN_USE_AUTOTUNE": "0",  # trying out algorithms takes memory that training does not
    "TF_CPP_MIN_LOG_LEVEL": "1",  # warnings are where the allocator says that memory ran out
    "KERAS_BACKEND": "tensorflow",
}
MEMORY_LIMIT = "TF_CPU_BFC_MEM_LIMIT_IN_MB"
THREADS = ("TF_NUM_INTEROP_THREADS", "TF_NUM_INTRAOP_THREADS")
OUT_OF_MEMORY = "ran out of memory trying to allocate"
Report = Callable[[str, float], None]


@dataclasses.dataclass(frozen=True)
class Limits:
    """What a process may take; None for as much as it needs."""

    time_s: int | None = None
    memory_bytes: int | None = None
    """Of the device's allocator, whose unit is MiB; a fraction of one is cut off."""
    threads: int | None = None
    """For operations at once, and as many within one; None for as many as there are cores."""

    @property
    def environment(self) -> dict[str, str]:
        """What tells TensorFlow."""
        told = {}
        if self.memory_bytes is not None:
            told[MEMORY_LIMIT] = str(max(1, self.memory_bytes // 2**20))
        if self.threads is not None:
            told |= dict.fromkeys(THREADS, str(self.threads))
        return told


NO_LIMITS = Limits()


class MachineError(Exception):
    """What cells are measured with failed, and no cell is to blame: one sentence."""


_running: set[subprocess.Popen] = set()


def call(
    task: str,
    cells: Sequence[Cell],
    report: Report = lambda note, done: None,
    limits: Limits = NO_LIMITS,
) -> dict:
    """Runs a task of `measure.child` in a process of its own.

    Returns:
        The result. With an ``error``, its ``status`` is "timed_out" if the process was ended as it
        took too long, "out_of_memory" or "killed" if it died so, and "failed" if otherwise.

    Raises:
        MachineError: no process can be started, or there is no room for what it tells.
    """
    try:
        return _call(task, cells, report, limits)
    except OSError as error:
        raise MachineError(
            f"no process could be started to measure in ({error}); run this again when that is "
            "mended"
        ) from error


def _call(task: str, cells: Sequence[Cell], report: Report, limits: Limits) -> dict:
    with temporary.folder() as folder:
        result = folder / "result.json"
        with (folder / "stderr").open("w+", errors="replace") as errors:
            process = subprocess.Popen(
                [sys.executable, "-m", "mem_dfa.experiments.measure.child", str(result)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                errors="replace",  # what a library prints is in whatever encoding
                env={
                    **os.environ,
                    **ENVIRONMENT,
                    **limits.environment,
                    "TMPDIR": str(folder),  # what it leaves as it is ended goes too
                },
                start_new_session=True,  # Ctrl-C is for this process, which then ends that one
            )
            _running.add(process)
            expired = threading.Event()
            timer = threading.Timer(limits.time_s or 0, _end, (process, expired))
            try:
                if limits.time_s is not None:
                    timer.start()
                request = {
                    "task": task,
                    "cells": [dataclasses.asdict(cell) for cell in cells],
                    "memory_bytes": limits.memory_bytes,
                    "parent": os.getpid(),
                }
                _talk(process, request, report)
            finally:
                timer.cancel()
                _kill(process)
                process.wait()
                _running.discard(process)
            if result.exists():
                return json.loads(result.read_text())
            if process.returncode == os.EX_IOERR:
                raise MachineError(
                    f"there is no room in {folder} for what was measured; make some, or set TMPDIR"
                )
            if expired.is_set():
                return {"status": "timed_out", "error": f"took longer than {limits.time_s} s"}
            errors.seek(0)
            return _death(process.returncode, errors.read())


def end_all() -> None:
    """Ends the processes of every `call` that is under way in other threads."""
    for process in list(_running):
        _kill(process)


def _end(process: subprocess.Popen, expired: threading.Event) -> None:
    expired.set()
    _kill(process)


def _kill(process: subprocess.Popen) -> None:
    """Ends a process and what it started, which may go on, and hold its output, when it died."""
    # What a system says of a group that is gone, or of which nothing is left to end.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def _talk(process: subprocess.Popen, request: dict[str, Any], report: Report) -> None:
    try:
        with process.stdin:
            json.dump(request, process.stdin)
    except BrokenPipeError:
        pass  # it died at once; its exit status says how
    for line in process.stdout:
        message = _message(line)
        if message is not None:
            report(message["note"], message["done"])
    process.wait()


def _message(line: str) -> dict[str, Any] | None:
    """A line of progress, or None for what a library or the user's class printed."""
    try:
        message = json.loads(line)
    except ValueError:
        return None
    return message if isinstance(message, dict) and {"note", "done"} <= message.keys() else None


def _death(returncode: int, errors: str) -> dict[str, str]:
    """The result of a process that left none."""
    lines = [line.strip() for line in errors.splitlines() if line.strip()] or ["no message"]
    status, how = "failed", f"ended with exit status {returncode}: {lines[-1][:300]}"
    if returncode < 0:
        name = signal.Signals(-returncode).name
        hint = "; Linux does so when memory runs out" if name == "SIGKILL" else ""
        how = f"was ended by {name}{hint}"
        status = "killed" if name == "SIGKILL" else status
    # Some kernels of oneDNN crash where others raise an error.
    last_wish = next((line for line in lines if OUT_OF_MEMORY in line), None)
    if last_wish is not None:
        how += f" after the allocator {last_wish[last_wish.index(OUT_OF_MEMORY) :][:200]}"
        status = "out_of_memory"
    return {"status": status, "error": f"the measuring process {how}"}
