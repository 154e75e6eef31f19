"""Tasks in processes of their own, so that nothing of one is counted in another; no TensorFlow."""

import contextlib
import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from typing import IO, Any

from mem_dfa.experiments.cells.cell import Cell, Report
from mem_dfa.experiments.cells.errors import MachineError as MachineError

ENVIRONMENT = {
    "TF_CPU_ALLOCATOR_USE_BFC": "1",  # without it the CPU's statistics leave tensors out
    # One set of kernels on every processor: where it lacks AVX-512's VNNI, TensorFlow takes others,
    # whose convolutions work in a buffer as large as its third cache.
    "TF_ENABLE_ONEDNN_OPTS": "1",
    "TF_CUDNN_USE_AUTOTUNE": "0",  # trying out algorithms takes memory that training does not
    "TF_CPP_MIN_LOG_LEVEL": "1",  # warnings are where the allocator says that memory ran out
    "KERAS_BACKEND": "tensorflow",
}
MEMORY_LIMIT = "TF_CPU_BFC_MEM_LIMIT_IN_MB"
THREADS = ("TF_NUM_INTEROP_THREADS", "TF_NUM_INTRAOP_THREADS")
NEWS = re.compile(
    r"[IW]\d{4} \d\d:|\d{4}-\d\d-\d\d [\d:.]+: [IW] |WARNING: All log messages before absl"
    r"|.*failed call to cuInit"
)
"""What TensorFlow's libraries log that ended no process, the lack of a GPU included."""
OUT_OF_MEMORY = "ran out of memory trying to allocate"


@dataclasses.dataclass(frozen=True)
class Limits:
    """What a process may take; None for as much as it needs."""

    time_s: int | None = None
    memory_bytes: int | None = None  # of the device's allocator, in whole MiB
    threads: int | None = None  # for operations at once, and as many within one

    @property
    def environment(self) -> dict[str, str]:
        """What tells TensorFlow."""
        told = dict.fromkeys(THREADS, str(self.threads)) if self.threads else {}
        if self.memory_bytes is not None:
            told[MEMORY_LIMIT] = str(max(1, self.memory_bytes // 2**20))
        return told


NO_LIMITS = Limits()
_own = threading.local()
"""Each thread's ``server``: what processes are forked from, one after another."""
_servers: list[subprocess.Popen[str]] = []


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
            tempfile.TemporaryDirectory(prefix="mem_dfa_") as folder,
            open(f"{folder}/errors", "w+", errors="replace") as errors,
        ):
            # Its temporary files are there, too: what it leaves of them as it is ended goes.
            request = {
                "task": task,
                "cells": [dataclasses.asdict(cell) for cell in cells],
                "limits": dataclasses.asdict(limits),
                "environment": os.environ | ENVIRONMENT | limits.environment | {"TMPDIR": folder},
                "folder": os.getcwd(),
                "errors": errors.name,
            }
            try:
                return _answer(request, errors, report)
            except BaseException:  # such as Ctrl-C
                end_all()
                raise
    except OSError as error:
        raise MachineError(
            f"no process could be started to measure in ({error}); run this again when that is "
            "mended"
        ) from error


def end_all() -> None:
    """Ends the processes of every `call` that is under way, and what they are forked from."""
    while _servers:
        server = _servers.pop()
        server.terminate()
        server.wait()


def _answer(request: dict[str, Any], errors: IO[str], report: Report) -> dict[str, Any]:
    server = _started(errors)
    assert server.stdin and server.stdout
    with contextlib.suppress(BrokenPipeError):  # it died just now, and says how
        print(json.dumps(request), file=server.stdin, flush=True)
    told: dict[str, Any] = {}
    for line in server.stdout:
        try:
            message = json.loads(line)
        except ValueError:  # a process ended in the middle of a line
            continue
        told |= message
        if "note" in message:
            report(message["note"], message["done"])
        if "returncode" in message:
            break
    if "result" in told:
        return told["result"]
    returncode = told["returncode"] if "returncode" in told else server.wait()
    errors.seek(0)
    death = _death(returncode, errors.read(), request["limits"]["time_s"])
    if "returncode" not in told and returncode > 0:  # it can import nothing, or fork
        raise OSError(death["error"])
    return death


def _started(errors: IO[str]) -> subprocess.Popen[str]:
    """This thread's server."""
    if not hasattr(_own, "server") or _own.server.poll() is not None:
        _own.server = subprocess.Popen(
            [sys.executable, "-m", "mem_dfa.experiments.measure.server", str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,  # why it cannot import, say
            text=True,
            env=os.environ | ENVIRONMENT,
            start_new_session=True,  # Ctrl-C is for this process, which then ends that one
        )
        _servers.append(_own.server)
    return _own.server


def _death(returncode: int, errors: str, time_s: int | None) -> dict[str, str]:
    """The result of a process that left none."""
    if returncode == -signal.SIGALRM:
        return {"status": "timed_out", "error": f"took longer than {time_s} s"}
    lines = [line.strip() for line in errors.splitlines() if line.strip()]
    message = next((line for line in reversed(lines) if not NEWS.match(line)), "no message")[:300]
    status, how = "failed", f"ended with exit status {returncode}"
    if returncode < 0:
        how = f"was ended by {signal.Signals(-returncode).name}"
    # Some kernels of oneDNN crash where others raise an error.
    said = [line[line.index(OUT_OF_MEMORY) :] for line in lines if OUT_OF_MEMORY in line]
    if said:
        status, how = "out_of_memory", f"{how} after the allocator {said[0][:200]}"
    elif returncode == -signal.SIGKILL:
        status, how = "killed", f"{how}; Linux does so when memory runs out"
    else:
        how = f"{how}: {message}"
    return {"status": status, "error": f"the measuring process {how}"}
