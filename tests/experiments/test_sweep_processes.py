"""A sweep and the processes that it waits for may be killed at any moment."""

import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest
from mem_dfa.experiments.engine import engines
from mem_dfa.experiments.store import results

from tests.experiments.ended import has_ended

TINY = ["--algo", "bp", "--model", "mlp", "--layers", "1", "--dataset", "synthetic"]
TINY += ["--batch-size", "8", "--steps", "1", "--repeats", "1"]
LONGEST_S = 1.5  # from the first process to a kill, in which about two tiny cells are measured


def start(out: Path, seeds: int) -> subprocess.Popen:
    line = [*TINY, "--seed", f"0-{seeds - 1}", "--retry", "--out", str(out)]
    command = [sys.executable, "-m", "experiments.sweep", *line]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def kill_something(sweep: subprocess.Popen, rng: random.Random) -> str:
    """Kills the sweep or, as often, what it waits for."""
    started = psutil.Process(sweep.pid).children(recursive=True)
    if started and rng.random() < 0.5:
        rng.choice(started).kill()
        return "process"
    sweep.kill()
    sweep.communicate()
    assert all(map(has_ended, started)), "a process outlives the sweep"
    return "sweep"


def measuring(sweep: subprocess.Popen) -> bool:
    """Whether a server has forked a process, or the sweep has ended."""
    own = psutil.Process(sweep.pid)
    return sweep.poll() is not None or len(own.children(recursive=True)) > len(own.children())


def harass(out: Path, kills: int, rng: random.Random) -> tuple[int, Counter[str]]:
    """Kills a sweep and its processes at random moments, and each time looks at what is there.

    Each sweep is of a cell more than the one before, so that there is something to kill.

    Returns:
        How many cells the last one is of, and how often what was killed.
    """
    killed: Counter[str] = Counter()
    known = results.read(out)
    sweep, seeds = start(out, 3), 3
    while killed.total() < kills:
        while not measuring(sweep):
            time.sleep(0.05)
        time.sleep(rng.uniform(0, LONGEST_S))
        if sweep.poll() is None:
            killed[kill_something(sweep, rng)] += 1
        now = results.read(out)
        assert now[: len(known)] == known, "a row is lost"
        known = now
        if sweep.poll() is not None:
            seeds += 1
            sweep = start(out, seeds)
    sweep.communicate(timeout=300)
    return seeds, killed


@pytest.mark.slow
def test_killed_at_random_moments(tmp_path: Path) -> None:
    """No measured row is lost, and in the end each cell was measured once."""
    seeds, killed = harass(tmp_path, kills=5, rng=random.Random(0))
    assert set(killed) == {"process", "sweep"}
    last = start(tmp_path, seeds)
    said, errors = last.communicate(timeout=300)
    assert last.returncode == 0, errors
    assert f"\n{seeds} cells: {seeds} ok" in said
    found = results.read(tmp_path)
    good = [results.identity_of(row) for row in found if row["status"] == "ok"]
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
    assert "\n2 cells: 2 ok" in done.stdout
    assert {row["seed"] for row in results.read(tmp_path)} == {0, 1}


def test_on_this_machine_nobody_can_connect() -> None:
    """A port that takes calls without asking who makes them runs code for whoever finds it."""

    def ports() -> set[int]:
        connections = psutil.Process().net_connections()
        return {one.laddr.port for one in connections if one.status == psutil.CONN_LISTEN}

    before = ports()
    with engines.opened(engines.LOCAL, 2) as engine:
        assert (engine.slots, engines.outcome(engine.submit(ports))) == (2, before)
