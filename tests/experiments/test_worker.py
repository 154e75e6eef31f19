"""Processes that measure may die, hang or be killed, and so may whatever waits for them."""

import dataclasses
import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from mem_dfa.experiments.cells.cell import Cell
from mem_dfa.experiments.engine import worker
from mem_dfa.experiments.engine.worker import Limits

from tests.experiments.ended import has_ended

CELL = Cell("bp", "mlp", 1, 8, device="CPU:0", steps=1)
STARTED = "open('started', 'w').write(str(subprocess.Popen(['sleep', '60']).pid))"
HALF_A_LINE = (
    "frame = sys._getframe()\n"
    "while 'stream' not in frame.f_locals: frame = frame.f_back\n"
    "print('{\"result', end='', file=frame.f_locals['stream'], flush=True)\n"
)


LOGGED = "2026-01-02 03:04:05.678901: W tensorflow/core/a.cc:1] news"


@pytest.fixture(scope="module", autouse=True)
def _server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One of these tests' own, whose processes know an algorithm that does what SCRIPT says."""
    folder = tmp_path_factory.mktemp("scripted")
    (folder / "scripted.py").write_text(
        "import os, subprocess, sys, time\nexec(os.environ['SCRIPT'])"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(folder))
        patch.setattr(worker, "_own", threading.local())
        yield
        worker.end_all()


@pytest.mark.parametrize(
    ("script", "status", "part"),
    [
        ("os.kill(os.getpid(), 9)", "killed", "SIGKILL; Linux does so when memory runs out"),
        ("os.kill(os.getpid(), 11)", "failed", "SIGSEGV: no message"),
        ("os.write(2, b'Check failed: so\\n'); os.abort()", "failed", "SIGABRT: Check failed: so"),
        (
            f"os.write(2, b'so it is\\n{LOGGED}\\n'); os._exit(3)",
            "failed",
            "exit status 3: so it is",
        ),
        ("os.write(2, b'broken\\n'); os._exit(3)", "failed", "exit status 3: broken"),
        ("os.write(1, b'\\377\\n'); os.write(2, b'\\377 no\\n'); os._exit(3)", "failed", " no"),
        (
            f"os.write(2, b'{worker.OUT_OF_MEMORY} 1GiB\\n'); os.abort()",
            "out_of_memory",
            "trying to allocate 1GiB",
        ),
        (f"{HALF_A_LINE}os._exit(3)", "failed", "exit status 3"),
        (f"{STARTED}; time.sleep(60)", "timed_out", "took longer than 4 s"),
        (f"{STARTED}; os._exit(3)", "failed", "exit status 3"),
    ],
)
def test_how_a_process_ended(
    script: str, status: str, part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCRIPT", script)
    monkeypatch.chdir(tmp_path)
    cell = dataclasses.replace(CELL, algorithm="scripted:Algorithm")
    start = time.perf_counter()
    limits = Limits(time_s=4 if status == "timed_out" else 60)
    result = worker.call("measure", [cell], limits=limits)
    assert time.perf_counter() - start < 40
    assert (result["status"], part in result["error"]) == (status, True), result
    if STARTED in script:
        started = Path("started").read_text()
        assert not psutil.pid_exists(int(started)) or has_ended(psutil.Process(int(started)))


def script(path: Path, *lines: str) -> str:
    path.write_text("\n".join(["#!/bin/sh", *lines]))
    path.chmod(0o755)
    return str(path)


def test_ended_before_there_is_a_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Importing takes seconds, and may take for ever."""
    monkeypatch.setattr(worker, "_own", threading.local())
    monkeypatch.setattr(worker.sys, "executable", script(tmp_path / "python", "exec sleep 60"))
    timer = threading.Timer(0.5, worker.end_all)
    timer.start()
    start = time.perf_counter()
    assert "SIGTERM" in worker.call("measure", [CELL])["error"]
    timer.join()
    assert time.perf_counter() - start < 30


def test_nothing_to_fork_from_is_no_cells_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as where TensorFlow cannot be imported: every cell would fail."""
    python = script(tmp_path / "python", "echo No module named tensorflow >&2", "exit 1")
    monkeypatch.setattr(worker, "_own", threading.local())
    monkeypatch.setattr(worker.sys, "executable", python)
    with pytest.raises(worker.MachineError, match="exit status 1: No module named tensorflow"):
        worker.call("measure", [CELL])


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits processes so")
def test_no_room_for_a_process_is_no_cells_fault() -> None:
    result = worker.call("survey", [CELL])
    assert result["status"] == "ok", result
    resource.prlimit(worker._own.server.pid, resource.RLIMIT_NOFILE, (4, 4))
    with pytest.raises(worker.MachineError, match="run this again when that is mended"):
        worker.call("survey", [CELL])
    result = worker.call("survey", [CELL])
    assert result["status"] == "ok", result


def test_processes_have_the_server_in_common_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each takes its own limits, environment and folder."""
    wide = dataclasses.replace(CELL, model="conv20", layers=4, batch_size=512)
    little = worker.call("measure", [wide], limits=Limits(memory_bytes=2**26))
    assert little["status"] == "out_of_memory", little
    first = worker._own.server
    monkeypatch.chdir(tmp_path)
    traced = dataclasses.replace(CELL, trace_file="timeline.json.gz")
    assert worker.call("measure", [traced])["status"] == "ok"
    assert (tmp_path / "timeline.json.gz").exists()
    monkeypatch.setenv("TF_CPU_BFC_MEM_LIMIT_IN_MB", "64")
    assert worker.call("measure", [wide])["status"] == "out_of_memory"
    assert worker._own.server is first


def test_importing_starts_nothing() -> None:
    """No device is looked at and no thread of TensorFlow's runs before a process is forked."""
    code = (
        "from mem_dfa.experiments.measure import child\n"
        "from tensorflow.python.eager import context\n"
        "import pathlib, sys\n"
        "assert context._context is None\n"
        "names = [file.read_text() for file in pathlib.Path('/proc/self/task').glob('*/comm')]\n"
        "assert not [name for name in names if name.startswith('tf_')], names\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_killed_below_a_gibibyte_is_not_out_of_memory() -> None:
    """The allocator's one region stays within the limit, so it has nothing to complain of."""
    notes = []

    def report(note: str, done: float) -> None:
        notes.append(note)
        if note == "recording":
            psutil.Process(worker._own.server.pid).children()[0].kill()

    result = worker.call("measure", [CELL], report, Limits(memory_bytes=300 * 2**20))
    assert notes[-1] == "recording"
    assert result["status"] == "killed", result


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lists a process's threads")
def test_tensorflow_takes_the_threads_it_is_given() -> None:
    code = (
        "import pathlib, tensorflow as tf\n"
        "tf.function(lambda x: x + x)(tf.ones(3))\n"
        "names = [file.read_text() for file in pathlib.Path('/proc/self/task').glob('*/comm')]\n"
        "print(names.count('tf_Compute\\n'))"
    )
    environment = {**os.environ, **worker.ENVIRONMENT, **Limits(threads=5).environment}
    command = [sys.executable, "-c", code]
    told = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert told.stdout == "5\n"


def wait_for_server(parent: subprocess.Popen) -> None:
    deadline = time.monotonic() + 30
    while not psutil.Process(parent.pid).children():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize(("is_forked", "pause_s"), [(False, 0), (False, 0.7), (True, 0)])
def test_no_process_outlives_its_parent(is_forked: bool, pause_s: float) -> None:
    """However the parent ends, and whatever the server is doing just then."""
    code = (
        "from mem_dfa.experiments.cells.cell import Cell\n"
        "from mem_dfa.experiments.engine import worker\n"
        "told = lambda note, done: print(note, flush=True)\n"
        f"worker.call('measure', [{dataclasses.replace(CELL, steps=10**6)!r}], told)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    with parent:
        wait_for_server(parent)
        if is_forked:
            assert parent.stdout.readline()
        time.sleep(pause_s)
        started = psutil.Process(parent.pid).children(recursive=True)
        assert len(started) > is_forked
        parent.kill()
    assert all(map(has_ended, started)), "one goes on"
