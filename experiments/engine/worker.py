"""Tasks in processes of their own, so that nothing of one is counted in another; no TensorFlow."""

import contextlib
import dataclasses
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from typing import IO, Any

from mem_dfa.experiments.cells.cell import Cell
from mem_dfa.experiments.cells.errors import MachineError as MachineError
from mem_dfa.experiments.cells.report import Report as Report

ENVIRONMENT = {
    "TF_CPU_ALLOCATOR_USE_BFC": "1",  # without it the CPU's statistics leave tensors out
    "TF_CUDNN_USE_AUTOTUNE": "0",  # trying out algorithms takes memory that training does not
    "TF_CPP_MIN_LOG_LEVEL": "1",  # warnings are where the allocator says that memory ran out
    "KERAS_BACKEND": "tensorflow",
}
MEMORY_LIMIT = "TF_CPU_BFC_MEM_LIMIT_IN_MB"
THREADS = ("TF_NUM_INTEROP_THREADS", "TF_NUM_INTRAOP_THREADS")
OUT_OF_MEMORY = "ran out of memory trying to allocate"


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
_server: tuple[subprocess.Popen, socket.socket] | None = None
_asking = threading.Lock()


def silent(note: str, done: float) -> None:
    """A `Report` that tells nobody."""


def call(
    task: str, cells: Sequence[Cell], report: Report = silent, limits: Limits = NO_LIMITS
) -> dict[str, Any]:
    """Runs a task of `measure.child` in a process of its own.

    Returns:
        The result. With an ``error``, its ``status`` is "timed_out" if the process was ended as it
        took too long, "out_of_memory" or "killed" if it died so, and "failed" if otherwise.

    Raises:
        MachineError: no process can be started.
    """
    try:
        with (
            # The process's own, too: what it leaves there as it is ended goes.
            tempfile.TemporaryDirectory(prefix="mem_dfa_") as folder,
            open(f"{folder}/request.json", "w+") as asked,
            open(f"{folder}/stderr", "w+", errors="replace") as said,
        ):
            request = {
                "task": task,
                "cells": [dataclasses.asdict(cell) for cell in cells],
                "limits": dataclasses.asdict(limits),
                "environment": os.environ | ENVIRONMENT | limits.environment | {"TMPDIR": folder},
                "folder": os.getcwd(),
            }
            json.dump(request, asked)
            asked.seek(0)
            told = _told(asked, said, report)
            said.seek(0)
            return told.get("result") or _death(told["returncode"], said.read(), limits)
    except OSError as error:
        raise MachineError(
            f"no process could be started to measure in ({error}); run this again when that is "
            "mended"
        ) from error


def end_all() -> None:
    """Ends the server, and with it the processes of every `call` that is under way."""
    if _server is not None:
        _server[0].terminate()
        _server[0].wait()


def _told(asked: IO[str], said: IO[str], report: Report) -> dict[str, Any]:
    """What a new process told until it ended, at last its ``returncode``."""
    reading, writing = os.pipe()
    told: dict[str, Any] = {}
    with os.fdopen(reading) as lines:
        try:
            with os.fdopen(writing, "w") as telling:
                server = _ask(telling, said, asked)
            for line in lines:
                try:
                    message = json.loads(line)
                except ValueError:  # it ended in the middle of a line
                    continue
                told |= message
                if "note" in message:
                    report(message["note"], message["done"])
        except BaseException:  # such as Ctrl-C
            end_all()
            lines.read()  # until all have ended
            raise
    if "returncode" not in told:  # the server ended as well
        told["returncode"] = server.wait()
        if told["returncode"] > 0:  # it can import nothing, or fork
            said.seek(0)
            raise OSError(_death(told["returncode"], said.read(), NO_LIMITS)["error"])
    return told


def _ask(telling: IO[str], said: IO[str], asked: IO[str]) -> subprocess.Popen:
    """Has the server fork a process with these files; starts it if need be, and returns it."""
    global _server
    with _asking:
        if _server is None or _server[0].poll() is not None:
            control, other = socket.socketpair()
            with other:
                process = subprocess.Popen(
                    [sys.executable, "-m", "mem_dfa.experiments.measure.server", str(os.getpid())],
                    stdin=other,
                    stdout=subprocess.DEVNULL,
                    stderr=said,  # why it cannot import, say
                    env=os.environ | ENVIRONMENT,
                    start_new_session=True,  # Ctrl-C is for this process, which then ends that one
                )
            _server = process, control
        process, control = _server
        with contextlib.suppress(ConnectionError):  # it died just now, and says how
            socket.send_fds(control, [b"."], [file.fileno() for file in (telling, said, asked)])
        return process


def _death(returncode: int, errors: str, limits: Limits) -> dict[str, str]:
    """The result of a process that left none."""
    if returncode == -signal.SIGALRM:
        return {"status": "timed_out", "error": f"took longer than {limits.time_s} s"}
    lines = [line.strip() for line in errors.splitlines() if line.strip()] or ["no message"]
    status, how = "failed", f"ended with exit status {returncode}: {lines[-1][:300]}"
    if returncode == -signal.SIGKILL:
        status, how = "killed", "was ended by SIGKILL; Linux does so when memory runs out"
    elif returncode < 0:
        how = f"was ended by {signal.Signals(-returncode).name}"
    # Some kernels of oneDNN crash where others raise an error.
    said = [line[line.index(OUT_OF_MEMORY) :] for line in lines if OUT_OF_MEMORY in line]
    if said:
        status, how = "out_of_memory", f"{how} after the allocator {said[0][:200]}"
    return {"status": status, "error": f"the measuring process {how}"}
