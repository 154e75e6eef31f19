"""Processes that measure may die, hang or be killed, and so may the sweep that waits for them."""

import io
import json
import os
import random
import stat
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest
from mem_dfa.experiments.cells.cell import Cell
from mem_dfa.experiments.engine import engines, worker
from mem_dfa.experiments.engine.worker import Limits
from mem_dfa.experiments.measure import child
from mem_dfa.experiments.store import results, sweep_rows

CELL = Cell("bp", "mlp", 1, 8, "graph", "synthetic", None, "CPU:0", "sgd", 0.01, 0, steps=1)
TINY = ["--algo", "bp", "--model", "mlp", "--layers", "1", "--dataset", "synthetic"]
TINY += ["--batch-size", "8", "--steps", "1", "--repeats", "1"]
LONGEST_S = 12  # between two kills; a tiny cell takes about half of that


@pytest.mark.parametrize(
    ("script", "status", "part"),
    [
        ("kill -KILL $$", "killed", "SIGKILL; Linux does so when memory runs out"),
        ("kill -SEGV $$", "failed", "SIGSEGV"),
        ("echo broken >&2; exit 3", "failed", "exit status 3: broken"),
        (f"echo {worker.OUT_OF_MEMORY} 1GiB >&2; kill -ABRT $$", "out_of_memory", "1GiB"),
        # The first one holds the pipe for progress open.
        ("sleep 60 & sleep 60", "timed_out", "took longer than 1 s"),
        ("sleep 60 & exit 3", "timed_out", "took longer than 1 s"),
        ("printf '\\377\\n'; echo broken >&2; exit 3", "failed", "exit status 3: broken"),
    ],
)
def test_how_a_process_ended(
    script: str, status: str, part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\n{script}\n")
    python.chmod(python.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(worker.sys, "executable", str(python))
    start = time.perf_counter()
    result = worker.call("measure", [CELL], limits=Limits(time_s=1))
    assert time.perf_counter() - start < 10
    assert result["status"] == status
    assert part in result["error"]


def test_no_room_for_what_was_measured_is_no_cells_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process says so with its exit status, and who waits for it in a sentence."""
    request = {"task": "measure", "cells": [], "memory_bytes": None, "parent": 0}
    with monkeypatch.context() as process:
        process.setattr(child.sys, "argv", ["cell", str(tmp_path / "gone" / "result.json")])
        process.setattr(child.sys, "stdin", io.StringIO(json.dumps(request)))
        process.setattr(child, "die_with", lambda parent: None)
        process.setattr(child, "run", lambda *_: {"status": "ok"})
        with pytest.raises(SystemExit) as end:
            child.main()
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\nexit {end.value.code}\n")
    python.chmod(python.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(worker.sys, "executable", str(python))
    with pytest.raises(worker.MachineError, match=r"no room in .+ for what"):
        worker.call("measure", [CELL])


def test_killed_below_a_gibibyte_is_not_out_of_memory() -> None:
    """The allocator's one region stays within the limit, so it has nothing to complain of."""
    notes = []

    def report(note: str, done: float) -> None:
        notes.append(note)
        if note == "recording":
            worker.end_all()

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


def wait_for_child(parent: subprocess.Popen) -> psutil.Process:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        children = psutil.Process(parent.pid).children()
        if children:
            return children[0]
        time.sleep(0.01)
    raise TimeoutError("it started no process")


def has_ended(process: psutil.Process) -> bool:
    """Whether it ends soon; a zombie has, which nobody has asked yet how it ended."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.01)
    return False


@pytest.mark.parametrize("pause_s", [0, 0.7])
def test_no_process_outlives_its_parent(pause_s: float) -> None:
    """However the parent ends, and whatever the process is doing just then."""
    code = (
        "from experiments import worker\n"
        "from mem_dfa.experiments.cells.cell import Cell\n"
        f"worker.call('measure', [{CELL!r}] * 2)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code])
    child = wait_for_child(parent)
    time.sleep(pause_s)
    assert child.is_running()
    parent.kill()
    parent.wait()
    assert has_ended(child), "it goes on"


def start(out: Path, seeds: int) -> subprocess.Popen:
    line = [*TINY, "--seed", f"0-{seeds - 1}", "--retry", "--out", str(out)]
    command = [sys.executable, "-m", "experiments.sweep", *line]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def kill_something(sweep: subprocess.Popen, rng: random.Random) -> str:
    """Kills the sweep or, as often, what it waits for."""
    children = psutil.Process(sweep.pid).children()
    if children and rng.random() < 0.5:
        children[0].kill()
        return "process"
    sweep.kill()
    sweep.communicate()
    assert all(map(has_ended, children)), "a process outlives the sweep"
    return "sweep"


def harass(out: Path, seeds: int, kills: int, rng: random.Random) -> Counter[str]:
    """Kills a sweep and its processes at random moments, and each time looks at what is there.

    Returns:
        How often what was killed.
    """
    killed: Counter[str] = Counter()
    known = results.read(out)
    sweep = start(out, seeds)
    while killed.total() < kills:
        try:
            sweep.communicate(timeout=rng.uniform(0, LONGEST_S))
        except subprocess.TimeoutExpired:
            killed[kill_something(sweep, rng)] += 1
        now = results.read(out)
        assert now.startswith(known), "a row is lost"
        known = now
        if sweep.poll() is not None:
            sweep = start(out, seeds)
    sweep.communicate(timeout=300)
    return killed


@pytest.mark.slow
def test_killed_at_random_moments(tmp_path: Path) -> None:
    """No measured row is lost, and in the end each cell was measured once."""
    seeds = 3
    killed = harass(tmp_path, seeds, kills=4, rng=random.Random(0))
    assert killed.total() == 4
    last = start(tmp_path, seeds)
    said, errors = last.communicate(timeout=300)
    assert last.returncode == 0, errors
    assert said.startswith(f"{seeds} cells: {seeds} ok")
    found = results.read(tmp_path)
    good = [sweep_rows.identity_of(row) for row in found if row["status"] == "ok"]
    assert len(good) == len(set(good)) == seeds
    assert {row["status"] for row in found} <= {"ok", "killed"}
    assert [path.name for path in tmp_path.glob(f".{results.FILE_NAME}.*")] == [
        f".{results.FILE_NAME}.lock"
    ]


@pytest.mark.slow
def test_through_a_dask_cluster(tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(1, threads_per_worker=1, dashboard_address=None) as cluster:
        line = [*TINY, "--seed", "0-1", "--out", str(tmp_path)]
        line += ["--scheduler", cluster.scheduler_address]
        command = [sys.executable, "-m", "experiments.sweep", *line]
        done = subprocess.run(command, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("2 cells: 2 ok")
    assert {row["seed"] for row in results.read(tmp_path)} == {"0", "1"}


def test_on_this_machine_nobody_can_connect() -> None:
    """A port that takes calls without asking who makes them runs code for whoever finds it."""

    def ports() -> set[int]:
        connections = psutil.Process().net_connections()
        return {one.laddr.port for one in connections if one.status == psutil.CONN_LISTEN}

    before = ports()
    with engines.opened(engines.LOCAL, 2) as engine:
        assert (engine.slots, engines.outcome(engine.submit(ports))) == (2, before)
